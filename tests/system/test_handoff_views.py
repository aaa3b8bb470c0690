"""`redirect(get_handle(request).handoff())` in a view of each framework, up to the wanted page."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import django_project
import fastapi
import flask
import pytest
import starlette.requests
import starlette.responses
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect as django_redirect
from django.test import override_settings
from django.urls import path
from harness import NAVIGATION, SECRET, Answer, call_wsgi, make_environ, make_scope, run

from ott_middleware import CookieSession, MemoryBackend, OTTMiddleware, get_handle

django_project.configure()
A, B = "a.example", "b.example"


def flask_app(interface: str) -> Any:
    app = flask.Flask("handoff_views")

    @app.get("/account")
    def account() -> Any:
        handle = get_handle(flask.request)
        return handle.session.user_id if handle.session else flask.redirect(handle.handoff())

    return app.wsgi_app


def fastapi_app(interface: str) -> Any:
    app = fastapi.FastAPI()

    @app.get("/account")
    def account(request: starlette.requests.Request) -> Any:  # in a worker thread
        handle = get_handle(request)
        if handle.session is None:
            return starlette.responses.RedirectResponse(handle.handoff(), 303)
        return starlette.responses.PlainTextResponse(handle.session.user_id)

    return app


def fastapi_async_app(interface: str) -> Any:
    app = fastapi.FastAPI()

    @app.get("/account")
    async def account(request: starlette.requests.Request) -> Any:
        handle = get_handle(request)
        session = await handle.asession()
        if session is None:
            return starlette.responses.RedirectResponse(handle.handoff(), 303)
        return starlette.responses.PlainTextResponse(session.user_id)

    return app


def django_app(interface: str) -> Any:
    def account(request: HttpRequest) -> HttpResponse:
        handle = get_handle(request)
        if handle.session is None:
            return django_redirect(handle.handoff())
        return HttpResponse(handle.session.user_id)

    class Urls:
        urlpatterns = (path("account", account),)

    settings = {"ROOT_URLCONF": Urls, "MIDDLEWARE": []}

    def wsgi(environ: Any, start_response: Any) -> Any:
        with override_settings(**settings):
            return get_wsgi_application()(environ, start_response)

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        with override_settings(**settings):
            await get_asgi_application()(scope, receive, send)

    return wsgi if interface == "wsgi" else asgi


APPS = [
    (flask_app, "wsgi"),
    (django_app, "wsgi"),
    (django_app, "asgi"),
    (fastapi_app, "asgi"),
    (fastapi_async_app, "asgi"),
]


def ask(app: Any, interface: str, host: str, target: str, headers: dict[str, str]) -> Answer:
    values = {**NAVIGATION, **headers}
    if interface == "wsgi":
        return call_wsgi(app, make_environ("GET", target, values, scheme="https", host=host))
    sent: list[Any] = []

    async def call() -> None:
        messages = [{"type": "http.request", "body": b"", "more_body": False}]

        async def receive() -> Any:
            if not messages:
                await asyncio.Event().wait()  # as a client that waits for the response
            return messages.pop()

        async def send(message: Any) -> None:
            sent.append(message)

        await app(make_scope("GET", target, values, scheme="https", host=host), receive, send)

    run(call())
    pairs = [(k.decode("latin-1"), v.decode("latin-1")) for k, v in sent[0]["headers"]]
    return Answer(sent[0]["status"], pairs, b"".join(each.get("body", b"") for each in sent[1:]))


@pytest.mark.parametrize(
    ("make", "interface"), APPS, ids=[f"{make.__name__[:-4]}-{kind}" for make, kind in APPS]
)
def test_view_hands_over_and_has_its_visitor_back(
    make: Callable[[str], Any], interface: str
) -> None:
    store = MemoryBackend()

    def wrap(app: Any, host: str, **options: Any) -> Any:
        session = CookieSession(
            "sid",
            validate=lambda values: (
                {"id": "s1", "user_id": "ada"} if values["sid"] == "1" else None
            ),
            renews_key=True,
        )
        public = f"https://{host}"
        return OTTMiddleware(
            app, session=session, backend=store, secret=SECRET, public_origin=public, **options
        )

    def nothing(environ: Any, start_response: Any) -> Any:  # pragma: no cover
        raise AssertionError

    source = wrap(nothing, A, handoff_targets=[f"https://{B}"])
    target = wrap(make(interface), B, issuer=f"https://{A}")
    start = ask(target, interface, B, "/account?tab=1&q=%C3%BC", {"sec-fetch-site": "none"})
    assert start.status in (302, 303)
    assert start.header("cache-control") == "private, no-store"
    [(name, verifier)] = start.cookies.items()
    assert name.startswith("__Host-ott_pull_")
    url = urlsplit(start.location or "")
    assert url.netloc == A
    headers = {"cookie": "sid=1", "sec-fetch-site": "cross-site"}
    issued = ask(source, "wsgi", A, f"{url.path}?{url.query}", headers)
    assert issued.status == 303
    back = urlsplit(issued.location or "")
    assert (back.netloc, back.path) == (B, "/one-time-token/return")
    headers = {"cookie": f"{name}={verifier}", "sec-fetch-site": "cross-site"}
    signed_in = ask(target, interface, B, f"{back.path}?{back.query}", headers)
    assert (signed_in.status, signed_in.location) == (303, "/account?tab=1&q=%C3%BC")
    assert signed_in.cookies["sid"] == "1"
    page = ask(target, interface, B, signed_in.location, {"cookie": "sid=1"})
    assert (page.status, page.body) == (200, b"ada")
