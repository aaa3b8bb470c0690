"""No Django session outlives the one that it comes from, nor this site's lifetime; nor for the app.

Each engine is asked through the project itself, with the clock moved: what the app's own view says,
what the adapter finds, after later responses, after `clear()` with new values, after `set_expiry`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from importlib import import_module
from typing import Any

import django_project
import pytest

django_project.configure()

from django.conf import settings
from django.contrib.auth import SESSION_KEY, login
from django.contrib.auth.models import User
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.backends.cache import SessionStore as CacheStore
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.contrib.sessions.models import Session as Stored
from django.core.cache import caches
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.redis import RedisCache
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.test import override_settings
from django.urls import path

from ott_middleware import ConfigurationError, DjangoSession, OTTMiddleware, Session
from ott_middleware.errors import SessionExpired
from ott_middleware.http import Request
from ott_middleware.sessions.django import ends as django_ends
from ott_middleware.sessions.django import store as django_store

MODEL_BACKEND = "django.contrib.auth.backends.ModelBackend"
ENGINES = ("db", "cache", "cached_db", "file", "signed_cookies")
HOUR = 3600


class Time:
    """The clocks of Django, of caches and of signatures, moved together."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = float(int(time.time()))
        monkeypatch.setattr(time, "time", lambda: self.now)
        monkeypatch.setattr("django.utils.timezone.now", self.moment)
        move = shutil.move

        def dated(source: str, target: str) -> None:  # the file engine reads when it was changed
            move(source, target)
            os.utime(target, (self.now, self.now))

        monkeypatch.setattr(shutil, "move", dated)

    def moment(self) -> datetime:
        moment = datetime.fromtimestamp(self.now, timezone.utc)
        return moment if settings.USE_TZ else moment.replace(tzinfo=None)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Time:
    return Time(monkeypatch)


# What an app does to its session, each in the middle of one of its own responses.


def home(request: Any) -> HttpResponse:
    return HttpResponse(request.session.get("theme", "") + "/" + str(request.user.pk))


def change(request: Any) -> HttpResponse:
    request.session["more"] = 1
    return HttpResponse()


def long(request: Any) -> HttpResponse:
    request.session.set_expiry(10 * 365 * 24 * HOUR)
    return HttpResponse()


def usual(request: Any) -> HttpResponse:
    request.session.set_expiry(None)
    request.session["more"] = 1
    return HttpResponse()


def browser(request: Any) -> HttpResponse:
    request.session.set_expiry(0)
    return HttpResponse()


def _sign_in_by_hand(session: Any) -> None:
    user = User.objects.get()
    session.update(
        {
            "theme": "new",
            SESSION_KEY: str(user.pk),
            "_auth_user_backend": MODEL_BACKEND,
            "_auth_user_hash": user.get_session_auth_hash(),
        }
    )


def clear(request: Any) -> HttpResponse:
    request.session.clear()
    _sign_in_by_hand(request.session)
    return HttpResponse()


def read_and_clear(request: Any) -> HttpResponse:
    assert request.session.get("theme", "") is not None
    return clear(request)


def drop_all(request: Any) -> HttpResponse:
    for name in list(request.session.keys()):
        del request.session[name]
    _sign_in_by_hand(request.session)
    return HttpResponse()


def cycle(request: Any) -> HttpResponse:
    request.session.cycle_key()
    return HttpResponse()


def clear_and_cycle(request: Any) -> HttpResponse:
    request.session.clear()
    request.session.cycle_key()
    _sign_in_by_hand(request.session)
    return HttpResponse()


def clear_and_sign_in(request: Any) -> HttpResponse:
    request.session.clear()
    login(request, User.objects.get(), MODEL_BACKEND)
    return HttpResponse()


VIEWS: dict[str, Callable[[Any], Any]] = {
    view.__name__: view
    for view in (
        home,
        change,
        long,
        usual,
        browser,
        clear,
        read_and_clear,
        drop_all,
        cycle,
        clear_and_cycle,
        clear_and_sign_in,
    )
}
urlpatterns = [path(f"{name}/", view) for name, view in VIEWS.items()]


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, tmp_path: Any) -> Iterator[str]:
    yield from _project(request.param, tmp_path)


@pytest.fixture
def database(tmp_path: Any) -> Iterator[str]:
    yield from _project("db", tmp_path)


def _project(kind: str, tmp_path: Any) -> Iterator[str]:
    from django.contrib.sessions.backends.file import SessionStore as FileStore

    FileStore.__dict__.get("_storage_path") and delattr(FileStore, "_storage_path")
    User.objects.all().delete()
    Stored.objects.all().delete()
    User.objects.create(id=1, username="ada", password="!")
    with override_settings(
        ROOT_URLCONF=__name__,
        SESSION_ENGINE=f"django.contrib.sessions.backends.{kind}",
        SESSION_FILE_PATH=str(tmp_path),
    ):
        yield kind
    FileStore.__dict__.get("_storage_path") and delattr(FileStore, "_storage_path")


def store(key: str | None = None) -> Any:
    return import_module(settings.SESSION_ENGINE).SessionStore(key)


def asked(key: str) -> Request:
    return Request("GET", "http", "/").with_cookies({"sessionid": key})


def parent(expiry: Any = None) -> str:
    request = HttpRequest()
    request.session = store()
    if expiry is not None:
        request.session.set_expiry(expiry)
    login(request, User.objects.get(), MODEL_BACKEND)
    request.session["theme"] = "dark"
    request.session.save()
    return str(request.session.session_key)


def handed_over(adapter: DjangoSession, key: str, source: DjangoSession | None = None) -> Any:
    """A session as it is at redemption, and what the browser gets."""
    source = source or adapter
    session = source.current(asked(key))
    assert session is not None
    found = adapter.resolve(Session.from_json(source.expose(session).to_json()))
    assert found is not None
    cookie, *_ = adapter.establish(found, asked(""))
    return found, cookie


class App:
    """The project's own app, seen by one browser."""

    def __init__(self, key: str) -> None:
        self.key = key
        self._app: Any = get_wsgi_application()

    def ask(self, view: str) -> str:
        from django.test import RequestFactory

        request = RequestFactory().get(f"/{view}/")
        request.COOKIES["sessionid"] = self.key
        response = self._app.get_response(request)
        assert response.status_code == 200
        morsel = response.cookies.get("sessionid")
        if morsel is not None:
            self.key = morsel.value
        return str(response.content.decode())

    @property
    def signed_in(self) -> bool:
        return self.ask("home").endswith("/1")


MANNERS = [*sorted(set(VIEWS) - {"home"}), "every request"]


class TestFork:
    @pytest.mark.parametrize("manner", MANNERS)
    @pytest.mark.parametrize("expiry", [None, 0, 5 * HOUR])
    def test_app_does_not_see_it_after_its_parent_s_end(
        self, engine: str, clock: Time, manner: str, expiry: Any
    ) -> None:
        key = parent(expiry)
        adapter = DjangoSession(mode="fork")
        ends = clock.now + (expiry or settings.SESSION_COOKIE_AGE)
        clock.now += HOUR
        found, cookie = handed_over(adapter, key)
        assert found.expires_at.timestamp() <= ends
        assert found.persistent is (expiry != 0)
        app = App(cookie.value)
        assert app.signed_in
        save = manner == "every request"
        with override_settings(SESSION_SAVE_EVERY_REQUEST=save):
            app.ask("home" if save else manner)
            clock.now = ends - HOUR
            assert app.signed_in, "the fork ended before its parent"
            app.ask("home" if save else manner)
            now = adapter.current(asked(app.key))
            assert now is not None
            assert now.expires_at is not None
            assert now.expires_at.timestamp() <= ends
            clock.now = ends + 1
            assert adapter.current(asked(app.key)) is None
            assert not app.signed_in

    def test_parent_and_fork_end_together(self, engine: str, clock: Time) -> None:
        key = parent()
        adapter = DjangoSession(mode="fork")
        clock.now += 13 * 24 * HOUR
        _, cookie = handed_over(adapter, key)
        clock.now += 24 * HOUR - 1
        assert (App(key).signed_in, App(cookie.value).signed_in) == (True, True)
        clock.now += 2
        assert (App(key).signed_in, App(cookie.value).signed_in) == (False, False)

    def test_fork_of_a_fork_ends_with_the_first(self, engine: str, clock: Time) -> None:
        adapter = DjangoSession(mode="fork")
        key, ends = parent(5 * HOUR), clock.now + 5 * HOUR
        for _ in range(3):
            clock.now += HOUR
            found, cookie = handed_over(adapter, key)
            assert found.expires_at.timestamp() <= ends
            key = cookie.value
        clock.now = ends + 1
        assert not App(key).signed_in

    def test_lifetime_of_this_site_holds(self, engine: str, clock: Time) -> None:
        key = parent(10 * HOUR)
        with override_settings(SESSION_COOKIE_AGE=HOUR):
            adapter = DjangoSession(mode="fork")
            if engine == "signed_cookies":
                clock.now += 1
            found, cookie = handed_over(adapter, key)
            assert found.expires_at.timestamp() <= clock.now + HOUR
            assert (cookie.max_age or 0) <= HOUR
            app = App(cookie.value)
            app.ask("long")
            clock.now += HOUR + 1
            assert not app.signed_in
        with override_settings(SESSION_EXPIRE_AT_BROWSER_CLOSE=True, SESSION_COOKIE_AGE=20 * HOUR):
            found, cookie = handed_over(DjangoSession(mode="fork"), parent(10 * HOUR))
            assert (found.persistent, cookie.max_age) == (False, None)

    def test_sign_out_and_a_sign_in_with_a_password_begin_the_app_s_own(
        self, engine: str, clock: Time
    ) -> None:
        key, ends = parent(HOUR), clock.now + HOUR
        _, cookie = handed_over(DjangoSession(mode="fork"), key)
        session = store(cookie.value)
        assert session[SESSION_KEY] == "1"
        session.flush()
        assert session.is_empty() or engine == "signed_cookies"
        request = HttpRequest()
        request.session = session
        login(request, User.objects.get(), MODEL_BACKEND)
        session.save()
        clock.now = ends + 1
        assert App(session.session_key).signed_in

    @pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York"])
    @pytest.mark.parametrize("expiry", [0, 2 * HOUR])
    def test_time_zones_off(
        self, engine: str, monkeypatch: pytest.MonkeyPatch, zone: str, expiry: int
    ) -> None:
        with override_settings(USE_TZ=False, TIME_ZONE=zone):
            _, cookie = handed_over(DjangoSession(mode="fork"), parent(expiry))
            App(cookie.value).ask("long")
            end = DjangoSession().current(asked(cookie.value))
            assert end is not None
            left = (end.expires_at or 0) - datetime.now(timezone.utc)  # type: ignore[operator]
            wanted = expiry or settings.SESSION_COOKIE_AGE
            assert wanted - 60 < left.total_seconds() <= wanted + 1

    def test_end_that_is_less_than_a_second_away(self, database: str, clock: Time) -> None:
        adapter = DjangoSession(mode="fork")
        session = adapter.current(asked(parent(HOUR)))
        clock.now += HOUR - 0.5
        with pytest.raises(SessionExpired):
            adapter.begin(session, asked(""))  # type: ignore[arg-type]  # it was found


class TestArrival:
    def test_ends_with_the_session_elsewhere(self, engine: str, clock: Time) -> None:
        adapter = DjangoSession(match="id")
        ends = clock.now + HOUR
        end = datetime.fromtimestamp(ends, timezone.utc)
        there = Session(id="x", token="other.x;", user_id="1", expires_at=end, persistent=False)
        found: Any = adapter.resolve(there)
        cookie, *_ = adapter.establish(found, asked(""))
        app = App(cookie.value)
        app.ask("clear")
        app.ask("long")
        clock.now = ends - 1
        assert app.signed_in
        clock.now = ends + 1
        assert not app.signed_in


class TestShare:
    @pytest.mark.parametrize("expiry", [None, 5 * HOUR])
    def test_lifetimes_are_not_lengthened(self, engine: str, clock: Time, expiry: Any) -> None:
        key = parent(expiry)
        adapter = DjangoSession()
        ends = clock.now + (expiry or settings.SESSION_COOKIE_AGE)
        clock.now += HOUR
        longer = 100 * settings.SESSION_COOKIE_AGE
        session = adapter.current(asked(key))
        assert session is not None
        exposed = adapter.expose(session)
        # A site with the same store, whose own sessions last longer.
        with override_settings(SESSION_COOKIE_AGE=longer):
            found: Any = adapter.resolve(exposed)
            cookie, *_ = adapter.establish(found, asked(""))
            fork: Any = DjangoSession(mode="fork").resolve(exposed)
        for each in (found, fork):
            assert each.expires_at.timestamp() <= ends
        assert clock.now + (cookie.max_age or 0) <= ends
        assert cookie.value == key
        clock.now = ends + 1
        # (Two of Django's engines do not look at an age that the app asked for.)
        assert not App(key).signed_in or (expiry and engine in ("file", "signed_cookies"))

    def test_cookie_lasts_no_longer_than_this_site_s_lifetime(
        self, engine: str, clock: Time
    ) -> None:
        key = parent(10 * HOUR)
        with override_settings(SESSION_COOKIE_AGE=HOUR):
            _, cookie = handed_over(DjangoSession(), key)
            assert (cookie.max_age or 0) <= HOUR

    def test_app_s_own_sessions_are_left_as_they_are(self, engine: str, clock: Time) -> None:
        DjangoSession(mode="fork")
        app = App(parent())
        for manner in MANNERS[:-1]:
            clock.now += settings.SESSION_COOKIE_AGE - 60
            app.ask(manner)
            assert app.signed_in, manner
            assert django_ends.END_KEY not in store(app.key).keys()  # noqa: SIM118  # no dict


class TestStoreClass:
    def test_awaited_methods_keep_the_end(self, engine: str, clock: Time) -> None:
        key, ends = parent(2 * HOUR), clock.now + 2 * HOUR
        _, cookie = handed_over(DjangoSession(mode="fork"), key)

        async def use(key: str) -> Any:
            session = store(key)
            session.clear()
            await session.aset("theme", "new")
            await session.aset_expiry(10 * HOUR)
            await session.asave()
            again = store(session.session_key)
            assert await again.aget("theme") == "new"
            date = await again.aget_expiry_date()
            assert date.timestamp() <= ends
            assert await again.aget_expiry_age() <= 2 * HOUR
            return again

        if hasattr(SessionBase, "aload"):
            again = asyncio.run(use(cookie.value))
            asyncio.run(again.aflush())
            assert getattr(again, "_ott_end") is None  # noqa: B009  # no attribute of the class
            _, cookie = handed_over(DjangoSession(mode="fork"), key)
            clock.now = ends + 1

            async def load(key: str) -> Any:
                return await store(key).aget("theme")

            assert asyncio.run(load(cookie.value)) is None

    def test_values_cleared_unread_get_no_ended_key(self, engine: str, clock: Time) -> None:
        key, ends = parent(2 * HOUR), clock.now + 2 * HOUR
        _, cookie = handed_over(DjangoSession(mode="fork"), key)
        session = store(cookie.value)
        clock.now = ends + 1
        session.clear()
        session["theme"] = "new"
        session.save()
        assert session.session_key != cookie.value
        assert store(session.session_key)["theme"] == "new"
        if engine != "signed_cookies":
            assert "theme" not in store(cookie.value)

    def test_row_that_is_kept_longer_has_the_session_s_end(
        self, database: str, clock: Time
    ) -> None:
        saved = DatabaseStore()  # as by a process without this package
        saved[django_ends.END_KEY] = clock.now + HOUR
        saved.save()
        seen = django_store.reading(DatabaseStore, saved.session_key)
        seen.items()
        end = django_store.end_of(seen)
        assert end is not None
        assert end.timestamp() == clock.now + HOUR

    def test_class_is_changed_once(self) -> None:
        class Store(DatabaseStore):  # type: ignore[misc]  # its base has no types
            pass

        assert django_ends.keep_ends(Store)
        load = Store.load
        assert django_ends.keep_ends(Store)
        assert Store.load is load

    def test_engine_without_awaited_methods(self) -> None:
        class Store(SessionBase):  # type: ignore[misc]  # its base has no types
            aload = None

        assert django_ends.keep_ends(Store)
        assert Store.aload is None

    def test_engine_of_another_kind_is_said_at_start(
        self, database: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        with override_settings(SESSION_ENGINE=f"{__name__}_foreign"):
            import sys
            from types import ModuleType

            module: Any = ModuleType(f"{__name__}_foreign")
            module.SessionStore = type("SessionStore", (), {})
            sys.modules[module.__name__] = module
            try:
                adapter = DjangoSession()
            finally:
                del sys.modules[module.__name__]
        assert adapter.bounds_app is False
        with caplog.at_level(logging.WARNING, "ott_middleware"):
            OTTMiddleware(get_wsgi_application(), session=adapter)
        assert "after they have ended" in caplog.text
        assert "SessionBase" in caplog.text
        assert DjangoSession().bounds_app is True


class Silent(BaseCache):  # type: ignore[misc]  # its base has no types
    """A cache that does not tell when it drops what it holds."""

    def __init__(self, name: str, params: dict[str, Any]) -> None:
        super().__init__(params)
        inner = LocMemCache(name, params)
        self.add, self.get, self.set, self.delete = inner.add, inner.get, inner.set, inner.delete


class Telling(Silent):
    """As django-redis does."""

    def pttl(self, key: str) -> int | None:
        return 90_500 if self.get(key) is not None else None


def caching(name: str) -> Any:
    return override_settings(
        CACHES={"default": {"BACKEND": f"{__name__}.{name}", "LOCATION": name}},
        SESSION_ENGINE="django.contrib.sessions.backends.cache",
    )


class TestCache:
    def test_fork_is_refused_where_no_end_is_told(self, database: str) -> None:
        with caching("Silent"):
            with pytest.raises(ConfigurationError, match="cached_db"):
                DjangoSession(mode="fork")
            adapter = DjangoSession()
            found = adapter.current(asked(parent()))
            assert found is not None
            assert found.expires_at is not None

    def test_cache_that_tells(self, database: str) -> None:
        with caching("Telling"):
            adapter = DjangoSession(mode="fork")
            found = adapter.current(asked(parent()))
            assert found is not None
            left = (found.expires_at or 0) - datetime.now(timezone.utc)  # type: ignore[operator]
            assert 80 < left.total_seconds() <= 90.5
            session = caches["default"]
            assert django_store._seconds_left(session, "nothing") is None

    def test_redis(self) -> None:
        class Client:
            def get_client(self, name: str) -> Client:
                self.name = name
                return self

            def pttl(self, name: str) -> int:
                assert name == self.name
                return {":1:there": 1500, ":1:ever": -1}.get(name, -2)

        cache = RedisCache("redis://127.0.0.1:1", {})
        cache.__dict__["_cache"] = Client()
        left = [django_store._seconds_left(cache, key) for key in ("there", "ever", "gone")]
        assert left == [1.5, None, None]
        with override_settings(
            CACHES={
                "default": {
                    "BACKEND": "django.core.cache.backends.redis.RedisCache",
                    "LOCATION": "redis://127.0.0.1:1",
                }
            }
        ):
            assert django_store.tells_end(CacheStore)
