"""How the fronts are called, and what they leave behind."""

from __future__ import annotations

import asyncio
import gc
import inspect
import weakref
from typing import Any

import pytest
from harness import Members

from ott_middleware import ASGIMiddleware, OTTMiddleware, WSGIMiddleware, get_handle
from ott_middleware.flow import Handle


class Marker:
    """Something of the host's that hangs on a request."""


async def asgi_app(scope: Any, receive: Any, send: Any) -> None:
    scope["seen"] = scope["ott"]


def wsgi_app(environ: Any, start_response: Any) -> list[bytes]:
    environ["seen"] = environ["ott.handle"]
    return []


def scope(query: bytes = b"") -> dict[str, Any]:
    return {
        "type": "http",
        "method": "GET",
        "path": "/",
        "query_string": query,
        "headers": [],
    }


def environ(query: str = "") -> dict[str, Any]:
    return {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "QUERY_STRING": query}


def ask(front: Any, request: dict[str, Any]) -> None:
    if isinstance(front, ASGIMiddleware):
        asyncio.run(front(request, None, None))  # type: ignore[arg-type]  # never used
    else:
        front(request, None)


FRONTS = [(asgi_app, scope), (wsgi_app, environ)]
KEYS = {asgi_app: "ott", wsgi_app: "ott.handle"}


@pytest.mark.parametrize(("app", "request_of"), FRONTS, ids=["asgi", "wsgi"])
@pytest.mark.parametrize("query", ["", "b=%6f", "ott="], ids=["short way", "escape", "long way"])
def test_request_is_freed_without_the_garbage_collector(
    app: Any, request_of: Any, query: str
) -> None:
    """What hangs on a request (a connection, a file) would else live on until some collection."""
    front = OTTMiddleware(app, session=Members(), on_invalid="continue")
    request = request_of(query.encode() if app is asgi_app else query)
    request["marker"] = marker = Marker()
    gone = weakref.ref(marker)
    gc.collect()
    gc.disable()
    try:
        ask(front, request)
        assert request["seen"] is get_handle(request)
        del request, marker
        assert gone() is None
    finally:
        gc.enable()


def _carrier(app: Any, request_of: Any) -> dict[str, Any]:
    request = request_of()
    ask(OTTMiddleware(app, session=Members()), request)
    handle = get_handle(request)
    request.clear()  # a server may do so, or an app
    assert handle.session is None
    carrier: dict[str, Any] = handle.request.carrier
    return carrier


@pytest.mark.parametrize(("app", "request_of"), FRONTS, ids=["asgi", "wsgi"])
def test_handle_keeps_the_request_as_it_came(app: Any, request_of: Any) -> None:
    carrier = _carrier(app, request_of)
    # By the handle in it, adapters can tell that it is the app that asks.
    assert {name: value for name, value in carrier.items() if name != KEYS[app]} == request_of()
    assert isinstance(carrier[KEYS[app]], Handle)


def test_subclass_may_stand_in_the_way() -> None:
    calls: list[str] = []

    class Counting(WSGIMiddleware):
        def __call__(self, environ: Any, start_response: Any) -> Any:
            calls.append("wsgi")
            return super().__call__(environ, start_response)

    class AsyncCounting(ASGIMiddleware):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            calls.append("asgi")
            await super().__call__(scope, receive, send)

    for front, request in (
        (Counting(wsgi_app, session=Members()), environ()),
        (AsyncCounting(asgi_app, session=Members()), scope()),
    ):
        ask(front, request)
        assert request["seen"] is get_handle(request)
    assert calls == ["wsgi", "asgi"]


def test_servers_see_what_they_are_to_call() -> None:
    asgi, wsgi = OTTMiddleware(asgi_app, session=Members()), OTTMiddleware(wsgi_app, session="sid")
    assert isinstance(asgi, ASGIMiddleware)
    assert isinstance(wsgi, WSGIMiddleware)
    assert inspect.iscoroutinefunction(asgi.__call__)
    assert not inspect.iscoroutinefunction(wsgi.__call__)
    assert list(inspect.signature(asgi).parameters) == ["scope", "receive", "send"]
    assert list(inspect.signature(wsgi).parameters) == ["environ", "start_response"]
    for front in (asgi, wsgi):
        assert type(front).__name__ in ("ASGIMiddleware", "WSGIMiddleware")
        assert type(front).__doc__
