"""The command `doctor`: tries a set-up, and says in one line each what is wrong and the cure."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from ..concurrency import run_on_own_loop
from ..tokens.service import OneTimeTokens
from .loading import LoadError, find_middleware, load
from .peer import check_peer
from .report import Report
from .store import check_store
from .this_site import check_cookies, check_site

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status: 0, or 1 where a check failed."""
    parser = argparse.ArgumentParser(prog="python -m ott_middleware")
    commands = parser.add_subparsers(dest="command", required=True)
    doctor = commands.add_parser("doctor", help="tell whether a set-up works")
    doctor.add_argument("app", help="module:app, as for uvicorn or gunicorn; module:create_app()")
    doctor.add_argument("--peer", metavar="URL", help="the other site, with its base_path")
    doctor.add_argument("--timeout", type=float, default=5.0, help="seconds for each step")
    given = parser.parse_args(arguments)
    report = Report(sys.stdout)
    try:
        with report.log_lines():
            middleware = find_middleware(load(given.app), given.app)
    except LoadError as error:
        report.fail("app", str(error))
        return report.status
    run_on_own_loop(lambda: _examine(report, middleware, given.peer, given.timeout))
    return report.status


async def _examine(report: Report, middleware: Any, peer: str | None, timeout: float) -> None:
    services = middleware._services
    tokens, adapter = services.tokens, services.options.adapter
    if not isinstance(tokens, OneTimeTokens):
        report.ok("app", f"{type(adapter).__name__}, with a token service of its own")
        report.warn("store", "tokens= is a service of the app's own", "this cannot be tried")
        check_site(report, services, peer)
        return
    report.ok(
        "app",
        f"{type(middleware).__name__}, {type(adapter).__name__}, {tokens.backend.name}, "
        f"fingerprint {tokens.fingerprint}",
    )
    works = await check_store(report, tokens, await middleware.acheck(timeout), timeout)
    check_site(report, services, peer)
    with report.log_lines():
        await check_cookies(report, middleware, timeout)
    if peer is not None:
        await check_peer(report, services, tokens, peer, timeout, works=works)
    await tokens.backend.aclose()
