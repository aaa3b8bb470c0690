"""A Django project in one file, behind WSGI: sign in here, and a link signs you in over there.

    python examples/django_wsgi.py --port 8001

`OTT_BACKEND` is where tokens wait, as `sqlite:////tmp/tokens.db`; `OTT_TARGET` the origin that the
link points to, as `http://127.0.0.1:8002`. The users are alice and bob; anybody's password is
`secret`.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

import django
from django.conf import settings
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.template import engines
from django.urls import path

from ott_middleware import OTTMiddleware

TARGET = os.environ.get("OTT_TARGET", "")
DATABASE = Path(tempfile.mkdtemp()) / "project.db"

settings.configure(
    SECRET_KEY=os.environ.get("DJANGO_SECRET_KEY", "a secret of this example alone"),
    ALLOWED_HOSTS=["localhost", "127.0.0.1"],
    ROOT_URLCONF=__name__,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": DATABASE}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
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
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
    LOGIN_REDIRECT_URL="/",
    LOGOUT_REDIRECT_URL="/",
)
django.setup()

from django.contrib.auth.models import User  # noqa: E402 - models need the settings
from django.contrib.auth.views import LoginView, LogoutView  # noqa: E402

PAGE = """<!doctype html><title>Django</title>
{% if user.is_authenticated %}
<p>Hello, <b id="user">{{ user.username }}</b>.</p>
{% if link %}<p><a id="link" href="{{ link }}">Go on over there</a></p>{% endif %}
<form method="post" action="/logout">{% csrf_token %}<button>Sign out</button></form>
{% else %}<p><a href="/login">Sign in</a></p>{% endif %}"""

FORM = """<!doctype html><title>Sign in</title>
<form method="post">{% csrf_token %}{{ form.as_p }}<button>Sign in</button></form>"""


class SignIn(LoginView):
    """Django's own, with a template from above."""

    def render_to_response(self, context: dict[str, Any], **_: Any) -> HttpResponse:
        page = engines["django"].from_string(FORM)
        return HttpResponse(page.render({"form": context["form"]}, self.request))


def home(request: Any) -> HttpResponse:
    """Who is signed in, and the link that takes them to the other site."""
    link = ""
    if TARGET and request.user.is_authenticated:
        link = request.environ["ott"].link(f"{TARGET}/")
    page = engines["django"].from_string(PAGE)
    return HttpResponse(page.render({"user": request.user, "link": link}, request))


urlpatterns = [
    path("", home),
    path("login", SignIn.as_view()),
    path("logout", LogoutView.as_view()),
]

call_command("migrate", verbosity=0)
for name in ("alice", "bob"):
    User.objects.create_user(name, f"{name}@example.com", "secret")

application = OTTMiddleware(
    get_wsgi_application(),
    session="auto",
    backend=os.environ.get("OTT_BACKEND", "memory://"),
    store_token="hashed",
    handoff_targets=[TARGET] if TARGET else [],
)

if __name__ == "__main__":
    import waitress

    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--port", type=int, default=8001)
    waitress.serve(application, host="127.0.0.1", port=arguments.parse_args().port)
