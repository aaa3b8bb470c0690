"""Opens links of a Django project under ASGI, and counts the connections that stay open.

    python django_links.py sqlite:///PATH | postgresql://… | mysql://… LINKS

Run in a process of its own, since settings are made once. Prints a JSON object.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import django
from django.conf import settings

URL, LINKS = urlsplit(sys.argv[1]), int(sys.argv[2])
NAME = f"ott_links_{os.getpid()}"
AT_ONCE, SLOW = 8, 0.25


def database() -> dict[str, Any]:
    if URL.scheme == "sqlite":
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": URL.path}
    options = {"options": f"-c search_path={NAME} -c application_name={NAME}"}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": URL.path.strip("/"),
        "HOST": URL.hostname,
        "PORT": URL.port,
        "USER": URL.username,
        "PASSWORD": URL.password,
        "OPTIONS": options,
        # Connections that are to be kept would leak first.
        "CONN_MAX_AGE": None,
    }


settings.configure(
    SECRET_KEY="the project's own secret key",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF="django_links",
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
    ],
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
    DATABASES={"default": database()},
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    MIGRATION_MODULES=dict.fromkeys(["auth", "contenttypes", "sessions"]),
    USE_TZ=True,
)
django.setup()
urlpatterns: list[Any] = []

from django.contrib.auth import login
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.core.asgi import get_asgi_application
from django.core.management import call_command
from django.db import connection
from django.http import HttpRequest
from harness import HOST, NAVIGATION, call_asgi, make_scope

from ott_middleware import DjangoSession, OTTMiddleware


def sign_in() -> str:
    request = HttpRequest()
    request.session = SessionStore()
    login(request, User.objects.create_user("ada"))
    request.session.save()
    key: str = request.session.session_key
    return key


def count() -> int:
    """The connections that this process holds open."""
    if URL.scheme == "sqlite":
        files = (Path("/proc/self/fd") / name for name in os.listdir("/proc/self/fd"))
        return sum(os.path.realpath(each) == os.path.realpath(URL.path) for each in files)
    with connection.cursor() as cursor:
        cursor.execute("select count(*) from pg_stat_activity where application_name = %s", [NAME])
        found: int = cursor.fetchone()[0]
    connection.close()
    return found - 1


async def measure(app: Any, cookie: str) -> dict[str, Any]:
    async def generate() -> str:
        scope = make_scope("GET", "/one-time-token/generate", {"cookie": f"sessionid={cookie}"})
        answer = await call_asgi(app, scope)
        assert answer.status == 200, answer.body
        token: str = json.loads(answer.body)["token"]
        return token

    async def follow(number: int) -> int:
        token = await generate()
        answer = await call_asgi(app, make_scope("GET", f"/?ott={token}", NAVIGATION))
        status: int = answer.status
        return status

    statuses: set[int] = set()
    for start in range(0, LINKS, AT_ONCE):
        statuses.update(await asyncio.gather(*map(follow, range(start, start + AT_ONCE))))
    # The server may need a moment to forget a connection that was closed.
    for _ in range(50):
        left = await asyncio.to_thread(count)
        if not left:
            break
        await asyncio.sleep(0.1)

    load = SessionStore.load

    def slow(self: Any) -> Any:
        time.sleep(SLOW)
        return load(self)

    SessionStore.load = slow
    # The best of some rounds: one after the other the eight take two seconds in each of them, and a
    # busy machine is slow now and then.
    seconds = 9.0
    for _ in range(5):
        began = time.monotonic()
        await asyncio.gather(*(generate() for _ in range(AT_ONCE)))
        seconds = min(seconds, time.monotonic() - began)
        if seconds < 0.6:
            break
    return {"statuses": sorted(statuses), "left": left, "seconds": seconds}


def main() -> None:
    if URL.scheme != "sqlite":
        with connection.cursor() as cursor:
            cursor.execute(f"create schema {NAME}")
    try:
        call_command("migrate", run_syncdb=True, verbosity=0)
        cookie = sign_in()
        connection.close()
        app = OTTMiddleware(
            get_asgi_application(),
            session=DjangoSession(),
            public_origin=f"http://{HOST}",
        )
        print(json.dumps(asyncio.run(measure(app, cookie))))
    finally:
        if URL.scheme != "sqlite":
            with connection.cursor() as cursor:
                cursor.execute(f"drop schema {NAME} cascade")
            connection.close()


if __name__ == "__main__":
    main()
