"""Django's sessions keep the contract of adapters, with an engine of either kind."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Any

import django_project
import pytest

django_project.configure()

from django.conf import settings
from django.contrib.auth import login
from django.contrib.auth.models import User
from django.http import HttpRequest
from django.test import override_settings

from ott_middleware import DjangoSession, SessionAdapter
from ott_middleware.testing import SessionAdapterContract

FILES = tempfile.mkdtemp(prefix="ott-sessions-")


class TestDjangoSession(SessionAdapterContract):
    user_id = "1"
    engine = "file"
    mode = "share"
    follows_clock = False

    @pytest.fixture(autouse=True)
    def _project(self) -> Iterator[None]:
        User.objects.all().delete()
        User.objects.create(id=1, username="ada", password="!")
        name = f"django.contrib.sessions.backends.{self.engine}"
        with override_settings(SESSION_ENGINE=name, SESSION_FILE_PATH=FILES):
            yield

    def make_adapter(self, clock: Callable[[], float]) -> SessionAdapter:
        return DjangoSession(mode=self.mode)

    def sign_in(self, adapter: Any) -> Mapping[str, str]:
        request = HttpRequest()
        request.session = self.store()
        login(request, User.objects.get(), "django.contrib.auth.backends.ModelBackend")
        request.session.save()
        return {settings.SESSION_COOKIE_NAME: request.session.session_key}

    def anonymous(self, adapter: Any) -> Mapping[str, str]:
        session = self.store()
        session["theme"] = "dark"
        session.save()
        return {settings.SESSION_COOKIE_NAME: session.session_key}

    def sign_out(self, adapter: Any, cookies: Mapping[str, str]) -> None:
        self.store(cookies[settings.SESSION_COOKIE_NAME]).flush()

    def store(self, key: str | None = None) -> Any:
        return import_module(settings.SESSION_ENGINE).SessionStore(key)


class TestForkedDjangoSession(TestDjangoSession):
    mode = "fork"


class TestDatabaseSession(TestDjangoSession):
    engine = "db"


class TestSignedCookieSession(TestDjangoSession):
    engine = "signed_cookies"

    def sign_out(self, adapter: Any, cookies: Mapping[str, str]) -> None:
        # The cookie is all there is of it, but for the user.
        User.objects.update(is_active=False)
