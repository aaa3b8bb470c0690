"""Mistakes about the cookies of an app, and about users that are kept in another place."""

from __future__ import annotations

from typing import Any

import flask
from flask.sessions import SecureCookieSessionInterface
from mistake import Mistake, read_error, read_log

from ott_middleware import CookieSession, FlaskSession, OTTMiddleware, SealedSession, Session

ENVIRON: dict[str, Any] = {
    "REQUEST_METHOD": "GET",
    "PATH_INFO": "/",
    "QUERY_STRING": "",
    "wsgi.url_scheme": "http",
    "HTTP_HOST": "app.example",
}


def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Set-Cookie", f"sid={id(environ)}; Path=/; SameSite=Lax")])
    return [b"x" * (70_000 if environ["PATH_INFO"] == "/prefs" else 1)]


def call(middleware: Any, cookie: str = "", path: str = "/", **headers: str) -> None:
    environ = {**ENVIRON, "PATH_INFO": path, **headers}
    if cookie:
        environ["HTTP_COOKIE"] = cookie
    middleware(environ, lambda status, headers, exc=None: None)


def sets_below_a_path(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Set-Cookie", "sid=x; Path=/app; SameSite=Strict")])
    return [b""]


def read_of_attributes() -> str:
    session = CookieSession("sid", validate=dict, renews_key=True)
    middleware = OTTMiddleware(sets_below_a_path, session=session)
    with read_log() as lines:
        call(middleware)
    return "\n".join(lines)


def read_of_path() -> str:
    session = CookieSession("sid", path="/app", validate=dict, renews_key=True)
    middleware = OTTMiddleware(app, session=session)
    with read_log() as lines:
        call(middleware, path="/one-time-token/generate")
    return "\n".join(lines)


def read_of_missing_user(cookie: str = "", **headers: str) -> str:
    site = flask.Flask(__name__)
    site.secret_key = "x" * 32
    middleware = OTTMiddleware(site, session=FlaskSession(site))
    if not (cookie or headers):
        serializer = SecureCookieSessionInterface().get_signing_serializer(site)
        assert serializer is not None
        cookie = f"session={serializer.dumps({'member': 'ada'})}"
    with read_log() as lines:
        call(middleware, cookie, "/one-time-token/generate", **headers)
    return "\n".join(lines)


def read_of_ids() -> str:
    session = CookieSession("sid", validate=lambda values: {}, renews_key=True)
    middleware = OTTMiddleware(app, session=session, revoke_on_sign_out=True)
    with read_log() as lines:
        call(middleware, "sid=x")
    return "\n".join(lines)


def read_of_long_page() -> str:
    session = CookieSession("sid", probe=("/prefs", "Sign out"), renews_key=True)
    middleware = OTTMiddleware(app, session=session)
    with read_log() as lines:
        call(middleware, "sid=x", "/one-time-token/generate")
    return "\n".join(lines)


def read_of_third_party() -> str:
    session = CookieSession("sid", validate=lambda values: {"user_id": "ada"}, renews_key=True)
    origins = ["https://front.example"]
    middleware = OTTMiddleware(app, session=session, trusted_origins=origins)
    token = middleware.flow.tokens.generate(Session(id="s", token="x"))
    asked = {
        "HTTP_ORIGIN": origins[0],
        "HTTP_SEC_FETCH_SITE": "cross-site",
        "HTTP_SEC_FETCH_MODE": "cors",
        "QUERY_STRING": f"ott={token}",
    }
    with read_log() as lines:
        call(middleware, **asked)
    return "\n".join(lines)


MISTAKES = (
    Mistake(
        "a front end on another site redeems a token, and the cookie is `SameSite=Lax`",
        read_of_third_party,
        "samesite='None', secure=True, partitioned=True",
    ),
    Mistake(
        "the app keeps its users under another key of the session (SQLAdmin, MoinMoin)",
        read_of_missing_user,
        "user='that key' or user=a function of the session's values",
    ),
    Mistake(
        "the app keeps its users in a cookie of its own (flask-jwt-extended, dj-rest-auth)",
        lambda: read_of_missing_user("access_token_cookie=x"),
        "session=CookieSession('its name', probe='/a/path') or validate=",
    ),
    Mistake(
        "the app knows its users by a header of the request (Basic)",
        lambda: read_of_missing_user(HTTP_AUTHORIZATION="Basic eDp4"),
        "use SealedSession(secret, remote_user=...)",
    ),
    Mistake(
        "the app's session cookie has a `Path`, `Domain` or `SameSite` of its own",
        read_of_attributes,
        "pass path='/app', samesite='Strict'",
    ),
    Mistake(
        "the session cookie has `Path=/app`, and `base_path` is not there",
        read_of_path,
        "pass base_path='/app'",
    ),
    Mistake(
        "`revoke_on_sign_out` with a session that only its cookie proves",
        lambda: read_error(
            lambda: OTTMiddleware(app, session=CookieSession("sid"), revoke_on_sign_out=True)
        ),
        "give CookieSession a probe= or validate= that tells the user's id",
    ),
    Mistake(
        "`revoke_on_sign_out` with a cookie that is signed anew each time, of a user without an id",
        read_of_ids,
        "let validate= return 'user_id' or 'id'",
    ),
    Mistake(
        "a `probe` with a text that stands too far down on a long page",
        read_of_long_page,
        "use a shorter page or an earlier text",
    ),
    Mistake(
        "a `probe` with a query",
        lambda: read_error(lambda: CookieSession("sid", probe="/me?full=1")),
        "pass a path like '/me', without a query",
    ),
    Mistake(
        "a URL as `sign_out_path`",
        lambda: read_error(
            lambda: SealedSession("x" * 32, sign_out_path="https://app.example/logout")
        ),
        "pass a path of the app like '/logout'",
    ),
)
