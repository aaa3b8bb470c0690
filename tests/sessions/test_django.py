"""Django's sessions, asked as a project's own code would ask: every engine, under both handlers."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from importlib import import_module
from typing import Any

import django_project
import pytest
from visitor import Visitor, of_asgi, of_wsgi

django_project.configure()

from django.apps import apps
from django.contrib import messages
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY, get_user_model, login
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_in
from django.contrib.sessions.models import Session as Stored
from django.core.asgi import get_asgi_application
from django.core.handlers.asgi import ASGIRequest
from django.core.handlers.wsgi import WSGIRequest
from django.core.wsgi import get_wsgi_application
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import path
from django_project_urls import urlpatterns as project_views

from ott_middleware import (
    ConfigurationError,
    DjangoSession,
    MemoryBackend,
    OneTimeTokens,
    OTTMiddleware,
    Session,
    SessionAdapter,
    get_handle,
)
from ott_middleware.errors import NoAccount, SessionNotFound
from ott_middleware.http import Request
from ott_middleware.sessions.django import store as django_store
from ott_middleware.sessions.django import user as django_user
from ott_middleware.testing import SessionAdapterContract

HERE, THERE = "http://here.example", "http://there.example"
PASSWORD = "sesame"
ENGINES = ("db", "cache", "cached_db", "file", "signed_cookies")
WORLDS = ("wsgi", "asgi")
FILES = tempfile.mkdtemp(prefix="ott-sessions-")
MODEL_BACKEND = "django.contrib.auth.backends.ModelBackend"


# Views of these tests, beside the project's.


def at_work(request: Any) -> HttpResponse:
    """Asks for a token in the middle of its own work."""
    User.objects.filter(username="ada").update(first_name="Ada")
    before = connection.connection
    get_handle(request).generate()
    assert connection.connection is before
    assert get_handle(request).session.user_id == str(request.user.pk)
    return HttpResponse("done")


def in_a_transaction(request: Any) -> HttpResponse:
    with transaction.atomic():
        return at_work(request)


def change(request: Any) -> HttpResponse:
    return HttpResponse(str(request.POST["field"]) + request.user.get_username())


urlpatterns = [
    *project_views,
    path("work/", at_work),
    path("transaction/", in_a_transaction),
    path("change/", change),
]


def settings(**values: Any) -> AbstractContextManager[None]:
    """The project with other settings."""
    engine = values.pop("engine", None)
    if engine:
        values["SESSION_ENGINE"] = f"django.contrib.sessions.backends.{engine}"
    how = {"ROOT_URLCONF": __name__, "SESSION_FILE_PATH": FILES, **values}
    return override_settings(**how)  # type: ignore[no-any-return]  # its library has no types


@pytest.fixture(autouse=True)
def _people() -> Iterator[None]:
    from django.contrib.auth.hashers import make_password

    Stored.objects.all().delete()
    User.objects.all().delete()
    User.objects.bulk_create(
        User(id=number, username=name, email=f"{name}@example.com", password=hashed)
        for hashed in [make_password(PASSWORD)]
        for number, name in enumerate(["ada", "bob"], 1)
    )
    with settings():
        yield


@pytest.fixture(params=WORLDS)
def world(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    with settings(engine=request.param):
        yield request.param


class Project:
    """The project, under two names."""

    def __init__(
        self, world: str, *, here: Any = "auto", there: Any = None, **options: Any
    ) -> None:
        self.world = world
        self.backend = MemoryBackend()
        self.here = self._site(here, options)
        self.there = self._site(here if there is None else there, options)

    def _site(self, session: Any, options: Any) -> Any:
        app: Any = get_wsgi_application() if self.world == "wsgi" else get_asgi_application()
        return OTTMiddleware(app, session=session, backend=self.backend, **options)

    def visitor(self) -> Visitor:
        of = of_wsgi if self.world == "wsgi" else of_asgi
        return Visitor({HERE: of(self.here), THERE: of(self.there)})

    def ada(self, *, remember: bool = True) -> Visitor:
        visitor = self.visitor()
        sign_in(visitor, remember=remember)
        return visitor


def sign_in(visitor: Visitor, name: str = "ada", at: str = HERE, *, remember: bool = True) -> Any:
    answer = visitor.submit(
        f"{at}/login/",
        email=f"{name}@example.com",
        password=PASSWORD,
        remember="yes" if remember else "",
    )
    assert answer.status == 302, answer.body
    return answer


def who(visitor: Visitor, at: str = THERE) -> str:
    page = visitor.get(f"{at}/").body.decode()
    return page.partition("Hello, ")[2].partition("@")[0].partition(".")[0]


def redeem(visitor: Visitor, token: str, at: str = THERE) -> Any:
    return visitor.ask(
        "POST",
        f"{at}/one-time-token/verify",
        json.dumps({"token": token}).encode(),
        content_type="application/json",
        origin=at,
    )


def key_of(visitor: Visitor, at: str = THERE) -> str:
    return visitor.jars.get(at, {}).get("sessionid", "")


def line_of(visitor: Visitor, name: str = "sessionid", at: str = THERE) -> str:
    return visitor.lines[at][name]


def store(key: str | None = None) -> Any:
    from django.conf import settings as now

    return import_module(now.SESSION_ENGINE).SessionStore(key)


def asked(**cookies: str) -> Request:
    return Request("GET", "http", "/").with_cookies(dict(cookies))


def age_of(line: str) -> int:
    return int(line.partition("Max-Age=")[2].partition(";")[0])


# What any adapter must do.


class DjangoContract(SessionAdapterContract):
    user_id = "1"
    follows_clock = False  # Django asks its own

    engine = "db"
    mode = "share"

    @pytest.fixture(autouse=True)
    def _with_engine(self, _people: None) -> Iterator[None]:
        with settings(engine=self.engine):
            yield

    def make_adapter(self, clock: Any) -> SessionAdapter:
        return DjangoSession(mode=self.mode)

    def sign_in(self, adapter: Any) -> dict[str, str]:
        request = HttpRequest()
        request.session = store()
        login(request, User.objects.get(username="ada"), backend=MODEL_BACKEND)
        request.session.save()
        return {"sessionid": request.session.session_key}

    def anonymous(self, adapter: Any) -> dict[str, str]:
        begun = store()
        begun["theme"] = "dark"
        begun.save()
        return {"sessionid": begun.session_key}

    def sign_out(self, adapter: Any, cookies: Any) -> None:
        store(cookies["sessionid"]).flush()


class TestShared(DjangoContract):
    pass


class TestForked(DjangoContract):
    mode = "fork"


class TestSharedInCache(DjangoContract):
    engine = "cache"


class TestForkedInCache(TestSharedInCache):
    mode = "fork"


class TestSharedInCachedDatabase(DjangoContract):
    engine = "cached_db"


class TestForkedInCachedDatabase(TestSharedInCachedDatabase):
    mode = "fork"


class TestSharedInFiles(DjangoContract):
    engine = "file"


class TestForkedInFiles(TestSharedInFiles):
    mode = "fork"


class TestSharedInCookies(DjangoContract):
    engine = "signed_cookies"
    # The cookie is all there is of the session.
    sign_out = SessionAdapterContract.sign_out


class TestForkedInCookies(TestSharedInCookies):
    mode = "fork"


# Sharing a session.


@pytest.mark.usefixtures("engine")
def test_link_leads_into_the_same_session(world: str) -> None:
    project = Project(world)
    ada = project.ada()
    token = ada.token(HERE)
    arrival = ada.get(f"{THERE}/told/?ott={token}")
    assert (arrival.status, arrival.location) == (303, "./")
    assert key_of(ada) == key_of(ada, HERE)
    assert who(ada) == "ada"
    assert 1209600 - 60 < age_of(line_of(ada)) <= 1209600
    assert project.visitor().get(f"{THERE}/?ott={token}").status == 400


def test_call_with_a_token_is_handled_signed_in(world: str) -> None:
    project = Project(world)
    token = project.ada().token(HERE)
    visitor = project.visitor()
    page = visitor.ask(
        "GET", f"{THERE}/?ott={token}", sec_fetch_mode="cors", sec_fetch_dest="empty"
    )
    assert b"Hello, ada@" in page.body
    assert "Cookie" in (page.header("vary") or "")
    assert who(visitor) == "ada"


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("mode", ["share", "fork"])
@pytest.mark.parametrize("end", ["password", "active", "out", "gone"])
def test_session_that_ended_meanwhile_is_not_found(
    world: str, mode: str, end: str, engine: str
) -> None:
    project = Project(world, here=DjangoSession(mode=mode))
    ada = project.ada()
    token = ada.token(HERE)
    user = User.objects.get(username="ada")
    if end == "password":
        user.set_password("another")
        user.save()
    elif end == "active":
        User.objects.update(is_active=False)
    elif end == "gone":
        user.delete()
    elif engine != "signed_cookies":
        assert ada.press(f"{HERE}/", "/logout/").status == 302
    else:
        # Nothing ends such a session on the server, as long as the password is the same.
        assert ada.press(f"{HERE}/", "/logout/").status == 302
        assert redeem(project.visitor(), token).status == 200
        return
    stranger = project.visitor()
    refused = redeem(stranger, token)
    assert (refused.status, refused.code) == (400, "SESSION_NOT_FOUND")
    assert refused.all("set-cookie") == []


@pytest.mark.parametrize("kind", ["db", "signed_cookies"])
def test_sign_out_revokes_tokens(world: str, kind: str) -> None:
    with settings(engine=kind):
        project = Project(world, revoke_on_sign_out=True)
        ada = project.ada()
        token = ada.token(HERE)
        assert who(ada, HERE) == "ada"  # an answer that ends nothing
        assert ada.press(f"{HERE}/", "/logout/").status == 302
        refused = redeem(project.visitor(), token)
        assert refused.code == "INVALID_TOKEN"


def test_sign_in_mints_a_token(world: str) -> None:
    project = Project(world, set_ott_header_on_new_session=True)
    visitor = project.visitor()
    token = sign_in(visitor).header("set-ott")
    assert redeem(visitor, token).json()["user"] == {"id": "1"}
    assert who(visitor) == "ada"


@pytest.mark.usefixtures("engine")
def test_visitor_without_sign_in_is_no_user_and_stores_nothing(world: str) -> None:
    project = Project(world)
    visitor = project.visitor()
    visitor.get(f"{HERE}/visit/")
    assert key_of(visitor, HERE)
    count = Stored.objects.count()
    answer = visitor.generate(HERE)
    assert (answer.status, answer.all("set-cookie")) == (401, [])
    assert Stored.objects.count() == count
    assert len(project.backend) == 0


GARBAGE = [
    "",
    "x",
    "a" * 7,
    "a" * 5000,
    "no such session at all",
    "näïve-key-of-somebody",
    "a\x7fb" * 9,
]


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("key", GARBAGE)
def test_malformed_key_reaches_no_store(key: str) -> None:
    with CaptureQueriesContext(connection) as queries:
        assert DjangoSession().current(asked(sessionid=key)) is None
    assert len(queries) == 0


@pytest.mark.usefixtures("engine")
def test_key_that_was_never_issued_is_no_session(world: str) -> None:
    project = Project(world)
    for key in ("a" * 32, "a:b:cdefghijk", "../../../etc/passwd"):
        visitor = project.visitor()
        visitor.jars[HERE] = {"sessionid": key}
        assert visitor.generate(HERE).status == 401


def test_expired_file_is_read_without_a_new_one(tmp_path: Any) -> None:
    import os

    with settings(engine="file"):
        ada = Project("wsgi").ada()
        key = key_of(ada, HERE)
        os.utime(f"{FILES}/sessionid{key}", (0, 0))
        before = sorted(os.listdir(FILES))
        assert DjangoSession().current(asked(sessionid=key)) is None
        assert sorted(os.listdir(FILES)) == before


# Beginning one's own.


@pytest.mark.usefixtures("engine")
def test_fork_is_a_session_of_its_own(world: str, engine: str) -> None:
    project = Project(world, here=DjangoSession(mode="fork", data=["theme"]))
    ada = project.ada()
    ada.get(f"{THERE}/visit/")  # an anonymous session, whose key somebody may know
    planted = key_of(ada)
    assert redeem(ada, ada.token(HERE)).status == 200
    assert who(ada) == "ada"
    assert key_of(ada) not in ("", planted, key_of(ada, HERE))
    begun = store(key_of(ada))
    assert begun["theme"] == "dark"
    assert "seen" not in begun
    assert "cart" not in begun
    if engine != "signed_cookies":
        assert SESSION_KEY not in store(planted)
    # Signing out on either side leaves the other.
    assert ada.press(f"{THERE}/", "/logout/").status == 302
    assert (who(ada), who(ada, HERE)) == ("nobody", "ada")


def test_fork_outlives_the_sign_out_but_not_the_password(world: str) -> None:
    project = Project(world, here=DjangoSession(mode="fork"))
    ada = project.ada()
    ada.get(f"{THERE}/?ott={ada.token(HERE)}")
    assert ada.press(f"{HERE}/", "/logout/").status == 302
    assert (who(ada), who(ada, HERE)) == ("ada", "nobody")
    user = User.objects.get(username="ada")
    user.set_password("another")
    user.save()
    assert who(ada) == "nobody"


@pytest.mark.parametrize("kind", ["db", "cached_db"])
@pytest.mark.parametrize("remember", [True, False])
@pytest.mark.parametrize("zones", [True, False])
def test_fork_ends_no_later_than_its_parent(kind: str, remember: bool, zones: bool) -> None:
    with settings(engine=kind, USE_TZ=zones, TIME_ZONE="Asia/Tokyo"):
        project = Project("wsgi", here=DjangoSession(mode="fork"))
        ada = project.ada(remember=remember)
        row = Stored.objects.get()
        ends = row.expire_date - timedelta(days=13)
        Stored.objects.update(expire_date=ends)
        assert redeem(ada, ada.token(HERE)).status == 200
        begun = Stored.objects.get(session_key=key_of(ada))
        assert ends - timedelta(minutes=2) < begun.expire_date <= ends + timedelta(seconds=1)
        assert who(ada) == "ada"
        assert ("Max-Age" in line_of(ada)) is remember
        if remember:
            assert age_of(line_of(ada)) <= 86400
            # Nor does it when the app saves it later: the end is a moment, not an age.
            saved = store(key_of(ada))
            saved["more"] = 1
            saved.save()
            begun.refresh_from_db()
            assert begun.expire_date <= ends + timedelta(seconds=1)


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("mode", ["share", "fork"])
def test_session_not_remembered_ends_with_the_browser(world: str, mode: str) -> None:
    project = Project(world, here=DjangoSession(mode=mode))
    ada = project.ada(remember=False)
    assert redeem(ada, ada.token(HERE)).status == 200
    assert "Max-Age" not in line_of(ada)
    assert store(key_of(ada)).get_expire_at_browser_close()


def test_fork_from_a_store_of_its_own() -> None:
    def both() -> DjangoSession:
        return DjangoSession(mode="fork", same_store=False)

    project = Project("wsgi", here=both(), there=both())
    ada = project.ada()
    tokens = [ada.token(HERE) for _ in range(3)]
    Stored.objects.all().delete()  # as if it had never been here
    assert redeem(ada, tokens[0]).status == 200
    assert who(ada) == "ada"
    user = User.objects.get(username="ada")
    user.set_password("another")
    user.save()
    assert redeem(project.visitor(), tokens[1]).code == "SESSION_NOT_FOUND"
    with pytest.raises(ConfigurationError, match="mode='fork'"):
        DjangoSession(same_store=False)


def test_plain_session_is_carried_too() -> None:
    adapter = DjangoSession(mode="fork")
    project = Project("wsgi")
    ada = project.ada()
    plain = Session(id="x", token=key_of(ada, HERE), user_id="1")
    service = OneTimeTokens(MemoryBackend(), sessions=adapter)
    assert service.verify(service.generate(plain)).user_id == "1"
    # A token service of somebody's own may hand over nothing but the values.
    cookie, *_ = adapter.begin(replace(plain, token=""), asked())
    assert store(cookie.value)[SESSION_KEY] == "1"
    with pytest.raises(SessionNotFound):
        adapter.begin(Session(id="x", token="", user_id="77"), asked())
    with pytest.raises(SessionNotFound):
        adapter.begin(Session(id="x", token="", user_id=None), asked())
    apart = DjangoSession(mode="fork", same_store=False)
    assert apart.alive(plain) is None


def test_key_of_another_user_now_is_not_found() -> None:
    adapter = DjangoSession()
    ada = Project("wsgi").ada()
    assert adapter.alive(Session(id="x", token=key_of(ada, HERE), user_id="2")) is None


def test_user_deactivated_at_the_last_moment_is_not_signed_in() -> None:
    adapter = DjangoSession(mode="fork")
    found = adapter.current(asked(sessionid=key_of(Project("wsgi").ada(), HERE)))
    assert found is not None
    User.objects.update(is_active=False)
    with pytest.raises(SessionNotFound):
        adapter.begin(replace(found, token=""), asked())


# Forms, messages, signals.


@pytest.mark.parametrize("mode", ["share", "fork"])
@pytest.mark.parametrize("in_session", [False, True])
def test_forms_work_after_the_arrival_with_a_secret_of_their_own(
    world: str, mode: str, in_session: bool
) -> None:
    with settings(CSRF_USE_SESSIONS=in_session):
        project = Project(world, here=DjangoSession(mode=mode))
        ada = project.ada()
        ada.get(f"{THERE}/login/")  # a form, while nobody is signed in there
        planted = ada.jars[THERE].get("csrftoken")
        assert (planted is None) is in_session
        assert redeem(ada, ada.token(HERE)).status == 200
        assert in_session or ada.jars[THERE]["csrftoken"] != planted
        assert ada.press(f"{THERE}/", "/logout/").status == 302
        assert who(ada) == "nobody"


def test_second_arrival_leaves_open_forms_alone() -> None:
    project = Project("wsgi")
    ada = project.ada()
    redeem(ada, ada.token(HERE))
    who(ada)
    before = ada.jars[THERE]["csrftoken"]
    redeem(ada, ada.token(HERE))
    assert ada.jars[THERE]["csrftoken"] == before


def test_form_sent_with_a_token_is_accepted(world: str) -> None:
    project = Project(world, here=DjangoSession(mode="fork"))
    ada = project.ada()
    page = ada.get(f"{THERE}/login/").body.decode()
    secret = page.partition('value="')[2].partition('"')[0]
    answer = ada.ask(
        "POST",
        f"{THERE}/change/?ott={ada.token(HERE)}",
        f"field=value&csrfmiddlewaretoken={secret}".encode(),
        content_type="application/x-www-form-urlencoded",
        origin=THERE,
        sec_fetch_mode="cors",
        sec_fetch_dest="empty",
    )
    assert (answer.status, answer.body) == (200, b"valueada")


@contextmanager
def receiving(receiver: Any) -> Iterator[None]:
    user_logged_in.connect(receiver)
    try:
        yield
    finally:
        user_logged_in.disconnect(receiver)


@pytest.mark.parametrize("storage", ["fallback.FallbackStorage", "session.SessionStorage"])
def test_receivers_of_the_sign_in_see_a_request_and_leave_messages(
    world: str, storage: str
) -> None:
    seen: list[Any] = []

    def welcome(request: Any, user: Any, **_: Any) -> None:
        seen.append((type(request), request.path, request.user, request.get_host(), user.username))
        messages.info(request, "Welcome.")

    with settings(MESSAGE_STORAGE=f"django.contrib.messages.storage.{storage}"):
        project = Project(world, here=DjangoSession(mode="fork"))
        ada = project.ada()
        with receiving(welcome):
            assert ada.get(f"{THERE}/told/?ott={ada.token(HERE)}").status == 303
        user = User.objects.get(username="ada")
        kind = WSGIRequest if world == "wsgi" else ASGIRequest
        assert seen == [(kind, "/told/", user, "there.example", "ada")]
        assert ada.get(f"{THERE}/told/").body == b"Welcome."
        assert ada.get(f"{THERE}/told/").body == b""


def test_project_without_messages_has_none() -> None:
    installed = ["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"]
    with settings(INSTALLED_APPS=installed):
        adapter = DjangoSession(mode="fork")
        found = adapter.current(asked(sessionid=key_of(Project("wsgi").ada(), HERE)))
        assert found is not None
        assert len(adapter.begin(replace(found, token=""), asked())) == 1


def test_cookies_saved_every_time_stay_the_same_session(world: str) -> None:
    with settings(SESSION_SAVE_EVERY_REQUEST=True):
        project = Project(world)
        ada = project.ada()
        assert redeem(ada, ada.token(HERE)).status == 200
        assert who(ada) == "ada"
        assert key_of(ada) == key_of(ada, HERE)


# Who arrives from elsewhere.


def arriving(**known: Any) -> Session:
    values = {"id": "elsewhere", "token": "flask.x;", "user_id": "2", "user": {"id": "2"}}
    return Session(**{**values, **known})


def as_ada(**more: Any) -> Session:
    return arriving(user={"id": "2", "email": "ada@example.com", "club": "oars"}, **more)


def test_match_by_a_field() -> None:
    adapter = DjangoSession(match="email", expose=["username"], data=["theme"])
    end = datetime.now(timezone.utc) + timedelta(hours=1)
    found = adapter.resolve(as_ada(expires_at=end, data={"theme": "dark", "cart": 1}))
    assert (found.user_id, found.token, found.expires_at) == ("1", "", end)
    assert found.user == {"id": "1", "email": "ada@example.com", "club": "oars", "username": "ada"}
    cookie, *_ = adapter.establish(found, asked())
    assert 3500 < (cookie.max_age or 0) <= 3600
    begun = store(cookie.value)
    assert (begun[SESSION_KEY], begun["theme"], "cart" in begun) == ("1", "dark", False)


def test_lifetime_of_this_site_caps_arrivals() -> None:
    adapter = DjangoSession(match="email")
    now = datetime.now(timezone.utc)
    for end in (None, now + timedelta(days=365)):
        found = adapter.resolve(as_ada(expires_at=end))
        assert found.expires_at <= datetime.now(timezone.utc) + timedelta(days=14)
        assert found.persistent
    with settings(SESSION_EXPIRE_AT_BROWSER_CLOSE=True):
        assert not adapter.resolve(as_ada()).persistent


def test_match_by_id() -> None:
    adapter = DjangoSession(match="id", auth_backend=MODEL_BACKEND)
    assert adapter.resolve(arriving()).user["id"] == "2"
    for stranger in ("77", "x", "9" * 400):
        with pytest.raises(NoAccount):
            adapter.resolve(arriving(user_id=stranger))


def test_match_that_returns_none_signs_no_user_in(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(NoAccount):
        DjangoSession().resolve(as_ada())
    adapter = DjangoSession(match="email")
    # The id of elsewhere never stands in for the field.
    with pytest.raises(NoAccount):
        adapter.resolve(arriving(user_id="1"))
    with pytest.raises(NoAccount):
        adapter.resolve(arriving(user={"id": "1", "email": "nobody@example.com"}))
    with pytest.raises(NoAccount):
        DjangoSession(match="date_joined").resolve(arriving(user={"date_joined": "x"}))
    assert django_user.user_by_field("email", ["ada@example.com"]) is None
    assert django_user.user_by_field("id", 9**400) is None
    User.objects.update(is_active=False)
    with pytest.raises(NoAccount):
        adapter.resolve(as_ada())
    User.objects.update(is_active=True, email="ada@example.com")
    caplog.clear()
    with pytest.raises(NoAccount):
        adapter.resolve(as_ada())
    assert "several users have the same email" in caplog.text
    assert "ada@" not in caplog.text


def test_match_by_a_function() -> None:
    def create(session: Session) -> Any:
        email = str((session.user or {})["email"])
        return User.objects.get_or_create(username=email, email=email)[0]

    new = arriving(user={"email": "eve@example.com"})
    found: Any = DjangoSession(match=create).resolve(new)
    assert found.user_id == str(User.objects.get(username="eve@example.com").pk)
    with pytest.raises(NoAccount):
        DjangoSession(match=lambda _: None).resolve(new)
    for wrong in ("1", User(username="unsaved")):
        with pytest.raises(TypeError, match="no saved user"):
            DjangoSession(match=lambda _, wrong=wrong: wrong).resolve(new)


def test_match_by_an_async_function(world: str) -> None:
    async def find(session: Session) -> Any:
        return await User.objects.filter(username="bob").afirst()

    class Elsewhere(DjangoSession):
        kind = "elsewhere"

    project = Project(world, here=Elsewhere(), there=DjangoSession(match=find))
    ada = project.ada()
    assert redeem(ada, ada.token(HERE)).status == 200
    assert who(ada) == "bob"


# Users of the project's own kind.


def test_user_model_of_the_project(world: str) -> None:
    with ExitStack() as stack:
        from django.conf import settings as now

        installed = [*now.INSTALLED_APPS, "django_people"]
        stack.enter_context(
            settings(INSTALLED_APPS=installed, AUTH_USER_MODEL="django_people.Person")
        )
        person = get_user_model()
        with connection.schema_editor() as editor:
            editor.create_model(person)
        stack.callback(_drop, person)
        zoe = person.objects.create(name="zoe", born="2000-02-29", fee="12.50")
        stack.enter_context(
            settings(INSTALLED_APPS=installed, AUTH_USER_MODEL="django_people.Person")
        )
        begun = store()
        request = HttpRequest()
        request.session = begun
        login(request, zoe, backend=MODEL_BACKEND)
        begun.save()
        fields = ["born", "fee", "labels", "save", "nothing", "name"]
        project = Project(world, here=DjangoSession(mode="fork", expose=fields))
        visitor = project.visitor()
        visitor.jars[HERE] = {"sessionid": begun.session_key}
        answer = redeem(visitor, visitor.token(HERE))
        assert answer.json()["user"] == {
            "id": str(zoe.pk),
            "born": "2000-02-29",
            "fee": "12.50",
            "labels": ["oars", {"size": 1.5}],
            "name": "zoe",
        }
        found = DjangoSession().current(asked(sessionid=key_of(visitor)))
        assert found is not None
        assert found.user_id == str(zoe.pk)
    # The project's model is another again: what stands in that session is no id to it.
    assert DjangoSession().current(asked(sessionid=begun.session_key)) is None


def _drop(model: Any) -> None:
    with connection.schema_editor() as editor:
        editor.delete_model(model)


def test_values_become_json() -> None:
    assert django_user.as_json(float("nan")) == "nan"
    assert django_user.as_json({1: (None, True, 2.5)}) == {"1": [None, True, 2.5]}


# Django's rules.


def test_outdated_session_is_read_without_a_change() -> None:
    ada = Project("wsgi").ada()
    key = key_of(ada, HERE)
    with settings(
        SECRET_KEY="a new one", SECRET_KEY_FALLBACKS=[django_project.SETTINGS["SECRET_KEY"]]
    ):
        adapter = DjangoSession()
        assert adapter.secrets() == ("a new one", django_project.SETTINGS["SECRET_KEY"])
        found = adapter.current(asked(sessionid=key))
        assert found is not None
        assert found.user_id == "1"
        old = store(key)[HASH_SESSION_KEY]
        user = User.objects.get(username="ada")
        user.set_password("another")
        user.save()
        assert adapter.current(asked(sessionid=key)) is None
        assert store(key)[HASH_SESSION_KEY] == old
    with settings(AUTHENTICATION_BACKENDS=["django.contrib.auth.backends.RemoteUserBackend"]):
        assert DjangoSession().current(asked(sessionid=key)) is None


def test_cookie_that_django_reads_counts_of_two() -> None:
    project = Project("wsgi")
    ada = key_of(project.ada(), HERE)
    request = Request(
        "GET", "http", "/", headers={"cookie": f"sessionid=planted1; sessionid={ada}"}
    )
    assert DjangoSession().current(request) is not None


def test_session_id_of_a_signed_cookie_stays_through_every_change() -> None:
    with settings(engine="signed_cookies"):
        key = key_of(Project("wsgi").ada(), HERE)
        changed = store(key)
        changed["more"] = 1
        changed.save()
        adapter = DjangoSession()
        before = adapter.current(asked(sessionid=key))
        after = adapter.current(asked(sessionid=changed.session_key))
        assert before is not None
        assert after is not None
        assert before.token != after.token
        assert before.id == after.id


def test_cache_keeps_a_browser_session_no_longer_than_its_end() -> None:
    begun = store()
    ends = datetime.now(timezone.utc) + timedelta(minutes=1)
    django_store.limit(begun, ends, persistent=False)
    assert begun.get_expire_at_browser_close()
    assert begun.get_expiry_age() <= 60


@pytest.mark.parametrize("kind", ENGINES)
def test_session_end(kind: str) -> None:
    with settings(engine=kind):
        for age in (3600, timedelta(days=3), 10**8):
            begun = store()
            begun.set_expiry(age)
            begun["x"] = 1
            begun.save()
            seen = django_store.reading(type(begun), begun.session_key)
            seen.items()
            left = django_store.end_of(seen) - datetime.now(timezone.utc)
            wanted = age.total_seconds() if isinstance(age, timedelta) else age
            wanted = min(wanted, 1209600) if kind == "signed_cookies" else wanted
            assert wanted - 60 < left.total_seconds() <= wanted + 1
        if kind == "cached_db":
            Stored.objects.all().delete()  # the cache has it still
            assert django_store.end_of(begun) > datetime.now(timezone.utc)


def test_data_that_leaves_is_what_was_named() -> None:
    adapter = DjangoSession(expose=["email"], data=["theme"])
    found = adapter.current(asked(sessionid=key_of(Project("wsgi").ada(), HERE)))
    assert found is not None
    assert found.user == {"id": "1", "email": "ada@example.com"}
    assert found.data == {"theme": "dark"}
    left = adapter.expose(found)
    assert found.token not in json.dumps(left.to_json())
    assert found.token not in repr(found)
    assert adapter.expose(replace(found, token="")).token == ""
    with pytest.raises(NoAccount):
        DjangoSession().resolve(replace(left, token=left.token[:-3] + "x;"))


# Connections.


def test_connections_are_closed_after_own_responses(world: str) -> None:
    project = Project(world)
    ada = project.ada()
    seen: list[Any] = []
    adapter: Any = DjangoSession()
    inside = adapter._load

    def looking(key: str) -> Any:
        found = inside(key)
        seen.append(connection.connection)
        return found

    adapter._load = looking
    connection.close()
    request = asked(sessionid=key_of(ada, HERE))
    assert adapter.current(request) is not None
    assert seen[0] is not None
    assert connection.connection is None
    # A connection that is to be kept is kept.
    connection.settings_dict["CONN_MAX_AGE"] = 60
    try:
        adapter.current(request)
        assert connection.connection is seen[1]
    finally:
        connection.settings_dict["CONN_MAX_AGE"] = 0
        connection.close()


def test_connection_that_was_lost_is_renewed() -> None:
    ada = Project("wsgi").ada()
    connection.close()
    connection.ensure_connection()
    connection.connection.close()
    connection.errors_occurred = True
    assert DjangoSession().current(asked(sessionid=key_of(ada, HERE))) is not None


@pytest.mark.parametrize("view", ["work", "transaction"])
def test_view_keeps_its_connection_and_its_transaction(world: str, view: str) -> None:
    project = Project(world)
    ada = project.ada()
    assert ada.get(f"{HERE}/{view}/").body == b"done"
    assert User.objects.get(username="ada").first_name == "Ada"


def test_transaction_around_the_middleware_goes_on() -> None:
    ada = Project("wsgi").ada()
    with transaction.atomic():
        assert DjangoSession().current(asked(sessionid=key_of(ada, HERE))) is not None
        User.objects.update(first_name="Ada")
    assert User.objects.get(username="ada").first_name == "Ada"


# Settings and arguments.


def test_attributes_are_those_of_the_settings() -> None:
    with settings(
        SESSION_COOKIE_NAME="sid",
        SESSION_COOKIE_DOMAIN="example.com",
        SESSION_COOKIE_PATH="/app",
        SESSION_COOKIE_SECURE=True,
        SESSION_COOKIE_HTTPONLY=False,
        SESSION_COOKIE_SAMESITE="Strict",
    ):
        adapter = DjangoSession(max_age=60)
        assert (adapter.cookie_names, adapter.strict) == (("sid",), True)
        end = datetime.now(timezone.utc) + timedelta(hours=1)
        cookie, *_ = adapter.share(arriving(token="k" * 32, expires_at=end), asked())
        assert cookie.header()[1] == (
            f"sid={'k' * 32}; Max-Age=60; Domain=example.com; Path=/app; Secure; SameSite=Strict"
        )
        names = ("domain", "path", "secure", "samesite", "httponly")
        unset: Any = dict.fromkeys(names)
        assert DjangoSession(**unset, max_age=60).attributes == adapter.attributes
        own = DjangoSession(
            domain="a.example.com", path="/", secure=False, samesite="Lax", httponly=True
        )
        cookie, *_ = own.share(arriving(token="k" * 32, persistent=False), asked())
        assert cookie.header()[1] == (
            f"sid={'k' * 32}; Domain=a.example.com; Path=/; HttpOnly; SameSite=Lax"
        )
    with settings(SESSION_COOKIE_SAMESITE=False):
        cookie, *_ = DjangoSession().share(arriving(token="k" * 32), asked())
        assert "SameSite" not in cookie.header()[1]
    with (
        settings(SESSION_COOKIE_SAMESITE="None"),
        pytest.raises(ConfigurationError, match="SameSite=None without Secure"),
    ):
        DjangoSession()


def test_csrf_cookie_for_other_sites_is_secure() -> None:
    with settings(CSRF_COOKIE_SAMESITE="None", CSRF_COOKIE_AGE=None):
        *_, cookie = DjangoSession().share(arriving(token="k" * 32), asked(csrftoken="x" * 32))
        assert (cookie.name, cookie.secure, cookie.max_age) == ("csrftoken", True, None)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"data": ["_auth_user_id"]}, "Django's own"),
        ({"data": ["_csrftoken"]}, "Django's own"),
        ({"auth_backend": "some.Backend"}, "AUTHENTICATION_BACKENDS"),
        ({"mode": "copy"}, "'share' or 'fork'"),
    ],
)
def test_arguments_that_are_bad_are_refused(arguments: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        DjangoSession(**arguments)


def test_project_without_sessions_is_refused(world: str) -> None:
    from django.conf import settings as now

    layers = [layer for layer in now.MIDDLEWARE if "sessions" not in layer and "auth" not in layer]
    with settings(MIDDLEWARE=layers[:3]), pytest.raises(ConfigurationError, match="SessionMiddlew"):
        Project(world)
    with (
        settings(INSTALLED_APPS=["django.contrib.sessions"], MIDDLEWARE=[]),
        pytest.raises(ConfigurationError, match=r"django\.contrib\.auth"),
    ):
        Project(world)
    with pytest.raises(ConfigurationError, match=r"'nickname'; name a field of auth\.User"):
        Project(world, here=DjangoSession(match="nickname"))


def test_project_that_is_not_ready_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with settings(SESSION_ENGINE="no.such"), pytest.raises(ConfigurationError, match="in order"):
        DjangoSession()
    adapter = DjangoSession()
    monkeypatch.setattr(apps, "ready", False)
    with pytest.raises(ConfigurationError, match=r"django\.setup\(\)"):
        adapter.bind(lambda _: pytest.fail("not asked"))


PROGRAM = """
import ott_middleware, sys
from ott_middleware import ConfigurationError, DjangoSession, OTTMiddleware
from django.conf import settings
def app(environ, start_response): ...
try:
    DjangoSession()
except ConfigurationError as error:
    print("settings" in str(error))
settings.configure(SECRET_KEY="x", SESSION_ENGINE="no.such")
try:
    DjangoSession()
except ConfigurationError as error:
    print("not in order" in str(error))
settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
try:
    OTTMiddleware(app, session=DjangoSession())
except ConfigurationError as error:
    print("django.setup()" in str(error))
"""


def test_import_without_settings() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "True\nTrue\nTrue\n"
