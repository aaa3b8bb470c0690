"""`get_handle` in the real requests of each framework, and what it says without a handle."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable
from typing import Any

import bottle
import django.test
import django_project
import falcon
import falcon.asgi
import fastapi
import flask
import litestar
import pytest
import quart
import starlette.applications
import starlette.requests
import starlette.responses
import starlette.routing
import werkzeug
from a2wsgi import ASGIMiddleware as ASGIToWSGI
from a2wsgi import WSGIMiddleware as WSGIToASGI
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.test import override_settings
from django.urls import path
from harness import call_asgi, call_wsgi, make_environ, make_scope, person

from ott_middleware import OTTMiddleware, SealedSession, get_handle
from ott_middleware.flow import Handle

django_project.configure()
View = Callable[[Any], str]
SECRET = "a secret of thirty-two characters"


def django_app(view: View, interface: str) -> Any:
    class Urls:
        urlpatterns = (path("", lambda request: HttpResponse(view(request))),)

    async def aview(request: HttpRequest) -> HttpResponse:
        return HttpResponse(view(request))

    class AsyncUrls:
        urlpatterns = (path("", aview),)

    # The handler loads its middleware when it is made, and the urls at each request.
    settings = {"ROOT_URLCONF": AsyncUrls if interface == "asgi" else Urls, "MIDDLEWARE": []}
    if interface == "wsgi":

        def wsgi(environ: Any, start_response: Any) -> Any:
            with override_settings(**settings):
                return get_wsgi_application()(environ, start_response)

        return wsgi

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        with override_settings(**settings):
            await get_asgi_application()(scope, receive, send)

    return asgi


def flask_app(view: View, interface: str) -> Any:
    app = flask.Flask("get_handle")
    app.get("/")(lambda: view(flask.request))
    return app


def flask_async_app(view: View, interface: str) -> Any:
    app = flask.Flask("get_handle")

    async def aview() -> str:
        return view(flask.request)

    app.get("/")(aview)
    return app


def werkzeug_app(view: View, interface: str) -> Any:
    @werkzeug.Request.application
    def app(request: werkzeug.Request) -> werkzeug.Response:
        return werkzeug.Response(view(request))

    return app


def starlette_app(view: View, interface: str) -> Any:
    async def aview(request: Any) -> Any:
        return starlette.responses.PlainTextResponse(view(request))

    return starlette.applications.Starlette(routes=[starlette.routing.Route("/", aview)])


def fastapi_app(view: View, interface: str) -> Any:
    app = fastapi.FastAPI()

    @app.get("/")
    def root(request: starlette.requests.Request) -> Any:  # in a worker thread
        return starlette.responses.PlainTextResponse(view(request))

    return app


def quart_app(view: View, interface: str) -> Any:
    app = quart.Quart("get_handle")

    async def aview() -> str:
        return view(quart.request)

    app.get("/")(aview)
    return app


def litestar_app(view: View, interface: str) -> Any:
    async def aview(request: litestar.Request[Any, Any, Any]) -> str:
        return view(request)

    handler = litestar.get("/", media_type="text/plain")(aview)
    return litestar.Litestar([handler], openapi_config=None)


def pyramid_app(view: View, interface: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it imports pkg_resources and cgi, which are deprecated
        from pyramid.config import Configurator
    from pyramid.response import Response

    with Configurator() as config:
        config.add_route("root", "/")
        config.add_view(lambda request: Response(view(request)), route_name="root")
        return config.make_wsgi_app()


def falcon_app(view: View, interface: str) -> Any:
    class Sync:
        def on_get(self, req: Any, resp: Any) -> None:
            resp.text = view(req)

    class Async:
        async def on_get(self, req: Any, resp: Any) -> None:
            resp.text = view(req)

    app: Any = falcon.App() if interface == "wsgi" else falcon.asgi.App()
    app.add_route("/", Sync() if interface == "wsgi" else Async())
    return app


def bottle_app(view: View, interface: str) -> Any:
    app = bottle.Bottle()
    app.get("/")(lambda: view(bottle.request))
    return app


def plain_app(view: View, interface: str) -> Any:
    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        body = view(scope).encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    def wsgi(environ: Any, start_response: Any) -> list[bytes]:
        body = view(environ).encode()
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [body]

    return asgi if interface == "asgi" else wsgi


APPS = [
    *((each, kind) for each in (django_app, falcon_app, plain_app) for kind in ("asgi", "wsgi")),
    *((each, "asgi") for each in (starlette_app, fastapi_app, quart_app, litestar_app)),
    *((each, "wsgi") for each in (flask_app, flask_async_app, werkzeug_app)),
    *((each, "wsgi") for each in (pyramid_app, bottle_app)),
]
each_app = pytest.mark.parametrize(
    ("make", "interface"), APPS, ids=[f"{make.__name__[:-4]}-{kind}" for make, kind in APPS]
)


def ask(app: Any, interface: str, cookie: str = "") -> str:
    headers = {"cookie": cookie, "accept": "*/*"}
    if interface == "wsgi":
        answer = call_wsgi(app, make_environ("GET", "/", headers))
        assert answer.status == 200
        return answer.body.decode()
    sent: list[Any] = []

    async def call() -> None:
        async def send(message: Any) -> None:
            sent.append(message)

        receive = asyncio.Queue[Any]()
        receive.put_nowait({"type": "http.request"})
        await app(make_scope("GET", "/", headers), receive.get, send)

    asyncio.run(call())
    assert sent[0]["status"] == 200
    return b"".join(message.get("body", b"") for message in sent).decode()


class TestGetHandle:
    @each_app
    def test_finds_the_handle_of_the_request(self, make: Any, interface: str) -> None:
        def view(request: Any) -> str:
            handle: Handle = get_handle(request)
            assert get_handle(request) is handle
            return handle.session.user_id if handle.session else "guest"

        adapter = SealedSession(SECRET)
        app = OTTMiddleware(make(view, interface), interface=interface, session=adapter)
        cookie = f"ott_session={adapter.start('alice', remember=True).token}"
        assert [ask(app, interface, each) for each in (cookie, "")] == ["alice", "guest"]

    @each_app
    def test_app_that_is_not_wrapped(self, make: Any, interface: str) -> None:
        def view(request: Any) -> str:
            with pytest.raises(LookupError) as caught:
                get_handle(request)
            return str(caught.value)

        text = ask(make(view, interface), interface)
        for part in ("not wrapped", "django.test.Client", "bridge"):
            assert part in text

    @pytest.mark.parametrize("inner", ["asgi", "wsgi"])
    def test_sees_through_a_bridge(self, inner: str) -> None:
        """The middleware is around the bridge: the app's own carrier was made by the bridge."""
        found: list[Handle] = []

        def view(carrier: Any) -> str:
            found.append(get_handle(carrier))
            return "seen"

        app = plain_app(view, inner)
        if inner == "wsgi":
            scope = make_scope()
            wrapped = OTTMiddleware(
                WSGIToASGI(app), interface="asgi", session=SealedSession(SECRET)
            )
            asyncio.run(call_asgi(wrapped, scope))
            assert found == [scope["ott"]]
        else:
            environ = make_environ()
            environ.update(REMOTE_PORT="1")
            bridged: Any = ASGIToWSGI(app)
            outer = OTTMiddleware(bridged, interface="wsgi", session=SealedSession(SECRET))
            call_wsgi(outer, environ)
            assert found == [environ["ott.handle"]]

    def test_request_of_a_test_client(self) -> None:
        factories = (django.test.RequestFactory(), django.test.AsyncRequestFactory())
        for factory in factories:
            with pytest.raises(LookupError, match="RequestFactory"):
                get_handle(factory.get("/"))

    def test_websocket_beside_the_middleware(self) -> None:
        with pytest.raises(LookupError, match="not wrapped"):
            get_handle({"type": "websocket", "path": "/"})

    def test_key_with_another_value(self) -> None:
        with pytest.raises(LookupError):
            get_handle({"type": "http", "ott": "another package's"})

    @pytest.mark.parametrize(
        "given", [None, "ott=a-token", 7, {}, {"ott": 1}, person("alice"), flask.Flask("app")]
    )
    def test_no_request(self, given: Any) -> None:
        with pytest.raises(TypeError) as caught:
            get_handle(given)
        kind = type(given).__qualname__
        assert str(caught.value).endswith(f"a scope or an environ, not {kind}")


class TestSyncMethodsOnALoop:
    """In the views of frameworks: refused in async views, working in sync ones."""

    def test_sync_fastapi_view(self) -> None:
        adapter = SealedSession(SECRET)

        def view(request: Any) -> str:
            handle = get_handle(request)
            handle.sign_in("alice")
            return f"{len(handle.generate())} {handle.link('https://b.example/')}"

        app = OTTMiddleware(
            fastapi_app(view, "asgi"), session=adapter, handoff_targets=["https://b.example"]
        )
        assert ask(app, "asgi").startswith("32 https://b.example/?ott=")

    def test_async_flask_view(self) -> None:
        app = flask.Flask("app")

        async def view() -> str:
            handle = get_handle(flask.request)
            handle.sign_in("alice")
            for name, *args in (("generate",), ("link", "https://b.example/")):
                with pytest.raises(RuntimeError, match=rf"^{name}\(\) .* `await a{name}\(\)`"):
                    getattr(handle, name)(*args)
            in_thread = await asyncio.to_thread(handle.generate)
            link = await handle.alink("https://b.example/")
            return f"{len(in_thread)} {len(await handle.agenerate())} {link}"

        app.get("/")(view)
        wrapped = OTTMiddleware(
            app, session=SealedSession(SECRET), handoff_targets=["https://b.example"]
        )
        assert ask(wrapped, "wsgi").startswith("32 32 https://b.example/?ott=")
