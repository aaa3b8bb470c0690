"""Mistakes in the values of options, in hooks, and in the paths that are asked for."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import sqlalchemy
from flask import Flask
from harness import World
from mistake import Mistake, read_error, read_log
from redis import Redis
from redis.exceptions import ResponseError

from ott_middleware import (
    CookieSession,
    MemoryBackend,
    OneTimeTokens,
    OTTMiddleware,
    SealedSession,
    Session,
)
from ott_middleware.backends import Backend, SQLiteBackend
from ott_middleware.backends.redis.wire import failure
from ott_middleware.paste import filter_app_factory

SECRET = "a secret of the app, which is long"
ENVIRON = {
    "REQUEST_METHOD": "GET",
    "PATH_INFO": "/one-time-token/generate",
    "QUERY_STRING": "",
    "wsgi.url_scheme": "http",
    "HTTP_HOST": "app.example",
    "HTTP_COOKIE": "sid=abc",
}


def app(environ: Any, start_response: Any) -> list[bytes]:
    statuses = {"/gone": "404 Not Found", "/sign-in": "302 Found"}
    start_response(statuses.get(environ["PATH_INFO"], "200 OK"), [])
    return []


class Application:
    """aiohttp's app, by its name."""

    __module__, __qualname__ = "aiohttp.web_app", "Application"

    def __call__(self) -> Application:
        return self


class Audit:
    """Takes events."""

    def __init__(self, event: object) -> None: ...


def wrap(wrapped: Any = app, **options: Any) -> Callable[[], str]:
    """Return what reads the error of wrapping."""
    return lambda: read_error(lambda: OTTMiddleware(wrapped, **{"session": "sid", **options}))


def read_start(make: Callable[[], object]) -> str:
    with read_log() as lines:
        make()
    return "\n".join(lines)


def wrap_twice() -> str:
    shop = Flask("shop")
    shop.secret_key = SECRET
    with read_log() as lines:
        for _ in range(2):
            shop.wsgi_app = OTTMiddleware(shop.wsgi_app)  # type: ignore[method-assign]  # as documented
    return "\n".join(lines)


def ask_for_token(level: int = logging.WARNING, **arguments: Any) -> str:
    """Ask for a token with a session cookie; return the log's lines."""
    session = CookieSession("sid", renews_key=True, **arguments)
    wrapped = OTTMiddleware(app, session=session)
    with read_log(level) as lines:
        list(wrapped(ENVIRON, lambda status, headers, exc=None: lambda data: None))
    return "\n".join(lines)


def open_used_link(on_invalid: Any) -> str:
    site = World("wsgi").serve(on_invalid=on_invalid)
    with read_log() as lines:
        site.open("/?ott=" + "x" * 32)
    return "\n".join(lines)


def follow_link(**attributes: Any) -> str:
    """Open a link with a browser under plain http; return the log's lines."""
    session = CookieSession("sid", validate=lambda values: {}, renews_key=True, **attributes)
    site = World("wsgi").serve(session=session)
    token = site.generate({"cookie": "sid=abc"}).json()["token"]
    with read_log() as lines:
        site.load(f"/?ott={token}", {"accept": "text/html"})
    return "\n".join(lines)


def generate_for_mapping() -> None:
    tokens = OneTimeTokens(MemoryBackend(), sessions=SealedSession(SECRET))
    tokens.generate({"id": "1"})  # type: ignore[arg-type]  # the mistake


def reach_database() -> None:
    from ott_middleware.backends import SQLAlchemyBackend

    backend = SQLAlchemyBackend("postgresql+psycopg://user:password@127.0.0.1:1/shop")
    backend.take("key")


def make_session(**values: Any) -> Callable[[], str]:
    return lambda: read_error(lambda: Session("1", "cookie", **values), ValueError)


class Tells(SealedSession):
    def current(self, request: Any) -> Any:
        return {"id": "1"}


class Texts(Backend):
    """Gives a text back."""

    def put(self, key: str, value: bytes, **more: Any) -> None: ...

    def take(self, key: str) -> Any:
        return "text"


def ask_adapter_of_mapping() -> str:
    site = World("wsgi").serve(session=Tells(SECRET))
    with read_log() as lines:
        site.generate()
    return "\n".join(lines)


def redis_says(text: str) -> Callable[[], str]:
    return lambda: str(failure(ResponseError(text), "redis.example:6379"))


MISTAKES = (
    Mistake(
        "an adapter's `current` returns a mapping",
        ask_adapter_of_mapping,
        "Tells.current returned a dict: return a Session, or None",
    ),
    Mistake(
        "`Session(user=...)` with a name",
        make_session(user="ada"),
        "user must be a mapping, not a str",
    ),
    Mistake(
        "`Session(data=...)` with a list",
        make_session(data=["a"]),
        "data must be a mapping, not a list",
    ),
    Mistake(
        "a backend of the app's own returns text (`check()`)",
        lambda: OTTMiddleware(app, session="sid", backend=Texts(), secret=SECRET).check().problem,
        "does not give back what was put into it",
    ),
    Mistake(
        "the URL of Redis lacks the password",
        redis_says("Authentication required."),
        "put them into the URL, as redis://user:password@host",
    ),
    Mistake(
        "the URL of Redis has the number of no database",
        redis_says("DB index is out of range"),
        "use 0",
    ),
    Mistake(
        "`on_event = shop:audit` in an .ini file",
        lambda: read_error(lambda: filter_app_factory(app, {}, on_event="shop:audit")),
        "write 'python:package.module:name'",
    ),
    Mistake(
        "an app of aiohttp or Tornado, which have servers of their own",
        wrap(Application()),
        "is neither an ASGI nor a WSGI app",
    ),
    Mistake(
        "an app is wrapped twice",
        wrap_twice,
        "the app is wrapped twice",
    ),
    Mistake(
        "`session=SealedSession`, the class",
        wrap(session=SealedSession),
        "pass an object: SealedSession(...)",
    ),
    Mistake(
        "`tokens=OneTimeTokens`, the class",
        wrap(tokens=OneTimeTokens),
        "pass an object: OneTimeTokens(...)",
    ),
    Mistake(
        "`on_event=` with a class",
        wrap(on_event=Audit),
        "pass a function of the event",
    ),
    Mistake(
        "`backend=redis.Redis()`, a client",
        wrap(backend=Redis()),
        "pass RedisBackend(client)",
    ),
    Mistake(
        "`backend=create_engine(...)`, an engine",
        wrap(backend=sqlalchemy.create_engine("sqlite://")),
        "pass SQLAlchemyBackend(engine)",
    ),
    Mistake(
        "`SQLiteBackend` with a URL",
        lambda: read_error(lambda: SQLiteBackend("sqlite:///tokens.db")),
        "use the path of a file",
    ),
    Mistake(
        "`SQLiteBackend` with a directory",
        lambda: read_error(lambda: SQLiteBackend("/").take("key")),
        "pass the path of a file, not of a directory",
    ),
    Mistake(
        "PostgreSQL does not run, or refuses the password",
        lambda: read_error(reach_database),
        "at 127.0.0.1:1/shop: is it running, reachable from this host",
    ),
    Mistake(
        "`probe=` with the path of no page",
        lambda: ask_for_token(probe="/gone"),
        "/gone responded with 404",
    ),
    Mistake(
        "`probe=` with a page that redirects to the sign-in page (log at DEBUG)",
        lambda: ask_for_token(logging.DEBUG, probe="/sign-in"),
        "/sign-in responded with 302",
    ),
    Mistake(
        "`validate` takes no argument",
        lambda: ask_for_token(validate=lambda: None),
        "it does not take the arguments that it is called with",
    ),
    Mistake(
        "`validate` returns the user itself",
        lambda: ask_for_token(validate=lambda values: {"name": "Ada", "email": "a@b.example"}),
        "return {'user_id': ..., 'user': {...}}",
    ),
    Mistake(
        "the session cookie has the `Domain` of another site",
        lambda: follow_link(domain="other.example"),
        "leave domain= out",
    ),
    Mistake(
        "the session cookie is `Secure`, and the site is served by plain http",
        lambda: follow_link(secure=True),
        "serve the site by https",
    ),
    Mistake(
        "`on_invalid` returns text",
        lambda: open_used_link(lambda request, error: "gone"),
        "on_invalid= returned a str: return a Response",
    ),
    Mistake(
        "`generate()` with a mapping in place of a session",
        lambda: read_error(generate_for_mapping, TypeError),
        "pass a Session",
    ),
)
