"""A Django project in this process: settings, tables, people, a login form and a page."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path
from typing import Any

import django
from django.conf import settings

# Made once for a process, as settings are.
_directory = Path(tempfile.mkdtemp(prefix="ott-project-"))
atexit.register(shutil.rmtree, _directory, ignore_errors=True)

SETTINGS: dict[str, Any] = {
    "SECRET_KEY": "the matrix project's own secret key",
    "ALLOWED_HOSTS": ["*"],
    "ROOT_URLCONF": "django_project_urls",
    "INSTALLED_APPS": [
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "django.contrib.messages",
    ],
    "MIDDLEWARE": [
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    "DATABASES": {
        "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(_directory / "project.db")}
    },
    "DEFAULT_AUTO_FIELD": "django.db.models.AutoField",
    "MIGRATION_MODULES": dict.fromkeys(["auth", "contenttypes", "sessions"]),
    "PASSWORD_HASHERS": ["django.contrib.auth.hashers.MD5PasswordHasher"],
    "USE_TZ": True,
}


def configure() -> None:
    """Once; whoever comes later finds it done."""
    if settings.configured:
        return
    settings.configure(**SETTINGS)
    django.setup()
    from django.db.backends.signals import connection_created

    connection_created.connect(do_not_sync)
    from django.core.management import call_command

    call_command("migrate", run_syncdb=True, verbosity=0)


def do_not_sync(connection: Any, **_: Any) -> None:
    """Spare the disk: the project's file ends with the process."""
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA synchronous = OFF")
