"""One behaviour, two worlds: a site that is written once and served as ASGI or as WSGI.

Requests are what servers make of bytes: no client library stands in between, so that a test can
send what no client would. The clock is the test's, and so are the tokens where it matters.
"""

from __future__ import annotations

import asyncio
import atexit
import inspect
import io
import json
import re
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from html import unescape
from typing import Any
from urllib.parse import unquote_to_bytes, urljoin

from ott_middleware import (
    ASGIMiddleware,
    MemoryBackend,
    Session,
    SessionAdapter,
    WSGIMiddleware,
    get_handle,
)
from ott_middleware.http import Cookie, CookieAttributes
from ott_middleware.testing import Clock

NOW = 1_795_426_317.773  # 2026-11-23T09:31:57.773Z
HOST = "app.example"
ORIGIN = f"http://{HOST}"
SECRET = "a secret of thirty-two characters"

# What browsers send with what they do.
NAVIGATION = {
    "accept": "text/html,application/xhtml+xml",
    "sec-fetch-mode": "navigate",
    "sec-fetch-dest": "document",
    "sec-fetch-site": "none",
}
FETCH = {
    "accept": "*/*",
    "sec-fetch-mode": "cors",
    "sec-fetch-dest": "empty",
    "sec-fetch-site": "same-origin",
}
PRIVATE = {"cache-control": "no-store", "referrer-policy": "no-referrer"}

HeaderPairs = Mapping[str, str] | Sequence[tuple[str, str]]


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)


def person(name: str, **more: Any) -> Session:
    """A session of somebody; its cookie's value is `NAME-cookie`."""
    values: dict[str, Any] = {
        "id": f"session-of-{name}",
        "token": f"{name}-cookie",
        "user_id": name,
        "user": {"id": name, "name": name.title()},
        "created_at": moment(NOW - 60),
        "expires_at": moment(NOW + 3600),
    }
    return Session(**{**values, **more})


def main_lines(caplog: Any) -> list[Any]:
    """The records of the log without the tracebacks of hooks, which have a logger of their own."""
    return [record for record in caplog.records if record.name == "ott_middleware"]


class Members(SessionAdapter):
    """Sessions that live for as long as they are in `live`, looked up by the cookie `sid`."""

    vouches = True
    blocks = False
    cookie_names = ("sid",)

    def __init__(self, *sessions: Session, **attributes: Any) -> None:
        self.live = {session.token: session for session in sessions}
        self.attributes = CookieAttributes(**attributes)
        self.strict = self.attributes.strict
        self.asked: list[str] = []

    def own_hosts(self) -> tuple[str, ...]:
        return (HOST,)

    def current(self, request: Any) -> Any:
        self.asked.append("current")
        return next((self.live[v] for v in request.cookies("sid") if v in self.live), None)

    def resolve(self, session: Session) -> Any:
        self.asked.append("resolve")
        return self.live.get(session.token)

    def establish(self, session: Session, request: Any) -> Any:
        self.asked.append("establish")
        return [self.attributes.cookie("sid", session.token)]


class WaitingMembers(Members):
    """The same, asked with `await`; it does wait."""

    async def current(self, request: Any) -> Any:
        await asyncio.sleep(0)
        return super().current(request)

    async def resolve(self, session: Session) -> Any:
        await asyncio.sleep(0)
        return super().resolve(session)

    async def establish(self, session: Session, request: Any) -> Any:
        await asyncio.sleep(0)
        return super().establish(session, request)


class BlockingMembers(Members):
    """The same, with methods that may block: a thread's work under ASGI."""

    blocks = True


@dataclass
class Seen:
    """A request as the app saw it, whichever way it came."""

    method: str
    mount: str
    path: str
    query: str
    headers: dict[str, str]
    carrier: Any = field(repr=False)

    @property
    def ott(self) -> Any:
        return get_handle(self.carrier)

    @property
    def cookies(self) -> dict[str, str]:
        return split_cookies(self.headers.get("cookie", ""))


@dataclass
class Reply:
    """What the app answers."""

    status: int = 200
    headers: HeaderPairs = (("Content-Type", "text/plain"),)
    body: bytes = b"hello"


App = Callable[[Seen], Any]


def call_view(seen: Seen, view: Callable[..., Any], *args: Any) -> Any:
    """Call a synchronous view as frameworks do: under ASGI in a worker thread."""
    return asyncio.to_thread(view, *args) if "type" in seen.carrier else view(*args)


def hello(seen: Seen) -> Reply:
    return Reply()


def echo(seen: Seen) -> Reply:
    """Reports what it saw."""
    report = {
        "method": seen.method,
        "path": seen.path,
        "query": seen.query,
        "headers": dict(sorted(seen.headers.items())),
        "redeemed": seen.ott.redeemed,
    }
    return Reply(200, [("Content-Type", "application/json")], json.dumps(report).encode())


@dataclass
class Answer:
    """An answer as a server would send it; header names in lower case."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]

    def header(self, name: str) -> str | None:
        """The value of a header that must not stand there twice."""
        values = self.all(name)
        assert len(values) < 2, f"{name} stands there {len(values)} times"
        return values[0] if values else None

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def location(self) -> str | None:
        return self.header("location")

    @property
    def code(self) -> str:
        """The code of a JSON error, whose shape is checked on the way."""
        assert self.header("content-type") == "application/json"
        error = self.json()
        assert set(error) == {"message", "code"}
        return str(error["code"])

    @property
    def cookies(self) -> dict[str, str]:
        """What the answer sets: name → value; a deletion has an empty one."""
        return {n: v for line in self.all("set-cookie") for n, v in split_cookies(line, 1).items()}

    def cookie(self, name: str) -> set[str]:
        """The attributes of one cookie."""
        lines = [line for line in self.all("set-cookie") if line.startswith(f"{name}=")]
        assert len(lines) == 1, f"{len(lines)} cookies of that name"
        return {part.strip() for part in lines[0].split(";")[1:]}


def split_cookies(header: str, most: int | None = None) -> dict[str, str]:
    pairs = [pair.strip().partition("=") for pair in header.split(";")[:most] if pair.strip()]
    return {name: value for name, _, value in pairs}


class _Loop(asyncio.SelectorEventLoop):
    """An event loop that knows whether it has threads."""

    has_threads = False

    def run_in_executor(self, *arguments: Any) -> Any:
        self.has_threads = True
        return super().run_in_executor(*arguments)


# Loops for the next `run`. To make a loop takes longer than most requests do.
_idle_loops: list[_Loop] = []


@atexit.register
def _close_loops() -> None:
    while _idle_loops:
        _idle_loops.pop().close()


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Like `asyncio.run`, on a loop of an earlier call if that left no task and no thread."""
    loop = _idle_loops.pop() if _idle_loops else _Loop()
    try:
        return loop.run_until_complete(coroutine)
    finally:
        left = asyncio.all_tasks(loop)
        if left or loop.has_threads:
            for task in left:
                task.cancel()
            if left:
                loop.run_until_complete(asyncio.wait(left))
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()
        else:
            _idle_loops.append(loop)


class Site:
    """An app behind the middleware, in one of the worlds."""

    def __init__(self, interface: str, app: App, options: dict[str, Any], clock: Clock) -> None:
        self.interface = interface
        self.clock = clock
        self.seen: list[Seen] = []
        self._app = app
        if interface == "asgi":
            self.middleware: Any = ASGIMiddleware(self._asgi, **options)
        else:
            self.middleware = WSGIMiddleware(self._wsgi, **options)

    @property
    def flow(self) -> Any:
        return self.middleware.flow

    @property
    def members(self) -> Any:
        return self.flow.options.adapter

    def token(self, session: Session | None = None, **how: Any) -> str:
        """A token that the server made."""
        return str(self.flow.tokens.generate(session or person("alice"), **how))

    # Requests.

    def send(
        self,
        method: str,
        target: str | bytes = "/",
        headers: HeaderPairs = (),
        body: bytes | Sequence[bytes] = b"",
        **how: Any,
    ) -> Answer:
        """One request; a sequence of bodies comes in chunks, without a length."""
        if self.interface == "asgi":
            scope = make_scope(method, target, headers, body, **how)
            return run(call_asgi(self.middleware, scope, messages_of(body)))
        environ = make_environ(method, target, headers, body, **how)
        return call_wsgi(self.middleware, environ)

    def get(self, target: str | bytes = "/", headers: HeaderPairs = (), **how: Any) -> Answer:
        return self.send("GET", target, headers, **how)

    def generate(self, headers: HeaderPairs = (), **how: Any) -> Answer:
        return self.get("/one-time-token/generate", headers, **how)

    def verify(self, token: Any, headers: HeaderPairs = (), **more: Any) -> Answer:
        body = json.dumps({"token": token, **more}).encode()
        return self.post_verify(body, headers)

    def post_verify(
        self, body: bytes | Sequence[bytes], headers: HeaderPairs = (), **how: Any
    ) -> Answer:
        pairs = as_pairs(headers)
        if not any(name == "content-type" for name, _ in pairs):
            pairs.append(("content-type", "application/json"))
        return self.send("POST", "/one-time-token/verify", pairs, body, **how)

    def open(self, target: str | bytes, headers: HeaderPairs = (), **how: Any) -> Answer:
        """A person opens a link."""
        return self.get(target, {**NAVIGATION, **dict(as_pairs(headers))}, **how)

    def load(self, target: str, headers: HeaderPairs = (), **how: Any) -> Answer:
        """A browser loads a URL, and what the page loads that it may be shown first."""
        answer = self.get(target, headers, **how)
        found = re.search(rb'http-equiv="refresh" content="0;url=([^"]*)"', answer.body)
        if found is None:
            return answer
        nonce = "; ".join(f"{name}={value}" for name, value in answer.cookies.items())
        sent = dict(as_pairs(headers))
        cookies = "; ".join(filter(None, [sent.get("cookie"), nonce]))
        url = urljoin(target, unescape(found[1].decode()))
        return self.get(url, {**sent, "cookie": cookies}, **how)

    def fetch(self, target: str | bytes, headers: HeaderPairs = (), **how: Any) -> Answer:
        """A script of the same origin calls."""
        return self.get(target, {**FETCH, **dict(as_pairs(headers))}, **how)

    # The app, in either form.

    async def _asgi(self, scope: Any, receive: Any, send: Any) -> None:
        headers: dict[str, str] = {}
        for raw_name, raw_value in scope["headers"]:
            name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
            joint = "; " if name == "cookie" else ","
            headers[name] = f"{headers[name]}{joint}{value}" if name in headers else value
        mount = scope.get("root_path", "")
        path = scope["path"][len(mount) :] if scope["path"].startswith(mount) else scope["path"]
        query = scope["query_string"].decode("latin-1")
        seen = Seen(scope["method"], mount, path, query, headers, scope)
        self.seen.append(seen)
        reply = self._app(seen)
        if inspect.isawaitable(reply):
            reply = await reply
        raw = [(k.lower().encode("latin-1"), v.encode("latin-1")) for k, v in _pairs(reply)]
        await send({"type": "http.response.start", "status": reply.status, "headers": raw})
        await send({"type": "http.response.body", "body": reply.body})

    def _wsgi(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        headers = {
            key[5:].replace("_", "-").lower(): value
            for key, value in environ.items()
            if key.startswith("HTTP_")
        }
        for key in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            if key in environ:
                headers[key.replace("_", "-").lower()] = environ[key]
        seen = Seen(
            environ["REQUEST_METHOD"],
            environ["SCRIPT_NAME"],
            environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace"),
            environ["QUERY_STRING"],
            headers,
            environ,
        )
        self.seen.append(seen)
        reply = self._app(seen)
        if inspect.isawaitable(reply):
            reply = _finish(reply)
        start_response(f"{reply.status} Status", _pairs(reply))
        return [reply.body]


def _finish(awaitable: Any) -> Any:
    async def whole() -> Any:
        return await awaitable

    return run(whole())


def _pairs(reply: Reply) -> list[tuple[str, str]]:
    headers = reply.headers
    return list(headers.items() if isinstance(headers, Mapping) else headers)


class World:
    """Serves sites by one of the two interfaces."""

    def __init__(self, interface: str) -> None:
        self.interface = interface
        self.clock = Clock(NOW)

    def serve(self, app: App = hello, **options: Any) -> Site:
        """A site; Alice and Bob are its members, unless `session` says otherwise."""
        options.setdefault("session", Members(person("alice"), person("bob")))
        if "tokens" not in options:
            options.setdefault("backend", MemoryBackend(clock=self.clock))
        return Site(self.interface, app, options, self.clock)


# What servers make of a request.


def as_pairs(headers: HeaderPairs) -> list[tuple[str, str]]:
    return [(k, v) for k, v in (headers.items() if isinstance(headers, Mapping) else headers)]


def _with_host(
    headers: HeaderPairs, body: bytes | Sequence[bytes], host: str | None
) -> list[tuple[str, str]]:
    pairs = as_pairs(headers)
    names = {name for name, _ in pairs}
    assert all(name == name.lower() for name in names), "servers pass names in lower case"
    if host is not None and "host" not in names:
        pairs.insert(0, ("host", host))
    if not isinstance(body, bytes):
        pairs.append(("transfer-encoding", "chunked"))
    elif body and "content-length" not in names:
        pairs.append(("content-length", str(len(body))))
    return pairs


def _split_target(target: str | bytes) -> tuple[bytes, bytes, bytes]:
    """The whole target, its path as it was sent, and its query."""
    raw = target.encode("latin-1") if isinstance(target, str) else target
    path, _, query = raw.partition(b"?")
    return raw, path, query


def make_scope(
    method: str = "GET",
    target: str | bytes = "/",
    headers: HeaderPairs = (),
    body: bytes | Sequence[bytes] = b"",
    *,
    scheme: str = "http",
    host: str | None = HOST,
    mount: str = "",
    carrier: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What uvicorn makes of a request: the path includes the mount point."""
    _, path, query = _split_target(target)
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": scheme,
        "path": mount + unquote_to_bytes(path).decode("utf-8", "replace"),
        "raw_path": mount.encode() + path,
        "query_string": query,
        "root_path": mount,
        "headers": [
            (k.encode("latin-1"), v.encode("latin-1")) for k, v in _with_host(headers, body, host)
        ],
        "client": ("127.0.0.1", 50000),
        "server": (HOST, 80),
        **(carrier or {}),
    }


def messages_of(body: bytes | Sequence[bytes]) -> list[dict[str, Any]]:
    chunks = [body] if isinstance(body, bytes) else [*body, b""]
    last = len(chunks) - 1
    return [
        {"type": "http.request", "body": chunk, "more_body": index < last}
        for index, chunk in enumerate(chunks)
    ]


def make_environ(
    method: str = "GET",
    target: str | bytes = "/",
    headers: HeaderPairs = (),
    body: bytes | Sequence[bytes] = b"",
    *,
    scheme: str = "http",
    host: str | None = HOST,
    mount: str = "",
    carrier: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What gunicorn makes of a request."""
    whole, path, query = _split_target(target)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": mount,
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
        "QUERY_STRING": query.decode("latin-1"),
        "RAW_URI": mount + whole.decode("latin-1"),
        "SERVER_NAME": HOST,
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scheme,
        "wsgi.input": io.BytesIO(body if isinstance(body, bytes) else b"".join(body)),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    if not isinstance(body, bytes):
        environ["wsgi.input_terminated"] = True
    for name, value in _with_host(headers, body, host):
        key = name.upper().replace("-", "_")
        key = key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
        joint = "; " if name == "cookie" else ","
        environ[key] = f"{environ[key]}{joint}{value}" if key in environ else value
    environ.update(carrier or {})
    return environ


# The server's side of the answer: strict, as servers and proxies are.

_FORBIDDEN = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_FIELD_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


def _answer(status: int, headers: Iterable[tuple[str, str]], body: bytes) -> Answer:
    pairs = list(headers)
    for name, value in pairs:
        assert _FIELD_NAME.fullmatch(name), "not a header name"
        assert not _FORBIDDEN.search(value), f"{name} holds a control character"
        assert all(ord(character) < 256 for character in value)
    lengths = [value for name, value in pairs if name.lower() == "content-length"]
    assert len(lengths) < 2
    return Answer(status, [(name.lower(), value) for name, value in pairs], body)


async def call_asgi(
    app: Any, scope: Any, messages: Sequence[Mapping[str, Any]] = ({"type": "http.request"},)
) -> Answer:
    """One answer of an ASGI app."""
    waiting = [dict(message) for message in messages]
    sent: list[Any] = []

    async def receive() -> Any:
        return waiting.pop(0) if waiting else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    start, *rest = sent
    assert start["type"] == "http.response.start"
    assert [m["type"] for m in rest] == ["http.response.body"] * len(rest)
    assert rest
    assert not rest[-1].get("more_body", False)
    for name, _ in start["headers"]:
        assert name == name.lower(), "ASGI wants names in lower case"
    pairs = [(k.decode("latin-1"), v.decode("latin-1")) for k, v in start["headers"]]
    return _answer(start["status"], pairs, b"".join(m.get("body", b"") for m in rest))


def call_wsgi(app: Any, environ: dict[str, Any]) -> Answer:
    """One answer of a WSGI app."""
    started: list[Any] = []
    written: list[bytes] = []

    def start_response(status: str, headers: Any, exc_info: Any = None) -> Any:
        assert exc_info is not None or not started
        assert type(status) is str
        assert type(headers) is list
        assert re.fullmatch(r"[1-5][0-9][0-9] .+", status)
        started[:] = [int(status[:3]), headers]
        return written.append

    chunks = app(environ, start_response)
    try:
        written += chunks
    finally:
        if hasattr(chunks, "close"):
            chunks.close()
    return _answer(started[0], started[1], b"".join(written))


def set_cookie(name: str, value: str, **attributes: Any) -> tuple[str, str]:
    return Cookie(name, value, **attributes).header()
