"""The settings that the Django sites have in common: those that `startproject` writes."""

from __future__ import annotations

from typing import Any

import django
from app_site import DATA, EMAIL, KEY, NAME, PASSWORD
from django.conf import settings
from django.core.management import call_command

APPS = [
    f"django.contrib.{app}"
    for app in ("admin", "auth", "contenttypes", "sessions", "messages", "staticfiles")
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
PROCESSORS = [
    "django.template.context_processors.request",
    "django.contrib.auth.context_processors.auth",
    "django.contrib.messages.context_processors.messages",
]


def set_up(
    urls: str,
    *,
    apps: tuple[str, ...] = (),
    middleware: tuple[str, ...] = (),
    processors: tuple[str, ...] = (),
    **more: Any,
) -> None:
    """Configure Django with the apps, middleware and settings of a site beside the usual ones."""
    settings.configure(
        **{
            "SECRET_KEY": KEY,
            "ALLOWED_HOSTS": ["127.0.0.1", "127.0.0.2"],
            "ROOT_URLCONF": urls,
            "INSTALLED_APPS": [*apps, *APPS],
            "MIDDLEWARE": [*MIDDLEWARE, *middleware],
            "TEMPLATES": [
                {
                    "BACKEND": "django.template.backends.django.DjangoTemplates",
                    "APP_DIRS": True,
                    "OPTIONS": {"context_processors": [*PROCESSORS, *processors]},
                }
            ],
            "DATABASES": {
                "default": {
                    "ENGINE": "django.db.backends.sqlite3",
                    "NAME": str(DATA / "site.db"),
                    # Hundreds of migrations, in a database that no power cut need spare.
                    "OPTIONS": {"init_command": "PRAGMA synchronous=OFF"},
                }
            },
            "DEFAULT_AUTO_FIELD": "django.db.models.BigAutoField",
            "STATIC_URL": "static/",
            "STATIC_ROOT": str(DATA / "static"),
            "MEDIA_ROOT": str(DATA / "media"),
            "USE_TZ": True,
            **more,
        }
    )
    django.setup()


def prepare() -> None:
    """Make the tables, and the user."""
    from django.contrib.auth import get_user_model

    call_command("migrate", verbosity=0)
    get_user_model().objects.create_superuser(NAME, EMAIL, PASSWORD)
