"""Mistakes that are found when the app is wrapped, or with its first request."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

from asgiref.sync import async_to_sync
from django.core.exceptions import ImproperlyConfigured
from fastapi import APIRouter, FastAPI
from flask import Flask
from mistake import Mistake, read_error
from starlette.middleware.sessions import SessionMiddleware

from ott_middleware import CookieSession, FlaskSession, OTTMiddleware, StarletteSession, get_handle

SECRET = "a secret of the app, which is long"


async def app(scope: object, receive: object, send: object) -> None:
    raise AssertionError("never called")


def flask_app() -> Flask:
    made = Flask("shop")
    made.secret_key = SECRET
    return made


def wrap(wrapped: Any, **options: Any) -> Callable[[], str]:
    """Return what reads the error of wrapping."""
    return lambda: read_error(lambda: OTTMiddleware(wrapped, **options))


class Beaker:
    """Beaker's layer, by its name."""

    __module__, __qualname__ = "beaker.middleware", "SessionMiddleware"

    def __call__(self, environ: object, start_response: object) -> None: ...


def get_response() -> Any:
    """Return what Django gives to the first entry of MIDDLEWARE."""
    from django.core.handlers.exception import convert_exception_to_response

    return convert_exception_to_response(lambda request: None)


async def get_response_later(request: object) -> None: ...


def get_response_of_asgi() -> Any:
    from django.core.handlers.exception import convert_exception_to_response

    return async_to_sync(convert_exception_to_response(get_response_later))


def ask_app_around_itself() -> None:
    shop = flask_app()
    shop.wsgi_app = OTTMiddleware(shop)  # type: ignore[method-assign]  # the mistake
    shop.test_client().get("/")


def ask_asgi_app_around_itself() -> None:
    desk = FastAPI()
    desk.middleware_stack = OTTMiddleware(desk, session="sid")
    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []}
    asyncio.run(desk(scope, None, None))  # type: ignore[arg-type]  # never used


def read_attribute(name: str) -> str:
    return read_error(lambda: getattr(OTTMiddleware(flask_app()), name), AttributeError)


def stack_the_wrong_way_round() -> None:
    desk = FastAPI()
    desk.add_middleware(OTTMiddleware)
    desk.add_middleware(SessionMiddleware, secret_key=SECRET)
    desk.build_middleware_stack()


def render_tag(context: dict[str, Any]) -> str:
    from ott_middleware.django.templatetags.ott import ott_link

    return ott_link(context, "https://b.example/")


async def render_on_the_loop(scope: Any, receive: Any, send: Any) -> None:
    render_tag({"request": scope})


def ask_page_rendered_on_the_loop() -> None:
    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []}
    asyncio.run(OTTMiddleware(render_on_the_loop, session="sid")(scope, None, None))  # type: ignore[arg-type]  # never used


MISTAKES = (
    Mistake(
        "an app of no known framework is wrapped without `session=`",
        wrap(app),
        "CookieSession(",
    ),
    Mistake(
        "a FastAPI app without `SessionMiddleware` is wrapped without `session=`",
        wrap(FastAPI()),
        "app.add_middleware(SessionMiddleware, secret_key=...)",
    ),
    Mistake(
        "a Flask app without `SECRET_KEY` is wrapped",
        wrap(Flask("shop")),
        "set app.secret_key before the app is wrapped",
    ),
    Mistake(
        "an app with Beaker's sessions is wrapped without `session=`",
        wrap(Beaker()),
        "session=CookieSession('beaker.session.id'",
    ),
    Mistake(
        "`OTTMiddleware` is added before `SessionMiddleware`, and so inside of it",
        lambda: read_error(stack_the_wrong_way_round),
        "let OTTMiddleware be outside of it",
    ),
    Mistake(
        "`OTTMiddleware(FastAPI)`, the class",
        wrap(FastAPI, session="sid"),
        "pass an app that is made of it, not the class",
    ),
    Mistake(
        "`OTTMiddleware(create_app)`, the function that makes the app",
        wrap(flask_app, session="sid"),
        "if it makes the app, call it: OTTMiddleware(create_app())",
    ),
    Mistake(
        "a module in place of the app in it",
        wrap(sys.modules[__name__], session="sid"),
        "pass the app in it: construction.app",
    ),
    Mistake(
        "`None` in place of an app",
        wrap(None, session="sid"),
        "None can't be called; pass the app itself",
    ),
    Mistake(
        "the import string of an app in its place",
        wrap("shop:app", session="sid"),
        "can't be called; pass the app itself",
    ),
    Mistake(
        "a router of FastAPI in place of an app",
        wrap(APIRouter(), session="sid"),
        "include it (app.include_router(router)), wrap the app",
    ),
    Mistake(
        "an entry of Django's `MIDDLEWARE`, under WSGI",
        lambda: wrap(get_response())(),
        "wrap the application in wsgi.py or asgi.py: application = OTTMiddleware(application)",
    ),
    Mistake(
        "an entry of Django's `MIDDLEWARE`, under ASGI",
        lambda: wrap(get_response_of_asgi())(),
        "wrap the application in wsgi.py or asgi.py: application = OTTMiddleware(application)",
    ),
    Mistake(
        "`app.wsgi_app = OTTMiddleware(app)` (the first request fails)",
        lambda: read_error(ask_app_around_itself),
        "app.wsgi_app = OTTMiddleware(app.wsgi_app)",
    ),
    Mistake(
        "an ASGI app is put around itself (the first request fails)",
        lambda: read_error(ask_asgi_app_around_itself),
        "application = OTTMiddleware(app)",
    ),
    Mistake(
        "`OTTMiddleware(flask_app).run()`",
        lambda: read_attribute("run"),
        "Keep the app's own name",
    ),
    Mistake(
        "`app = OTTMiddleware(app)`, and then `@app.route(…)`",
        lambda: read_attribute("route"),
        "app.wsgi_app = OTTMiddleware(app.wsgi_app)",
    ),
    Mistake(
        '`match="email"` for the sessions of Starlette, which have no table of users',
        lambda: read_error(lambda: StarletteSession(secret_key=SECRET, match="email")),
        "match=lambda s: find_user((s.user or {}).get('email'))",
    ),
    Mistake(
        '`match="email"` for the sessions of Flask without Flask-Login',
        lambda: read_error(lambda: FlaskSession(flask_app(), match="email")),
        "match=lambda s: find_user((s.user or {}).get('email'))",
    ),
    Mistake(
        "a Django view that uses the handle is tested with `django.test.Client`",
        lambda: read_error(lambda: get_handle({"REQUEST_METHOD": "GET"}), LookupError),
        "use OTTClient, or add_handle(request), of ott_middleware.testing.django",
    ),
    Mistake(
        "`{% ott_link %}` in a template that has no request",
        lambda: read_error(lambda: render_tag({}), ImproperlyConfigured),
        "add 'django.template.context_processors.request'",
    ),
    Mistake(
        "`{% ott_link %}` in a template that an async view renders on the event loop",
        lambda: read_error(ask_page_rendered_on_the_loop, RuntimeError),
        "await sync_to_async(render)(request, ...)",
    ),
    Mistake(
        "a cookie that no browser would keep: `SameSite=None` without `Secure`",
        lambda: read_error(lambda: CookieSession("sid", samesite="none", secure=False)),
        "secure",
    ),
)
