"""Mistakes in the URL of a store, and what `doctor` finds."""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path

from mistake import Mistake, read_error

from ott_middleware.backends.registry import backend_of
from ott_middleware.doctor import main


def refused(url: str) -> Callable[[], str]:
    return lambda: read_error(lambda: backend_of(url))


def examine(source: str, target: str = "{}:app", *more: str) -> Callable[[], str]:
    """Return what `doctor` prints for a module."""

    def read() -> str:
        printed = io.StringIO()
        name = f"mistaken_{uuid.uuid4().hex[:8]}"
        path = list(sys.path)
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, f"{name}.py").write_text(source)
            sys.path.insert(0, folder)
            try:
                with contextlib.redirect_stdout(printed):
                    main(["doctor", target.format(name), *more])
            finally:
                sys.path[:] = path
        return printed.getvalue()

    return read


WRAPPED = """
from ott_middleware import *
def app(environ, start_response):
    start_response("200 OK", [])
    return []
def wrap(**options):
    return OTTMiddleware(
        app, interface="wsgi", session=CookieSession("sid", renews_key=True), **options
    )
"""


MISTAKES = (
    Mistake('`backend="postgre://…"`', refused("postgre://u@h/d"), "did you mean postgresql://?"),
    Mistake(
        '`backend="sqllite:///tokens.db"`',
        refused("sqllite:///tokens.db"),
        "did you mean sqlite://?",
    ),
    Mistake('`backend="redis:/host"`', refused("redis:/host"), "did you mean redis://?"),
    Mistake(
        '`backend="redis:///run/redis.sock"`',
        refused("redis:///run/redis.sock"),
        "a socket is unix:///path/to/redis.sock",
    ),
    Mistake(
        '`backend="redis+sentinel://…"`',
        refused("redis+sentinel://h"),
        "for Sentinel pass Sentinel(...).master_for(...)",
    ),
    Mistake(
        "the URL of Neon, with `channel_binding=`, and asyncpg",
        refused("postgres+asyncpg://u@h/d?channel_binding=require"),
        "use postgresql+psycopg_async://",
    ),
    Mistake(
        "`prepared_statements=on` in the URL of PostgreSQL",
        refused("postgresql+psycopg://u@h/d?prepared_statements=on"),
        "use true or false",
    ),
    Mistake(
        "`doctor` of an app that is not wrapped",
        examine(WRAPPED),
        "is not wrapped: app = OTTMiddleware(app, ...)",
    ),
    Mistake(
        "`doctor` of a factory that is not called",
        examine(WRAPPED + "def create_app(): ...", "{}:create_app"),
        ":create_app()'",
    ),
    Mistake(
        "`doctor` outside the project's folder", examine("", "shop_of_a_folder.wsgi:app"), "folder"
    ),
    Mistake(
        "`doctor`: nothing listens at the store's port",
        examine(WRAPPED + "app = wrap(backend='redis://127.0.0.1:1', secret='x' * 32)"),
        "is the address right, does the server run",
    ),
    Mistake(
        "`doctor`: a site without TLS",
        examine(WRAPPED + "app = wrap(public_origin='http://a.example')"),
        "serve the site by https, and write https://",
    ),
    Mistake(
        "`doctor`: the peer is not in `handoff_targets`",
        examine(WRAPPED + "app = wrap()", "{}:app", "--peer", "http://127.0.0.1:1"),
        "handoff_targets=['http://127.0.0.1:1']",
    ),
    Mistake(
        "`doctor`: nothing listens at the peer's port",
        examine(WRAPPED + "app = wrap()", "{}:app", "--peer", "http://127.0.0.1:1"),
        "is the port right, does the server run?",
    ),
)
