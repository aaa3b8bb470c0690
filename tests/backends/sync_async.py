"""A backend asked in either colour, and an app asked in either world."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Coroutine, Iterable
from typing import Any, NamedTuple

import httpx
from werkzeug.test import Client

from ott_middleware import ASGIMiddleware, Backend, OTTMiddleware, WSGIMiddleware

#: How many tokens are raced for in each race of the contract. Few will do, since the contract
#: widens the gaps that a race needs; `OTT_TEST_ROUNDS` asks for more.
ROUNDS = int(os.environ.get("OTT_TEST_ROUNDS", "6"))


class Loop:
    """An event loop that ends in good order, as `asyncio.run` ends its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(asyncio.wait_for(coroutine, 60))

    def close(self) -> None:
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()


class Colour:
    """The operations of a backend, in the colour that the test is about."""

    def __init__(self, name: str, loop: Loop) -> None:
        self.name = name
        self._loop = loop

    def put(
        self,
        backend: Backend,
        key: str,
        value: bytes = b"value",
        *,
        expires_at: float = 1060.0,
        owner: str = "owner",
        limit: int | None = 10,
    ) -> None:
        self._call(backend, "put", key, value, expires_at=expires_at, owner=owner, limit=limit)

    def take(self, backend: Backend, key: str) -> bytes | None:
        return self._call(backend, "take", key)

    def revoke(self, backend: Backend, owner: str = "owner") -> int:
        return self._call(backend, "revoke", owner)

    def close(self, backend: Backend) -> None:
        self._call(backend, "close")

    def _call(self, backend: Backend, name: str, *arguments: Any, **keywords: Any) -> Any:
        if self.name == "sync":
            return getattr(backend, name)(*arguments, **keywords)
        return self._loop.run(getattr(backend, f"a{name}")(*arguments, **keywords))


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class AppCaller:
    """An app of thirteen bytes behind the middleware, under ASGI or WSGI."""

    def __init__(self, name: str, loop: Loop) -> None:
        self.name = name
        self._loop = loop

    def wrap(self, app: Any = None, **options: Any) -> ASGIMiddleware | WSGIMiddleware:
        app = app or (_asgi_app if self.name == "asgi" else _wsgi_app)
        return OTTMiddleware(app, **{"session": "sid", **options})

    def ask(
        self, app: Any, path: str, *, method: str = "GET", body: Any = None, cookie: str = "sid=abc"
    ) -> Answer:
        if self.name == "wsgi":
            response = Client(app, use_cookies=False).open(
                path, method=method, json=body, headers={"Cookie": cookie}
            )
            return Answer(
                response.status_code, dict(response.headers.items(lower=True)), response.data
            )

        async def asked() -> httpx.Response:
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(
                transport=transport, base_url="http://localhost"
            ) as client:
                return await client.request(method, path, json=body, headers={"Cookie": cookie})

        answer = self._loop.run(asked())
        return Answer(answer.status_code, dict(answer.headers), answer.content)

    def generate(self, app: Any) -> Answer:
        return self.ask(app, "/one-time-token/generate")

    def verify(self, app: Any, token: str) -> Answer:
        return self.ask(app, "/one-time-token/verify", method="POST", body={"token": token})


async def _asgi_app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"Hello, world!"})


def _wsgi_app(environ: Any, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [])
    return [b"Hello, world!"]
