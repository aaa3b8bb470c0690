"""Records the tokens that a process mints, and what could show one, for `tests/token_watch.py`.

The records are files in a folder that the environment names. Tests and the servers that they start
write to it: a line is appended by one call, so that processes can share a file. A process that runs
tests keeps its lines until the end; any other may be killed at any time, and writes each at once.
"""

from __future__ import annotations

import collections
import functools
import os
from pathlib import Path
from typing import Any

#: Names the folder.
FOLDER = "OTT_TEST_TOKENS"
#: Set where a test lets a token leak on purpose, and says why: what the process shows is not kept.
LEAKS = "OTT_TEST_LEAKS"
# Tokens that are shorter, or of fewer different characters, are words of a test's `generate_token`.
SHORTEST, FEWEST = 20, 10

_files: dict[str, int] = {}
# What a process keeps until `flush`, by folder and file; and the process that does.
_kept: collections.defaultdict[tuple[str, str], list[str]] = collections.defaultdict(list)
_keeper = 0
_first_pages: collections.deque[bytes] = collections.deque(maxlen=20)


def append(name: str, text: str) -> None:
    """Add a text to a file of the folder."""
    folder = os.environ.get(FOLDER)
    if not folder or (name != "tokens" and os.environ.get(LEAKS)):
        return
    # A forked child has the lines of its parent, which writes them, and another number.
    if os.getpid() == _keeper:
        _kept[folder, name].append(text)
    else:
        _write(folder, name, text)


def keep() -> None:
    """Keep what this process adds until `flush`."""
    global _keeper
    _keeper = os.getpid()


def flush() -> None:
    """Write what was kept."""
    for (folder, name), texts in _kept.items():
        _write(folder, name, "\n".join(texts))
    _kept.clear()


def _write(folder: str, name: str, text: str) -> None:
    path = str(Path(folder, name))
    if path not in _files:
        _files[path] = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(_files[path], text.encode("utf-8", "replace") + b"\n")


def _mark(function: Any) -> Any:
    function.is_recorded = True  # `functools.wraps` hands it on to a wrapper
    return function


def record_token(token: str) -> None:
    if len(token) >= SHORTEST and len(set(token)) >= FEWEST:
        append("tokens", token)


def watch_tokens(service: Any) -> None:
    """Record each token that the class `OneTimeTokens` makes."""
    generate = service._generate

    @functools.wraps(generate)
    async def recorded(self: Any, *args: Any, **more: Any) -> str:
        token: str = await generate(self, *args, **more)
        record_token(token)
        return token

    service._generate = _mark(recorded)


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
        is_page = status >= 400 or "html" in headers.get("Content-Type", "")
        if is_page and outcome.body not in _first_pages:
            append("pages", body)
        # The handoff's own location leads to another site with a new token.
        if not request.path.endswith("/one-time-token/generate"):
            append("locations", headers.get("Location", ""))
        return outcome

    flow.decide = _mark(recorded)


def watch_page_first(page_first: Any) -> None:
    """Leave out the pages of the class `PageFirst`: they lead to their own URL, token included."""
    respond = page_first.respond

    @functools.wraps(respond)
    def recorded(self: Any, *args: Any) -> Any:
        page = respond(self, *args)
        if page is not None:
            _first_pages.append(page.body)
        return page

    page_first.respond = _mark(recorded)


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
