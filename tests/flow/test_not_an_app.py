"""What is wrapped in place of an app is refused, and the error names the cure."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any

import bottle
import falcon
import falcon.asgi
import pytest
import quart
import starlette.routing
from asgiref.sync import async_to_sync, sync_to_async
from fastapi import APIRouter, FastAPI
from flask import Blueprint, Flask
from harness import Members
from litestar import Litestar, Router
from starlette.applications import Starlette
from starlette.middleware.sessions import SessionMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix

from ott_middleware import ASGIMiddleware, ConfigurationError, OTTMiddleware, WSGIMiddleware

WRAP: list[Callable[..., Any]] = [OTTMiddleware, ASGIMiddleware, WSGIMiddleware]


def refusal_of(app: Any, wrap: Callable[..., Any] = OTTMiddleware, **options: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        wrap(app, session=Members(), **options)
    return str(caught.value)


class OwnApp:
    def __call__(self, environ: Any, start_response: Any) -> Any: ...


class OwnAsyncApp:
    def __init__(self, settings: Any) -> None: ...

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


CLASSES = [
    FastAPI,
    Starlette,
    Flask,
    quart.Quart,
    Litestar,
    falcon.App,
    falcon.asgi.App,
    bottle.Bottle,
    SessionMiddleware,
    ProxyFix,
    OwnApp,
    OwnAsyncApp,
    WSGIMiddleware,
    functools.partial(FastAPI, title="Shop"),
]


class TestClassInPlaceOfAnApp:
    @pytest.mark.parametrize("kind", CLASSES)
    def test_refused(self, kind: Any) -> None:
        assert "pass an app that is made of it, not the class" in refusal_of(kind)
        for name in ("asgi", "wsgi"):
            assert "not the class" in refusal_of(kind, interface=name)

    @pytest.mark.parametrize("wrap", WRAP)
    def test_refused_by_each_middleware(self, wrap: Callable[..., Any]) -> None:
        assert "the class fastapi.applications.FastAPI" in refusal_of(FastAPI, wrap)


def create_app() -> Flask:
    return Flask(__name__)


def create_app_with(config: Any = None, *, debug: bool = False) -> Flask:
    return Flask(__name__)


async def create_app_later() -> Any: ...


async def create_app_later_with(settings: Any) -> Any: ...


class Maker:
    def __call__(self) -> Any: ...

    async def later(self) -> Any: ...


FACTORIES = [
    create_app,
    create_app_with,
    create_app_later,
    create_app_later_with,
    lambda: Flask(__name__),
    functools.partial(create_app_with, 1),
    Maker(),
    Maker().later,
]


class TestFactoryInPlaceOfAnApp:
    @pytest.mark.parametrize("factory", FACTORIES)
    def test_refused(self, factory: Any) -> None:
        assert "if it makes the app, call it: OTTMiddleware(create_app())" in refusal_of(factory)
        for name in ("asgi", "wsgi"):
            assert "call it" in refusal_of(factory, interface=name)

    def test_factory_with_settings_is_not_taken_for_asgi_2(self) -> None:
        def create_app(settings: Any) -> Any: ...

        assert "if it makes the app, call it" in refusal_of(create_app)


class TestNoAppAtAll:
    def test_module(self) -> None:
        shop = types.ModuleType("shop")
        assert "the module shop; pass the app in it: shop.app" in refusal_of(shop)
        shop.application = object()  # type: ignore[attr-defined]  # of the module
        assert "pass the app in it: shop.application" in refusal_of(shop)

    @pytest.mark.parametrize("app", [None, "shop:app", 7, [], {}, object()])
    def test_what_cannot_be_called(self, app: Any) -> None:
        assert "can't be called; pass the app itself" in refusal_of(app)

    @pytest.mark.parametrize(
        ("router", "cure"),
        [
            (APIRouter(), "app.include_router(router)"),
            (Blueprint("b", __name__), "app.register_blueprint(blueprint)"),
            (quart.Blueprint("b", __name__), "app.register_blueprint(blueprint)"),
            (Router("/", route_handlers=[]), "Litestar(route_handlers=[router])"),
        ],
    )
    def test_router(self, router: Any, cure: str) -> None:
        assert f"is part of an app; include it ({cure}), wrap the app" in refusal_of(router)

    def test_routers_that_are_apps(self) -> None:
        for app in (Litestar(), starlette.routing.Router()):
            assert isinstance(OTTMiddleware(app, session=Members()), ASGIMiddleware)


def chained() -> tuple[Any, Any]:
    """What Django gives to a middleware, sync and async."""
    from django.core.handlers.exception import convert_exception_to_response

    def get_response(request: Any) -> Any: ...

    async def get_response_async(request: Any) -> Any: ...

    return convert_exception_to_response(get_response), convert_exception_to_response(
        get_response_async
    )


class TestDjangoMiddleware:
    @pytest.mark.parametrize("wrap", WRAP)
    @pytest.mark.parametrize("how", ["sync", "async", "sync made async", "async made sync"])
    def test_refused(self, wrap: Callable[..., Any], how: str) -> None:
        now, later = chained()
        get_response = {
            "sync": now,
            "async": later,
            "sync made async": sync_to_async(now),
            "async made sync": async_to_sync(later),
        }[how]
        told = refusal_of(get_response, wrap)
        assert "MIDDLEWARE" in told
        assert "wsgi.py or asgi.py: application = OTTMiddleware(application)" in told
