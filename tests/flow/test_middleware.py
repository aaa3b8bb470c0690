"""Which kind of app it is that is wrapped."""

from __future__ import annotations

import asyncio
import functools
from typing import Any

import pytest
from harness import Members, call_asgi, call_wsgi, make_environ, make_scope, person

from ott_middleware import ASGIMiddleware, ConfigurationError, OTTMiddleware, WSGIMiddleware

OPTIONS: dict[str, Any] = {"session": Members(person("alice"))}


async def asgi_function(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


def wsgi_function(environ: Any, start_response: Any) -> Any:
    start_response("200 Fine", [("Content-Type", "text/plain")])
    return [b"hello"]


def returns_a_coroutine(scope: Any, receive: Any, send: Any) -> Any:
    return asgi_function(scope, receive, send)


async def asgi_with_defaults(scope: Any, receive: Any, send: Any, extra: Any = None) -> None:
    await asgi_function(scope, receive, send)


def wsgi_with_defaults(
    environ: Any, start_response: Any, extra: Any = None, *, more: Any = 1
) -> Any:
    return wsgi_function(environ, start_response)


async def asgi_star(*args: Any) -> None:
    await asgi_function(*args)


def wsgi_star(*args: Any) -> Any:
    return wsgi_function(*args)


async def asgi_configured(setting: Any, scope: Any, receive: Any, send: Any) -> None:
    await asgi_function(scope, receive, send)


def wsgi_configured(setting: Any, environ: Any, start_response: Any) -> Any:
    return wsgi_function(environ, start_response)


def wsgi_configured_last(environ: Any, start_response: Any, setting: Any) -> Any:
    return wsgi_function(environ, start_response)


@functools.wraps(wsgi_function)
def wrapped_wsgi(*args: Any, **keywords: Any) -> Any:
    return wsgi_function(*args, **keywords)


class ASGIObject:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await asgi_function(scope, receive, send)

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        await asgi_function(scope, receive, send)

    @staticmethod
    async def still(scope: Any, receive: Any, send: Any) -> None:
        await asgi_function(scope, receive, send)

    def __repr__(self) -> str:
        return "secret-of-the-app"


class WSGIObject:
    def __call__(self, environ: Any, start_response: Any) -> Any:
        return wsgi_function(environ, start_response)

    def app(self, environ: Any, start_response: Any) -> Any:
        return wsgi_function(environ, start_response)

    @classmethod
    def of_class(cls, environ: Any, start_response: Any) -> Any:
        return wsgi_function(environ, start_response)

    def star(self, *args: Any) -> Any:
        return wsgi_function(*args)


class WSGIClass:
    """An app whose every call makes an object: PEP 3333's own example."""

    def __init__(self, environ: Any, start_response: Any) -> None:
        self.start = start_response

    def __iter__(self) -> Any:
        self.start("200 Fine", [("Content-Type", "text/plain")])
        yield b"hello"


class ASGI2Class:
    def __init__(self, scope: Any) -> None:
        self.scope = scope

    async def __call__(self, receive: Any, send: Any) -> None:
        await asgi_function(self.scope, receive, send)


class AwaitedClass:
    """An app whose every call makes an object that is awaited."""

    def __init__(self, scope: Any, receive: Any, send: Any) -> None:
        self.call = (scope, receive, send)

    def __await__(self) -> Any:
        return asgi_function(*self.call).__await__()


def asgi2_function(scope: Any) -> Any:
    return functools.partial(asgi_function, scope)


class Star:
    def __call__(self, *args: Any, **keywords: Any) -> Any:
        return wsgi_function(*args)


class NoSignature:
    __signature__ = "nonsense"

    def __call__(self, environ: Any, start_response: Any) -> Any:
        return wsgi_function(environ, start_response)


ASGI_APPS = [
    asgi_function,
    returns_a_coroutine,
    asgi_with_defaults,
    asgi_star,
    functools.partial(asgi_configured, 1),
    functools.partial(functools.partial(asgi_configured), 1),
    functools.partial(ASGIObject()),
    ASGIObject(),
    ASGIObject().app,
    ASGIObject.still,
    AwaitedClass,
    ASGI2Class,
    asgi2_function,
    functools.partial(ASGI2Class),
]
WSGI_APPS = [
    wsgi_function,
    wsgi_with_defaults,
    functools.partial(wsgi_configured, 1),
    functools.partial(WSGIObject()),
    functools.partial(wsgi_configured_last, setting=1),
    wrapped_wsgi,
    WSGIObject(),
    WSGIObject().app,
    WSGIObject.of_class,
    WSGIClass,
    functools.partial(WSGIClass),
    lambda environ, start_response: wsgi_function(environ, start_response),
]


def answers(wrapped: Any) -> bool:
    if isinstance(wrapped, ASGIMiddleware):
        return asyncio.run(call_asgi(wrapped, make_scope())).body == b"hello"
    return call_wsgi(wrapped, make_environ()).body == b"hello"


@pytest.mark.parametrize("app", ASGI_APPS)
def test_asgi_apps(app: Any) -> None:
    wrapped = OTTMiddleware(app, **OPTIONS)
    assert isinstance(wrapped, ASGIMiddleware)
    assert answers(wrapped)


@pytest.mark.parametrize("app", WSGI_APPS)
def test_wsgi_apps(app: Any) -> None:
    wrapped = OTTMiddleware(app, **OPTIONS)
    assert isinstance(wrapped, WSGIMiddleware)
    assert answers(wrapped)


def one_and_more(first: Any, *rest: Any) -> Any:
    return wsgi_function(first, *rest)


def two_and_more(first: Any, second: Any, *rest: Any) -> Any:
    return wsgi_function(first, second)


def no_arguments() -> None: ...


def four(a: Any, b: Any, c: Any, d: Any) -> None: ...


UNCLEAR = [
    wsgi_star,
    Star(),
    WSGIObject().star,
    functools.partial(wsgi_star),
    NoSignature(),
    one_and_more,
    two_and_more,
    no_arguments,
    four,
    dict,
]


@pytest.mark.parametrize("app", UNCLEAR)
def test_app_that_could_be_either_is_refused(app: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"app: .*pass interface='asgi' or") as caught:
        OTTMiddleware(app, **OPTIONS)
    assert "0x" not in str(caught.value)


@pytest.mark.parametrize("app", [wsgi_star, Star(), WSGIObject().star, NoSignature()])
def test_interface_can_be_told(app: Any) -> None:
    wrapped = OTTMiddleware(app, interface="wsgi", **OPTIONS)
    assert isinstance(wrapped, WSGIMiddleware)
    assert answers(wrapped)


def test_interface_that_is_given_overrides_the_guess() -> None:
    assert isinstance(OTTMiddleware(wsgi_function, interface="asgi", **OPTIONS), ASGIMiddleware)
    assert isinstance(OTTMiddleware(asgi_function, interface="wsgi", **OPTIONS), WSGIMiddleware)
    assert isinstance(OTTMiddleware(ASGI2Class, interface="wsgi", **OPTIONS), WSGIMiddleware)
    wrapped = OTTMiddleware(ASGI2Class, interface="asgi", **OPTIONS)
    assert isinstance(wrapped, ASGIMiddleware)
    assert answers(wrapped)


@pytest.mark.parametrize("interface", ["ASGI", "", 3, "http"])
def test_interface_of_another_name_is_refused(interface: Any) -> None:
    with pytest.raises(ConfigurationError, match="interface: "):
        OTTMiddleware(asgi_function, interface=interface, **OPTIONS)


@pytest.mark.parametrize("app", [None, "module:app", 7, object()])
def test_app_that_cannot_be_called_is_refused(app: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"app: .* can't be called"):
        OTTMiddleware(app, **OPTIONS)


def test_message_never_shows_the_app() -> None:
    class Secretive:
        def __call__(self, *args: Any) -> None: ...

        def __repr__(self) -> str:
            return "secret-of-the-app"

    with pytest.raises(ConfigurationError) as caught:
        OTTMiddleware(Secretive(), **OPTIONS)
    assert "secret-of-the-app" not in str(caught.value)


def test_app_by_position_and_by_keyword() -> None:
    # Frameworks that stack middleware do the latter.
    wrapped: Any = OTTMiddleware(app=asgi_function, **OPTIONS)
    assert answers(wrapped)
    wrapped = OTTMiddleware(app=wsgi_function, **OPTIONS)
    assert answers(wrapped)
    assert answers(ASGIMiddleware(app=asgi_function, **OPTIONS))
    assert answers(WSGIMiddleware(app=wsgi_function, **OPTIONS))


def test_place_inside_of_another_middleware() -> None:
    inner: Any = OTTMiddleware(asgi_function, **OPTIONS)
    assert isinstance(OTTMiddleware(inner, **OPTIONS), ASGIMiddleware)
    inner = OTTMiddleware(wsgi_function, **OPTIONS)
    outer: Any = OTTMiddleware(inner, **OPTIONS)
    assert isinstance(outer, WSGIMiddleware)
    assert answers(outer)


def test_options_are_checked_when_the_app_is_wrapped() -> None:
    for app in (asgi_function, wsgi_function):
        with pytest.raises(ConfigurationError, match="expires_in: 0"):
            OTTMiddleware(app, session="sid", expires_in=0)
        with pytest.raises(ConfigurationError, match="did you mean 'expires_in'"):
            OTTMiddleware(app, session="sid", expire_in=1)  # type: ignore[call-overload]  # wrong on purpose
        with pytest.raises(ConfigurationError, match="session: 'auto' finds neither"):
            OTTMiddleware(app)
        with pytest.raises(TypeError):
            OTTMiddleware(app, "sid")  # type: ignore[call-overload]  # wrong on purpose
