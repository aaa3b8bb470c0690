"""Django behind ASGI: its own sessions and users, carried to another host by a link.

    python examples/pair.py django_asgi     open http://localhost:8001

That command starts this file twice, as two sites that link to each other. By itself, `python
examples/django_asgi.py --port PORT` reads OTT_ORIGIN (its own address) and OTT_TARGET (the other
site's); both need the same OTT_BACKEND (a URL, as sqlite:///links.db), OTT_SECRET (64 hexadecimal
digits) and OTT_DATABASE (a file, with the users and the sessions).
"""

from __future__ import annotations

import argparse
import os
import secrets
import tempfile
from pathlib import Path
from typing import Any

import django
import uvicorn
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.management import call_command

from ott_middleware import OTTMiddleware, get_handle

SIGN_IN = (
    '<form method="post" action="/login"><input type="hidden" name="csrfmiddlewaretoken" '
    'value="{csrf}"><input name="name" required><button>Sign in</button></form>'
)
SIGNED_IN = (
    'Hello, {name}. <a href="/elsewhere">Go to the other host</a>'
    '<form method="post" action="/logout"><input type="hidden" name="csrfmiddlewaretoken" '
    'value="{csrf}"><button>Sign out</button></form>'
)

database = os.environ.get("OTT_DATABASE") or str(Path(tempfile.mkdtemp()) / "people.db")
settings.configure(
    SECRET_KEY=os.environ.get("OTT_SECRET") or secrets.token_hex(32),
    ALLOWED_HOSTS=["localhost", "127.0.0.1"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": database}},
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
)
django.setup()
call_command("migrate", verbosity=0)

from django.contrib.auth import alogin, alogout
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import get_token
from django.urls import path
from django.utils.html import format_html
from django.views.decorators.http import require_POST

target = ""


def see(location: str) -> HttpResponse:
    """On to another page."""
    return HttpResponse(status=303, headers={"Location": location})


async def home(request: HttpRequest) -> HttpResponse:
    """Greet whoever is signed in."""
    user: Any = await request.auser()
    page = SIGNED_IN if user.is_authenticated else SIGN_IN
    return HttpResponse(format_html(page, name=user.get_username(), csrf=get_token(request)))


async def sign_in(request: HttpRequest) -> HttpResponse:
    """Sign somebody in; a real app would ask for more than a name."""
    user, _ = await User.objects.aget_or_create(username=request.POST["name"].strip())
    await alogin(request, user)
    return see("/")


async def sign_out(request: HttpRequest) -> HttpResponse:
    """Sign out; links that were made before are dead from now on."""
    await alogout(request)
    return see("/")


async def elsewhere(request: Any) -> HttpResponse:
    """Make the link at the click, not before: it is a password for as long as it lives."""
    ott = get_handle(request)
    return see(await ott.alink(target + "/") if await ott.asession() else "/")


urlpatterns = [
    path("", home),
    path("login", require_POST(sign_in)),
    path("logout", require_POST(sign_out)),
    path("elsewhere", elsewhere),
]


def wrapped(port: int) -> Any:
    """The app, whose sessions a link can carry."""
    global target
    target = os.environ.get("OTT_TARGET", "http://127.0.0.1:8001")
    return OTTMiddleware(
        get_asgi_application(),
        session="auto",
        secret=settings.SECRET_KEY,
        backend=os.environ.get("OTT_BACKEND", "memory://"),
        store_token="hashed",
        public_origin=os.environ.get("OTT_ORIGIN", f"http://localhost:{port}"),
        handoff_targets=[target],
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8000)
    port = parser.parse_args().port
    uvicorn.run(wrapped(port), host="127.0.0.1", port=port, log_level="warning")
