"""Records the tokens that a process mints, and what could show one, for `tests/token_watch.py`.

The records are files in a folder that the environment names. Tests and the servers that they start
write to it: a line is appended by one call, so that processes can share a file.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

#: Names the folder.
FOLDER = "OTT_TEST_TOKENS"
#: Set where a test lets a token leak on purpose, and says why: what the process shows is not kept.
LEAKS = "OTT_TEST_LEAKS"
# Shorter tokens are the words of a test's own `generate_token`.
SHORTEST = 20

_files: dict[str, int] = {}


def append(name: str, text: str) -> None:
    """Add a text to a file of the folder."""
    folder = os.environ.get(FOLDER)
    if not folder or (name != "tokens" and os.environ.get(LEAKS)):
        return
    path = str(Path(folder, name))
    if path not in _files:
        _files[path] = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(_files[path], text.encode("utf-8", "replace") + b"\n")


def record_token(token: str) -> None:
    if len(token) >= SHORTEST:
        append("tokens", token)


def watch_tokens(service: Any) -> None:
    """Record each token that the class `OneTimeTokens` makes."""
    generate = service._generate

    @functools.wraps(generate)
    async def recorded(self: Any, *args: Any, **more: Any) -> str:
        token: str = await generate(self, *args, **more)
        record_token(token)
        return token

    service._generate = recorded


def watch_flow(flow: Any) -> None:
    """Record what the class `Flow` shows: pages, locations, and the Referers that the app gets."""
    decide = flow.decide

    @functools.wraps(decide)
    async def recorded(self: Any, request: Any, *args: Any) -> Any:
        outcome = await decide(self, request, *args)
        status = getattr(outcome, "status", None)
        if status is None:
            append("referers", request.header("referer") or "")
            return outcome
        headers, body = dict(outcome.headers), outcome.body.decode("utf-8", "replace")
        # A page that leads to its own URL, with the token, is told by its `refresh`.
        is_page = "html" in headers.get("Content-Type", "") and 'http-equiv="refresh"' not in body
        if status >= 400 or is_page:
            append("pages", body)
        # The handoff's own location leads to another site with a new token.
        if not request.path.endswith("/one-time-token/generate"):
            append("locations", headers.get("Location", ""))
        return outcome

    flow.decide = recorded


def watch_asgi(interface: Any) -> None:
    """Record the Referers of requests that the class `ASGIMiddleware` passes to the app."""
    build = interface._build_fast_path

    @functools.wraps(build)
    def building(self: Any) -> Any:
        respond = build(self)

        async def recorded(scope: Any, receive: Any, send: Any) -> None:
            await respond(scope, receive, send)
            for name, value in scope.get("headers", ()):
                if name == b"referer":
                    append("referers", value.decode("latin-1"))

        return recorded

    interface._build_fast_path = building


def watch_wsgi(interface: Any) -> None:
    """Record the Referers of requests that the class `WSGIMiddleware` passes to the app."""
    build = interface._build_fast_path

    @functools.wraps(build)
    def building(self: Any) -> Any:
        respond = build(self)

        def recorded(environ: Any, start_response: Any) -> Any:
            response = respond(environ, start_response)
            if referer := environ.get("HTTP_REFERER"):
                append("referers", referer)
            return response

        return recorded

    interface._build_fast_path = building
