"""What a redemption costs in process, against a request that reads a session of Starlette's.

The ratios are to a request that reads a signed-in user's session under Starlette's
`SessionMiddleware`, or to a visitor's request under it: both do what nearly each app does for each
request. All sides take turns within one run, the time is the processor's, and each is called as a
server calls it: with a scope of its own, and a `send` that keeps the response.

The site has a `SealedSession`, a `secret`, `store_token="hashed"` and the memory backend. The
responses are checked once before they are timed. `--check` fails where a ratio is over its bound;
`--tiny` runs each once or twice, to see that the script works.
"""

from __future__ import annotations

import base64
import json
import logging
import statistics
import sys
from collections.abc import Callable
from functools import partial
from time import thread_time_ns
from typing import Any, NamedTuple

from itsdangerous import TimestampSigner
from starlette.middleware.sessions import SessionMiddleware

from ott_middleware import OTTMiddleware, SealedSession

SECRET = "a secret of the benchmark, 32 bytes"
TINY = "--tiny" in sys.argv[1:]
RATIOS = 1 if TINY else 25
TURNS = 1 if TINY else 20
REQUESTS = 2 if TINY else 10  # in one turn: no more than `max_per_session`
USER = {"id": "4711", "name": "Ada Lovelace", "email": "ada@example.com"}

HEADERS = {
    "host": "app.example",
    "user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "accept-language": "en-GB,en;q=0.5",
    "accept-encoding": "gzip, deflate, br",
    "connection": "keep-alive",
    "sec-fetch-dest": "document",
    "sec-fetch-mode": "navigate",
    "sec-fetch-site": "none",
    "sec-fetch-user": "?1",
}

Scope = dict[str, Any]
Run = Callable[[], int]


def scope(method: str, path: str, query: str = "", **headers: str) -> Scope:
    """A request as uvicorn hands it on."""
    pairs = {**HEADERS, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "server": ("127.0.0.1", 8000),
        "client": ("127.0.0.1", 50000),
        "scheme": "https",
        "method": method,
        "root_path": "",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in pairs.items() if value],
        "state": {},
    }


class Exchange:
    """One request and its response, from a server's side."""

    __slots__ = ("body", "headers", "received", "status")

    def __init__(self, received: bytes = b"") -> None:
        self.received = received
        self.status = 0

    async def receive(self) -> dict[str, Any]:
        return {"type": "http.request", "body": self.received, "more_body": False}

    async def send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], message["headers"]
        else:
            self.body = message["body"]


def call(app: Any, request: Scope, body: bytes = b"") -> Exchange:
    """Have an app respond, as a loop's task would."""
    exchange = Exchange(body)
    try:
        app(request, exchange.receive, exchange.send).send(None)
    except StopIteration:
        return exchange
    raise RuntimeError("it waited")


async def respond(send: Any) -> None:
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"13")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"Hello, world!"})


async def plain_app(scope: Any, receive: Any, send: Any) -> None:
    await respond(send)


async def starlette_reader(scope: Any, receive: Any, send: Any) -> None:
    assert scope["session"]["user"]["id"] == USER["id"]
    await respond(send)


async def sealed_reader(scope: Any, receive: Any, send: Any) -> None:
    assert scope["ott"].session.user["id"] == USER["id"]
    await respond(send)


def starlette_cookie() -> str:
    value = base64.b64encode(json.dumps({"user": USER}).encode())
    return f"session={TimestampSigner(SECRET).sign(value).decode()}"


def times(app: Any, make: Callable[[], Scope]) -> int:
    """Nanoseconds of requests that are alike."""
    requests = [make() for _ in range(REQUESTS)]
    began = thread_time_ns()
    for request in requests:
        call(app, request)
    return thread_time_ns() - began


class Site:
    """A site with sealed sessions, and a visitor that is signed in."""

    def __init__(self, app: Any = plain_app, **options: Any) -> None:
        self.adapter = SealedSession(SECRET)
        self.app = OTTMiddleware(
            app,
            session=self.adapter,
            secret=SECRET,
            public_origin="https://app.example",
            store_token="hashed",
            **options,
        )
        value = self.adapter.start(USER, remember=True).token
        self.cookie = f"theme=dark; {self.adapter.name}={value}"

    def generate(self) -> str:
        """A new token."""
        token: str = json.loads(call(self.app, self.generate_request()).body)["token"]
        return token

    def generate_request(self) -> Scope:
        return scope("GET", "/one-time-token/generate", cookie=self.cookie)

    def time_generate(self) -> int:
        return times(self.app, self.generate_request)

    def time_verify(self) -> int:
        bodies = [json.dumps({"token": self.generate()}).encode() for _ in range(REQUESTS)]
        requests = [self.verify_request(body) for body in bodies]
        began = thread_time_ns()
        for request, body in zip(requests, bodies, strict=True):
            call(self.app, request, body)
        return thread_time_ns() - began

    def verify_request(self, body: bytes) -> Scope:
        return scope(
            "POST",
            "/one-time-token/verify",
            content_type="application/json",
            content_length=str(len(body)),
        )

    def time_navigation(self) -> int:
        return times(self.app, self.navigation_request)

    def navigation_request(self) -> Scope:
        return scope("GET", "/welcome", f"page=2&ott={self.generate()}")

    def check(self) -> None:
        """Check that what is timed does what it should."""
        assert call(self.app, self.generate_request()).status == 200
        body = json.dumps({"token": self.generate()}).encode()
        verified = call(self.app, self.verify_request(body), body)
        assert verified.status == 200, verified.body
        assert json.loads(verified.body)["user"] == USER
        assert any(name == b"set-cookie" for name, _ in verified.headers)
        assert call(self.app, self.verify_request(body), body).status == 400
        opened = call(self.app, self.navigation_request())
        assert opened.status == 303
        assert (b"location", b"?page=2") in opened.headers


class Row(NamedTuple):
    """What is timed, and how many times it may take of what."""

    title: str
    run: Run
    base: str
    bound: float
    goal: float


def rows(bases: dict[str, Run]) -> list[Row]:
    site, reader = Site(), Site(sealed_reader)
    revoking = Site(sealed_reader, revoke_on_sign_out=True)
    offering = Site(set_ott_header_on_new_session=True)
    site.check()
    visitor = partial(scope, "GET", "/articles")
    assert call(site.app, visitor()).status == 200
    signed_in = partial(scope, "GET", "/articles", cookie=reader.cookie)
    bases["visitor"] = partial(
        times, SessionMiddleware(plain_app, SECRET, https_only=True), visitor
    )
    bases["reader"] = partial(
        times,
        SessionMiddleware(starlette_reader, SECRET, https_only=True),
        partial(scope, "GET", "/articles", cookie=f"theme=dark; {starlette_cookie()}"),
    )
    revoking_reader = partial(scope, "GET", "/articles", cookie=revoking.cookie)
    return [
        Row("generate path", site.time_generate, "reader", 5, 3),
        Row("verify path", site.time_verify, "reader", 8, 5),
        Row("?ott= navigation", site.time_navigation, "reader", 7, 5),
        Row("visitor, SealedSession", partial(times, site.app, visitor), "visitor", 1.0, 0.7),
        Row("reader, SealedSession", partial(times, reader.app, signed_in), "reader", 1.5, 1.0),
        Row(
            "reader, revoke_on_sign_out",
            partial(times, revoking.app, revoking_reader),
            "reader",
            3,
            2,
        ),
        Row(
            "no sign-in, set_ott_header_on_new_session",
            partial(times, offering.app, visitor),
            "visitor",
            1.5,
            1.0,
        ),
    ]


def main() -> int:
    logging.disable()  # what is logged at the start is not what is measured
    bases: dict[str, Run] = {}
    all_rows = rows(bases)
    runs = [*bases.values(), *(row.run for row in all_rows)]
    found: list[list[float]] = []
    for _ in range(1 + RATIOS):
        spent = [0] * len(runs)
        for _ in range(TURNS):
            for number, run in enumerate(runs):
                spent[number] += run()
        found.append([each / TURNS / REQUESTS for each in spent])
    if not TINY:
        del found[0]  # it warmed up
    names = list(bases)
    missed = 0
    for number, row in enumerate(all_rows, len(bases)):
        base = names.index(row.base)
        ratio = statistics.median(each[number] / each[base] for each in found)
        missed += ratio > row.bound
        print(
            f"{row.title:41}: {ratio:5.2f} times a {row.base}'s request, bound {row.bound}: "
            f"{'held' if ratio <= row.bound else 'MISSED'}, goal {row.goal} "
            f"({statistics.median(each[number] for each in found) / 1000:.1f} µs)"
        )
    for base, name in enumerate(names):
        middle = statistics.median(each[base] for each in found) / 1000
        print(f"a {name}'s request under SessionMiddleware: {middle:.1f} µs")
    return 1 if "--check" in sys.argv[1:] and missed and not TINY else 0


if __name__ == "__main__":
    sys.exit(main())
