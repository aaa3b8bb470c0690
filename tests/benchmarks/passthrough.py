"""What the middleware costs a request that is none of its business.

Both fronts against a middleware that does nothing, around an app that answers 13 bytes, with the
requests that servers make of a browser's. The two sides take turns every few requests, the time is
the processor's, and the garbage collector runs as it does in a server. Every request is a copy of
its own, made and freed within what is timed.

`served`: the caller does the least that the specifications ask of a server: it checks the order of
the answer's parts, keeps them, and closes the iterable. The bounds are for this; `--check` fails
where a ratio is over its bound.

`bare`: the caller does nothing at all with the answer. The nanoseconds that the middleware adds are
the same, the ratio is the largest that it can be.
"""

from __future__ import annotations

import logging
import statistics
import sys
from collections.abc import Callable
from time import thread_time_ns
from typing import Any

from ott_middleware import OTTMiddleware

TINY = "--tiny" in sys.argv[1:]  # to see that the script works
RATIOS = 1 if TINY else 15
TURNS = 1 if TINY else 60
REQUESTS = 2 if TINY else 50  # in one turn

PLAIN = (
    "utm_source=newsletter&utm_medium=email&utm_campaign=spring-sale-2026&q=green+tea&category=food"
    "&page=2&per_page=50&sort=price&order=asc&colour=blue&lang=en-GB&session=none&ref=home&click=abcdefghijklmn"
)
ESCAPED = (
    "utm_source=newsletter&utm_medium=email&utm_campaign=spring%20sale%202026&q=caf%C3%A9&page=2"
    "&category=food%2Cdrinks&per_page=50&sort=price&order=asc&colour=blue&lang=en-GB&session=none&ref=home-page-12"
)
WORDS = (
    "brand=scott&cotton=organic&q=bottom&page=2&per_page=50&sort=price&order=asc&colour=blue&lang=en-GB"
    "&session=none&ref=home&lotto=no&category=food&utm_source=newsletter&click=abcdefghijklmnopqrstuvwxyzab"
)

HEADERS = {
    "host": "app.example",
    "user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "accept-language": "en-GB,en;q=0.5",
    "accept-encoding": "gzip, deflate, br",
    "referer": "https://app.example/articles",
    "connection": "keep-alive",
    "cookie": "sessionid=8sXJ2ZkVb0tq5Yw; theme=dark",
    "sec-fetch-dest": "document",
    "sec-fetch-mode": "navigate",
    "sec-fetch-site": "same-origin",
}
PATH = "/articles/2026/hello"
ANSWER = b"Hello, world!"


def scope(query: str) -> dict[str, Any]:
    """A request as uvicorn hands it on."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "server": ("127.0.0.1", 8000),
        "client": ("127.0.0.1", 50000),
        "scheme": "http",
        "method": "GET",
        "root_path": "",
        "path": PATH,
        "raw_path": PATH.encode(),
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in HEADERS.items()],
        "state": {},
    }


def environ(query: str) -> dict[str, Any]:
    """A request as gunicorn hands it on."""
    return {
        "wsgi.errors": sys.stderr,
        "wsgi.version": (1, 0),
        "wsgi.multithread": False,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "wsgi.file_wrapper": object,
        "wsgi.input_terminated": True,
        "wsgi.input": sys.stdin,
        "wsgi.url_scheme": "http",
        "SERVER_SOFTWARE": "gunicorn/23.0.0",
        "REQUEST_METHOD": "GET",
        "QUERY_STRING": query,
        "RAW_URI": f"{PATH}?{query}" if query else PATH,
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "REMOTE_PORT": "50000",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "PATH_INFO": PATH,
        "SCRIPT_NAME": "",
        **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in HEADERS.items()},
    }


async def asgi_app(scope: Any, receive: Any, send: Any) -> None:
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"13")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": ANSWER})


def wsgi_app(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "13")])
    return [ANSWER]


class NothingASGI:
    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)


class NothingWSGI:
    def __init__(self, app: Any) -> None:
        self.app = app

    def __call__(self, environ: Any, start_response: Any) -> Any:
        return self.app(environ, start_response)


class Answer:
    """A server's side of an answer: the least that the specifications ask of it."""

    __slots__ = ("body", "headers", "status")

    def __init__(self) -> None:
        self.status: int | str | None = None
        self.body = b""

    async def receive(self) -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            if self.status is not None:
                raise RuntimeError("the answer has begun")
            self.status, self.headers = message["status"], message["headers"]
        else:
            self.write(message["body"])

    def start_response(self, status: str, headers: Any, exc_info: Any = None) -> Any:
        if self.status is not None and exc_info is None:
            raise RuntimeError("the answer has begun")
        self.status, self.headers = status, headers
        return self.write

    def write(self, chunk: bytes) -> None:
        self.body += chunk


def served_asgi(app: Any, request: dict[str, Any]) -> int:
    began = thread_time_ns()
    for _ in range(REQUESTS):
        answer = Answer()
        try:  # noqa: SIM105 - suppress() would take longer than what is measured
            # What a loop does to a task; a loop of its own would drown the difference.
            app(request.copy(), answer.receive, answer.send).send(None)
        except StopIteration:
            pass
    return thread_time_ns() - began


def served_wsgi(app: Any, request: dict[str, Any]) -> int:
    began = thread_time_ns()
    for _ in range(REQUESTS):
        answer = Answer()
        chunks = app(request.copy(), answer.start_response)
        try:
            for chunk in chunks:
                answer.write(chunk)
        finally:
            if hasattr(chunks, "close"):
                chunks.close()
    return thread_time_ns() - began


async def ignore(message: dict[str, Any]) -> None:
    pass


def bare_asgi(app: Any, request: dict[str, Any]) -> int:
    async def whole() -> int:
        began = thread_time_ns()
        for _ in range(REQUESTS):
            await app(request.copy(), None, ignore)
        return thread_time_ns() - began

    try:
        whole().send(None)
    except StopIteration as stop:
        return int(stop.value)
    raise RuntimeError("it waited")


def ignored(status: str, headers: Any, exc_info: Any = None) -> None:
    pass


def bare_wsgi(app: Any, request: dict[str, Any]) -> int:
    began = thread_time_ns()
    for _ in range(REQUESTS):
        app(request.copy(), ignored)
    return thread_time_ns() - began


Serve = Callable[[Any, dict[str, Any]], int]


def measure(
    serve: Serve, nothing: Any, ours: Any, request: dict[str, Any]
) -> tuple[float, float, float]:
    """The median of 15 ratios, and nanoseconds a request of either side."""
    found = []
    for _ in range(1 + RATIOS):
        spent = [0, 0]
        for _ in range(TURNS):
            for side, app in enumerate((nothing, ours)):
                spent[side] += serve(app, request)
        found.append([each / TURNS / REQUESTS for each in spent])
    del found[0]  # it warmed up
    bare, whole = (statistics.median(side) for side in zip(*found, strict=True))
    return statistics.median(ours / nothing for nothing, ours in found), bare, whole


def _word(held: bool) -> str:
    return "held" if held else "MISSED"


def main() -> int:
    check = "--check" in sys.argv[1:]
    logging.disable()  # any cookie will do here, and construction warns of that
    asgi = NothingASGI(asgi_app), OTTMiddleware(asgi_app, session="sessionid")
    wsgi = NothingWSGI(wsgi_app), OTTMiddleware(wsgi_app, session="sessionid")
    missed = 0
    for title, query, asgi_bound, wsgi_bound in (
        ("no query", "", 1.5, 1.7),
        ("200 bytes of query", PLAIN, 1.8, 2.0),
        ("200 bytes, escapes", ESCAPED, 1.8, 2.0),
        ("200 bytes, 'ott' in words", WORDS, 1.8, 2.0),
    ):
        assert len(query) in (0, 200), len(query)
        for name, (served, bare), apps, request, bound in (
            ("asgi", (served_asgi, bare_asgi), asgi, scope(query), asgi_bound),
            ("wsgi", (served_wsgi, bare_wsgi), wsgi, environ(query), wsgi_bound),
        ):
            ratio, nothing, ours = measure(served, *apps, request)
            missed += ratio > bound
            barest, bare_nothing, bare_ours = measure(bare, *apps, request)
            print(
                f"pass-through {name}, {title:25}: served {ratio:.2f} times doing nothing "
                f"({nothing:.0f} -> {ours:.0f} ns), bound {bound}: {_word(ratio <= bound)}; "
                f"bare {barest:.2f} ({bare_nothing:.0f} -> {bare_ours:.0f} ns)"
            )
    return 1 if check and missed and not TINY else 0


if __name__ == "__main__":
    sys.exit(main())
