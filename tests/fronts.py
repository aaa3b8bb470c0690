"""Both fronts, called in process: one view, answered by an ASGI or a WSGI app."""

from __future__ import annotations

import asyncio
import inspect
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from ott_middleware import ASGIMiddleware, CookieAttributes, SessionAdapter, WSGIMiddleware

FRONTS = ("asgi", "wsgi")
SECRET = "a secret of thirty-two characters"
OTHER_SECRET = "another one of thirty-four letters"

both_fronts = pytest.mark.parametrize("front", FRONTS)


class Clock:
    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@dataclass
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name]

    def header(self, name: str) -> str | None:
        return next(iter(self.all(name)), None)

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def cookies(self) -> dict[str, str]:
        """What a browser would keep: name → value."""
        pairs = (line.split(";")[0].partition("=") for line in self.all("set-cookie"))
        return {name: value for name, _, value in pairs}


@dataclass
class Asked:
    """What a view is told."""

    carrier: Any
    method: str
    path: str
    query: str
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def ott(self) -> Any:
        return self.carrier["ott"]


View = Callable[[Asked], Any]


def hello(asked: Asked) -> tuple[int, list[tuple[str, str]], bytes]:
    return 200, [("Content-Type", "text/plain")], b"hello"


def asgi_app(view: View) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        query = scope["query_string"].decode("latin-1")
        answer = view(Asked(scope, scope["method"], scope["path"], query, headers))
        status, pairs, body = await answer if inspect.isawaitable(answer) else answer
        raw = [(k.lower().encode("latin-1"), v.encode("latin-1")) for k, v in pairs]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": body})

    return app


def wsgi_app(view: View) -> Any:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        headers = {
            k[5:].replace("_", "-").lower(): v for k, v in environ.items() if k[:5] == "HTTP_"
        }
        asked = Asked(
            environ,
            environ["REQUEST_METHOD"],
            environ["PATH_INFO"],
            environ["QUERY_STRING"],
            headers,
        )
        status, pairs, body = view(asked)
        start_response(f"{status} Status", pairs)
        return [body]

    return app


class Client:
    """Sends requests to an app behind the middleware, without a server."""

    def __init__(self, front: str, view: View = hello, **options: Any) -> None:
        self.front = front
        app = asgi_app(view) if front == "asgi" else wsgi_app(view)
        self.middleware: Any = (ASGIMiddleware if front == "asgi" else WSGIMiddleware)(
            app, **options
        )

    @property
    def tokens(self) -> Any:
        return self.middleware.flow.tokens

    def get(self, path: str = "/", **how: Any) -> Answer:
        return self.request("GET", path, **how)

    def generate(self, **how: Any) -> Answer:
        return self.get("/one-time-token/generate", **how)

    def verify(self, token: str, **how: Any) -> Answer:
        return self.request("POST", "/one-time-token/verify", body=verify_body(token), **how)

    def open(self, token: str, path: str = "/", **how: Any) -> Answer:
        """A browser opens a link."""
        how["headers"] = {"accept": "text/html", **how.get("headers", {})}
        return self.get(f"{path}?ott={token}", **how)

    def request(self, method: str, path: str, **how: Any) -> Answer:
        if self.front == "asgi":
            return asyncio.run(self.arequest(method, path, **how))
        return call_wsgi(self.middleware, method, path, **how)

    async def arequest(self, method: str, path: str, **how: Any) -> Answer:
        if self.front == "asgi":
            return await call_asgi(self.middleware, method, path, **how)
        return await asyncio.to_thread(call_wsgi, self.middleware, method, path, **how)


def verify_body(token: str) -> bytes:
    return json.dumps({"token": token}).encode()


def _headers(
    headers: Mapping[str, str] | None, cookies: Mapping[str, str] | str | None, body: bytes
) -> dict[str, str]:
    merged = {"host": "app.example", **(headers or {})}
    if cookies:
        merged["cookie"] = (
            cookies
            if isinstance(cookies, str)
            else "; ".join(f"{name}={value}" for name, value in cookies.items())
        )
    if body:
        merged.setdefault("content-type", "application/json")
        merged["content-length"] = str(len(body))
    return merged


async def call_asgi(
    app: Any,
    method: str,
    path: str,
    *,
    headers: Mapping[str, str] | None = None,
    cookies: Mapping[str, str] | str | None = None,
    body: bytes = b"",
    scheme: str = "http",
    carrier: Mapping[str, Any] | None = None,
) -> Answer:
    path, _, query = path.partition("?")
    sent: list[Any] = []
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Any:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": scheme,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [
            (k.encode("latin-1"), v.encode("latin-1"))
            for k, v in _headers(headers, cookies, body).items()
        ],
        **(carrier or {}),
    }
    await app(scope, receive, send)
    start = sent[0]
    return Answer(
        start["status"],
        [(k.decode("latin-1"), v.decode("latin-1")) for k, v in start["headers"]],
        b"".join(message.get("body", b"") for message in sent[1:]),
    )


def call_wsgi(
    app: Any,
    method: str,
    path: str,
    *,
    headers: Mapping[str, str] | None = None,
    cookies: Mapping[str, str] | str | None = None,
    body: bytes = b"",
    scheme: str = "http",
    carrier: Mapping[str, Any] | None = None,
) -> Answer:
    path, _, query = path.partition("?")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "SERVER_NAME": "app.example",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": scheme,
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": io.StringIO(),
    }
    for name, value in _headers(headers, cookies, body).items():
        key = name.upper().replace("-", "_")
        environ[key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"] = value
    environ.update(carrier or {})
    started: list[Any] = []

    def start_response(status: str, pairs: Any, exc_info: Any = None) -> None:
        started[:] = [int(status[:3]), list(pairs)]

    chunks = app(environ, start_response)
    try:
        whole = b"".join(chunks)
    finally:
        if hasattr(chunks, "close"):
            chunks.close()
    return Answer(started[0], started[1], whole)


class Known(SessionAdapter):
    """Sessions in a dict: what is in it lives. Asked like an adapter of a real app."""

    vouches = True
    blocks = False
    cookie_names = ("sid",)

    def __init__(self) -> None:
        self.live: dict[str, Any] = {}
        self.asked = 0

    def add(self, session: Any) -> Any:
        self.live[session.token] = session
        return session

    def current(self, request: Any) -> Any:
        self.asked += 1
        return next((self.live[v] for v in request.cookies("sid") if v in self.live), None)

    def resolve(self, session: Any) -> Any:
        return self.live.get(session.token)

    def establish(self, session: Any, request: Any) -> Any:
        return [CookieAttributes().cookie("sid", session.token)]
