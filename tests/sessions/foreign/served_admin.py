"""Django's admin as `startproject` leaves it, wrapped in one line.

As a program: `python served_admin.py PASSWORD NAME...` makes the tables, and superusers.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import django
from django.conf import settings
from django.contrib import admin
from django.core.asgi import get_asgi_application
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.urls import path

from ott_middleware import DjangoSession, OTTMiddleware

APPS = ["admin", "auth", "contenttypes", "sessions", "messages"]
settings.configure(
    SECRET_KEY=os.environ["DJANGO_SECRET"],
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=[f"django.contrib.{app}" for app in APPS],
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    ],
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                ]
            },
        }
    ],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["DATABASE"]}},
    # Tables at once instead of migration by migration.
    MIGRATION_MODULES=dict.fromkeys(APPS),
    # The default takes a tenth of a second and more, for every sign-in.
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    STATIC_URL="static/",
    USE_TZ=True,
)
django.setup()

urlpatterns = [path("admin/", admin.site.urls)]


def options() -> dict[str, Any]:
    """The backend, and what is told or matched where people go to another database."""
    given: dict[str, Any] = {"backend": os.environ["OTT_BACKEND"]}
    if session := os.environ.get("SESSION"):
        given["session"] = DjangoSession(**json.loads(session))
    return given


if __name__ == "__main__":
    from django.contrib.auth.models import User

    call_command("migrate", run_syncdb=True, verbosity=0)
    for name in sys.argv[2:]:
        User.objects.create_superuser(name, f"{name}@example.com", sys.argv[1])
else:
    wsgi = OTTMiddleware(get_wsgi_application(), **options())
    asgi = OTTMiddleware(get_asgi_application(), **options())
