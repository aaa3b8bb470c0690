"""Pyramid: `SessionAuthenticationHelper` over its signed cookie, new with each response."""

from html import escape
from typing import Any

from app_site import KEY, NAME, PASSWORD, options
from pyramid.authentication import SessionAuthenticationHelper
from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPForbidden, HTTPFound
from pyramid.response import Response
from pyramid.security import forget, remember
from pyramid.session import SignedCookieSessionFactory

from ott_middleware import CookieSession, OTTMiddleware

FORM = "<form method=post><input name=login><input name=password type=password></form>"


class Policy:
    helper = SessionAuthenticationHelper()

    def identity(self, request: Any) -> Any:
        return self.helper.authenticated_userid(request)

    authenticated_userid = identity

    def permits(self, request: Any, context: Any, permission: str) -> bool:
        return self.identity(request) is not None

    def remember(self, request: Any, userid: str, **more: Any) -> Any:
        return self.helper.remember(request, userid, **more)

    def forget(self, request: Any, **more: Any) -> Any:
        return self.helper.forget(request, **more)


def login(request: Any) -> Response:
    if (request.params.get("login"), request.params.get("password")) == (NAME, PASSWORD):
        return HTTPFound("/me", headers=remember(request, NAME))
    return Response(FORM)


def logout(request: Any) -> Response:
    request.session.invalidate()
    return HTTPFound("/login", headers=forget(request))


def me(request: Any) -> Response:
    if request.authenticated_userid is None:
        return HTTPForbidden()
    return Response(f"Signed in as {escape(request.authenticated_userid)}")


with Configurator(session_factory=SignedCookieSessionFactory(KEY)) as config:
    config.set_security_policy(Policy())
    for view in (login, logout, me):
        config.add_route(view.__name__, f"/{view.__name__}")
        config.add_view(view, route_name=view.__name__)
    app = config.make_wsgi_app()

application = OTTMiddleware(
    app, session=CookieSession("session", probe="/me", renews_key=True), **options()
)
