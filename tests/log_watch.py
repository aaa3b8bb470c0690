"""Watches the package's log in every test that runs in this process.

A test fails if a request was refused without a reason in the log (at DEBUG), or if a line, at any
level, holds a token, a cookie's value, a secret or an e-mail address.
"""

from __future__ import annotations

import contextvars
import functools
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
from token_watch import token_record

from ott_middleware.flow import Flow
from ott_middleware.flow.session_guard import SessionGuard
from ott_middleware.flow.websocket import Denial
from ott_middleware.http.messages import Request, Response
from ott_middleware.tokens.service import OneTimeTokens

_EMAIL = re.compile(r"[\w.+-]+@[\w-]+\.\w+")
# What has 24 characters of base64url, with digits and both cases, is no word of a message.
_LONG = re.compile(r"[\w-]{24,}")
_RANDOM = (re.compile("[0-9]"), re.compile("[a-z]"), re.compile("[A-Z]"))
# Shorter values stand in messages by chance ("1", "alice").
_LEAST = 8

_reasons: contextvars.ContextVar[list[str] | None] = contextvars.ContextVar("reasons", default=None)


class Watch:
    """What one test did and what was logged meanwhile."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.secret: set[str] = set()
        self.silent: list[str] = []

    def keep(self, *values: object) -> None:
        """Note values that no line may hold."""
        self.secret.update(v for v in values if isinstance(v, str) and len(v) >= _LEAST)

    def complaints(self) -> list[str]:
        found = [f"refused without a reason in the log: {what}" for what in self.silent]
        for line in self._suspicious():
            if _has_address(line) or _has_random(line):
                found.append(f"a log line holds an address or a random value: {line!r}")
            found += [f"a log line holds {v!r}: {line!r}" for v in self.secret if v in line]
        return found

    def _suspicious(self) -> list[str]:
        """Return the lines, or none where a look at all of them at once finds nothing."""
        text = "\n".join(self.lines)
        is_clean = not (
            _has_address(text) or _has_random(text) or any(v in text for v in self.secret)
        )
        return [] if is_clean else self.lines


def _has_address(text: str) -> bool:
    return "@" in text and _EMAIL.search(text) is not None


def _has_random(text: str) -> bool:
    return any(all(kind.search(run) for kind in _RANDOM) for run in _LONG.findall(text))


# A stack, since the tests of this module have one of their own.
watches: list[Watch] = []
_watch = pytest.StashKey[Watch]()


class WatchedLogger(logging.Logger):
    """Shows each record to the watch, whatever the level; to handlers as ever."""

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - the name is logging's
        return bool(watches) or super().isEnabledFor(level)

    def handle(self, record: logging.LogRecord) -> None:
        if watches:
            text = record.getMessage()
            if record.exc_info:
                text += logging.Formatter().formatException(record.exc_info)
            watches[-1].lines.append(text)
            token_record.append("logging", text)
            mine = _reasons.get()
            if mine is not None and getattr(record, "ott_reason", None):
                mine.append(text)
        if super().isEnabledFor(record.levelno):
            super().handle(record)


def _watch_flow() -> None:
    decide, build = Flow.decide, OneTimeTokens.__init__
    decide_socket = Flow.decide_socket
    generate, establish = OneTimeTokens._generate, SessionGuard.establish

    @functools.wraps(decide)
    async def watched_decide(self: Flow, request: Request, read: Any, handle: Any) -> Any:
        if not watches:
            return await decide(self, request, read, handle)
        watch = watches[-1]
        watch.keep(*request.links)
        for pair in (request.header("cookie") or "").split(";"):
            watch.keep(pair.partition("=")[2].strip())
        had_link, mine = bool(request.links), list[str]()
        reset = _reasons.set(mine)
        try:
            outcome = await decide(self, request, read, handle)
        finally:
            _reasons.reset(reset)
        refused = isinstance(outcome, Response) and outcome.status >= 400
        ignored = not isinstance(outcome, Response) and had_link and handle.redeemed is None
        if (refused or ignored) and not mine:
            what = f"{outcome.status}" if isinstance(outcome, Response) else "a link was ignored"
            watch.silent.append(f"{request.method} {request.path}: {what}")
        return outcome

    @functools.wraps(decide_socket)
    async def watched_decide_socket(self: Flow, request: Request, *args: Any) -> Any:
        if not watches:
            return await decide_socket(self, request, *args)
        watch = watches[-1]
        watch.keep(*request.links)
        mine = list[str]()
        reset = _reasons.set(mine)
        try:
            outcome = await decide_socket(self, request, *args)
        finally:
            _reasons.reset(reset)
        if isinstance(outcome, Denial) and not mine:
            watch.silent.append(f"WebSocket {request.path}: {outcome.response.status}")
        return outcome

    @functools.wraps(generate)
    async def watched_generate(self: OneTimeTokens, *args: Any) -> str:
        token = await generate(self, *args)
        if watches:
            watches[-1].keep(token)
        return token

    @functools.wraps(establish)
    async def watched_establish(self: SessionGuard, *args: Any) -> Any:
        cookies = await establish(self, *args)
        if watches:
            watches[-1].keep(*(cookie.value for cookie in cookies))
        return cookies

    @functools.wraps(build)
    def watched_build(self: OneTimeTokens, *args: Any, **keywords: Any) -> None:
        build(self, *args, **keywords)
        if watches:
            watches[-1].keep(*(secret.decode("latin-1") for secret in self._secrets))

    Flow.decide = watched_decide  # type: ignore[method-assign]  # the watched ones
    Flow.decide_socket = watched_decide_socket  # type: ignore[method-assign]
    OneTimeTokens._generate = watched_generate  # type: ignore[method-assign]
    OneTimeTokens.__init__ = watched_build  # type: ignore[method-assign]
    SessionGuard.establish = watched_establish  # type: ignore[method-assign]


def install() -> None:
    """Watch the package; called once, before the first test."""
    for name in ("ott_middleware", "ott_middleware.hooks"):
        logging.getLogger(name).__class__ = WatchedLogger
    _watch_flow()


# Hooks, and no fixture of every test: that takes a fifth of the time of a short test.


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    """Watch a test, its fixtures included."""
    item.stash[_watch] = watch = Watch()
    watches.append(watch)
    yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """Fail a test with an unexplained refusal, or with a secret in the log."""
    watch = item.stash[_watch]
    try:
        yield
    finally:
        watches.remove(watch)
    if complaints := watch.complaints():
        pytest.fail("\n".join(complaints), pytrace=False)
