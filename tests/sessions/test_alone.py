"""Each adapter where its framework alone is installed, and `session="auto"` without a library."""

from __future__ import annotations

import pytest

from .alone import modules_of, run_alone

CALL = """
import asyncio
from ott_middleware import ConfigurationError, OTTMiddleware

def status_of(app, path="/one-time-token/generate"):
    seen = []
    if type(app).__mro__[1].__name__ == "WSGIMiddleware":
        from werkzeug.test import Client
        return Client(app).get(path).status_code
    async def receive():
        return {"type": "http.request"}
    async def send(message):
        seen.append(message)
    scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": [],
             "http_version": "1.1", "scheme": "http", "server": ("localhost", 80)}
    asyncio.run(app(scope, receive, send))
    return seen[0]["status"]

def refusal_of(app, **options):
    try:
        OTTMiddleware(app, **options)
    except ConfigurationError as error:
        return str(error)
    raise SystemExit("accepted")
"""

DJANGO = """
from django.conf import settings
settings.configure(
    SECRET_KEY="s" * 32, ALLOWED_HOSTS=["*"], ROOT_URLCONF="__main__",
    INSTALLED_APPS=[f"django.contrib.{name}" for name in ("auth", "contenttypes", "sessions")],
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
)
urlpatterns = []
"""

# What is installed beside the package, and an app with sessions of that framework.
APPS = {
    "flask": (("flask",), "from flask import Flask\napp = Flask('x')\napp.secret_key = 's' * 32"),
    "flask with Flask-Login": (
        ("flask", "flask-login"),
        (
            "from flask import Flask\nfrom flask_login import LoginManager\napp = Flask('x')\n"
            "app.secret_key = 's' * 32\nLoginManager(app)"
        ),
    ),
    "flask with Flask-Session": (
        ("flask", "flask-session", "cachelib"),
        (
            "from flask import Flask\nfrom flask_session.base import ServerSideSessionInterface\n"
            "app = Flask('x')\napp.secret_key = 's' * 32"
        ),
    ),
    "starlette": (
        ("starlette", "itsdangerous"),
        (
            "from starlette.applications import Starlette as App\n"
            "from starlette.middleware.sessions import SessionMiddleware\n"
            "app = App()\napp.add_middleware(SessionMiddleware, secret_key='s' * 32)"
        ),
    ),
    "fastapi": (
        ("fastapi", "itsdangerous"),
        (
            "from fastapi import FastAPI\n"
            "from starlette.middleware.sessions import SessionMiddleware\n"
            "app = FastAPI()\napp.add_middleware(SessionMiddleware, secret_key='s' * 32)"
        ),
    ),
    "django under WSGI": (
        ("django",),
        DJANGO + "from django.core.wsgi import get_wsgi_application\napp = get_wsgi_application()",
    ),
    "django under ASGI": (
        ("django",),
        DJANGO + "from django.core.asgi import get_asgi_application\napp = get_asgi_application()",
    ),
}
# An app that `auto` finds nothing in.
UNKNOWN = {
    "fastapi": (("fastapi",), "from fastapi import FastAPI\napp = FastAPI()"),
    "starlette": (
        ("starlette",),
        "from starlette.applications import Starlette\napp = Starlette()",
    ),
    "fastapi in starlette": (
        ("fastapi",),
        (
            "from fastapi import FastAPI\nfrom starlette.applications import Starlette\n"
            "from starlette.routing import Mount\napp = Starlette(routes=[Mount('/x', FastAPI())])"
        ),
    ),
    "starlette behind a middleware": (
        ("starlette",),
        (
            "from starlette.applications import Starlette\n"
            "from starlette.middleware.gzip import GZipMiddleware\n"
            "app = GZipMiddleware(Starlette())"
        ),
    ),
    "quart": (("quart",), "from quart import Quart\napp = Quart('x')"),
    "litestar": (("litestar",), "from litestar import Litestar\napp = Litestar()"),
    "falcon": (("falcon",), "import falcon\napp = falcon.App()"),
    "bottle": (("bottle",), "import bottle\napp = bottle.Bottle()"),
    "nothing": ((), "def app(environ, start_response): return []"),
    "flask without a secret": (("flask",), "from flask import Flask\napp = Flask('x')"),
}


@pytest.mark.parametrize(("installed", "program"), APPS.values(), ids=APPS)
class TestFrameworkAlone:
    def test_sessions_are_found(self, installed: tuple[str, ...], program: str) -> None:
        ask = "print(status_of(OTTMiddleware(app)), type(OTTMiddleware(app).flow.options.adapter))"
        assert run_alone(f"{CALL}\n{program}\n{ask}", *installed).startswith("401 <class")


@pytest.mark.parametrize(("installed", "program"), UNKNOWN.values(), ids=UNKNOWN)
class TestNoSessionsAlone:
    def test_error_lists_what_to_pass_and_that_works(
        self, installed: tuple[str, ...], program: str
    ) -> None:
        ask = (
            "print(refusal_of(app))\n"
            "from ott_middleware import CookieSession, SealedSession\n"
            "for session in ('sid', CookieSession('sid', probe='/x'), SealedSession('s' * 32)):\n"
            "    print(status_of(OTTMiddleware(app, session=session)))"
        )
        told, *statuses = run_alone(f"{CALL}\n{program}\n{ask}", *installed).splitlines()
        assert statuses == ["401"] * 3
        for word in ("session='sessionid'", "CookieSession(", "SealedSession(secret)"):
            assert word in told


class TestLibraryMissing:
    def test_itsdangerous_is_named_for_fastapi(self) -> None:
        told = run_alone(f"{CALL}\n{UNKNOWN['fastapi'][1]}\nprint(refusal_of(app))", "fastapi")
        assert "itsdangerous" in told

    def test_session_middleware_found_but_its_library_gone(self) -> None:
        program = (
            "import sys\n"
            f"{APPS['starlette'][1]}\n"
            "for name in [n for n in sys.modules if n.partition('.')[0] == 'itsdangerous']:\n"
            "    del sys.modules[name]\n"
            "sys.meta_path[0].names.add('itsdangerous')\n"
            "print(refusal_of(SessionMiddleware(app, 's')))"
        )
        assert "itsdangerous" in run_alone(f"{CALL}\n{program}", "starlette", "itsdangerous")

    def test_inner_framework_is_found_though_the_outer_adapter_cannot_be_imported(self) -> None:
        # FastAPI without itsdangerous, and Django mounted in it.
        program = (
            f"{APPS['django under ASGI'][1]}\nfrom fastapi import FastAPI\nouter = FastAPI()\n"
            "outer.mount('/shop', app)\nprint(status_of(OTTMiddleware(outer)))"
        )
        assert run_alone(f"{CALL}\n{program}", "fastapi", "django").strip() == "401"

    def test_import_of_the_adapter_says_what_to_install(self) -> None:
        for name, installed, line in (
            ("StarletteSession", "fastapi", "pip install starlette itsdangerous"),
            ("FlaskSession", "starlette", "pip install flask"),
            ("DjangoSession", "starlette", "pip install django"),
        ):
            program = (
                f"try:\n    from ott_middleware import {name}\nexcept ImportError as error:\n"
                "    print(error)"
            )
            assert line in run_alone(program, installed)


class TestModulesOf:
    def test_requirements_count_and_extras_do_not(self) -> None:
        assert {"flask", "itsdangerous", "jinja2", "werkzeug"} <= modules_of("flask")
        assert not {"itsdangerous", "flask", "django", "httpx"} & modules_of("fastapi")
