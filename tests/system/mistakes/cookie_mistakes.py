"""Mistakes about the cookies of an app, and about users that are kept in another place."""

from __future__ import annotations

from typing import Any

from mistake import Mistake, read_error, read_log

from ott_middleware import CookieSession, OTTMiddleware, SealedSession

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


def call(middleware: Any, cookie: str = "", path: str = "/") -> None:
    environ = {**ENVIRON, "PATH_INFO": path, **({"HTTP_COOKIE": cookie} if cookie else {})}
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


MISTAKES = (
    Mistake(
        "the app's session cookie has a `Path`, `Domain` or `SameSite` of its own",
        read_of_attributes,
        "pass path='/app', samesite='Strict'",
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
