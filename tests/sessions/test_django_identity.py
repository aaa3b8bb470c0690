"""Identity is compared in Python, not by the store's collation: who arrives, whose a session is.

SQLite's NOCASE stands in for every collation that holds different texts for equal; the default
collation of MariaDB is tried where a server is there.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import django_project
import pytest

django_project.configure()

from django.apps import apps
from django.contrib.auth import SESSION_KEY, login
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import User
from django.contrib.sessions.backends.cached_db import SessionStore as CachedDatabaseStore
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.contrib.sessions.base_session import AbstractBaseSession
from django.db import connection, connections, models
from django.http import HttpRequest
from django.test import override_settings

from ott_middleware import ConfigurationError, DjangoSession, Session
from ott_middleware.errors import NoAccount
from ott_middleware.http import Request
from ott_middleware.sessions.django import store as django_store
from ott_middleware.sessions.django import user as django_user

MODEL_BACKEND = "django.contrib.auth.backends.ModelBackend"
LOOSE_BACKEND = f"{__name__}.LooseBackend"


class LooseUser(AbstractBaseUser):  # type: ignore[misc]  # its base has no types
    """A user whose text primary key and email are compared without regard to case."""

    name = models.CharField(primary_key=True, max_length=40, db_collation="NOCASE")
    email = models.CharField(max_length=60, null=True, db_collation="NOCASE")
    number = models.IntegerField(default=0)
    price = models.DecimalField(max_digits=6, decimal_places=2, default=0)
    tag = models.UUIDField(null=True)
    born = models.DateTimeField(null=True)
    friends = models.ManyToManyField("self")

    USERNAME_FIELD = "name"
    objects = BaseUserManager()

    class Meta:
        app_label = "django_people"


class LooseSession(AbstractBaseSession):  # type: ignore[misc]  # its base has no types
    session_key = models.CharField(primary_key=True, max_length=40, db_collation="NOCASE")

    class Meta:
        app_label = "django_people"


class LooseStore(DatabaseStore):  # type: ignore[misc]  # its base has no types
    """A project's own engine: other keys than Django's, in a column of a loose collation."""

    @classmethod
    def get_model_class(cls) -> Any:
        return LooseSession

    def _get_new_session_key(self) -> str:
        return f"Key-{uuid.uuid4().hex}"


class LooseBackend(ModelBackend):  # type: ignore[misc]  # its base has no types
    """An authentication backend that finds users by more than their exact id."""

    def get_user(self, user_id: Any) -> Any:
        return User.objects.filter(pk__gte=0).order_by("pk").first()


class PickyBackend(ModelBackend):  # type: ignore[misc]  # its base has no types
    """An authentication backend with ids of its own."""

    def get_user(self, user_id: Any) -> Any:
        raise ValueError("no id of this backend's")


@pytest.fixture(scope="module", autouse=True)
def _tables() -> Iterator[None]:
    made = (LooseUser, LooseSession)
    with connection.schema_editor() as editor:
        for model in made:
            editor.create_model(model)
    yield
    with connection.schema_editor() as editor:
        for model in made:
            editor.delete_model(model)
    for name in ("looseuser", "looseuser_friends", "loosesession"):
        apps.all_models["django_people"].pop(name, None)
    apps.clear_cache()


@pytest.fixture
def loose() -> Iterator[Any]:
    installed = [*django_project.SETTINGS["INSTALLED_APPS"], "django_people"]
    with (
        override_settings(INSTALLED_APPS=installed),
        override_settings(INSTALLED_APPS=installed, AUTH_USER_MODEL="django_people.LooseUser"),
    ):
        LooseUser.objects.all().delete()
        yield LooseUser.objects.create(name="ada", email="ada@example.com", number=7)


@pytest.fixture
def ada() -> Iterator[Any]:
    User.objects.all().delete()
    yield User.objects.create(id=7, username="ada", email="ada@example.com", password="!")
    User.objects.all().delete()


def arriving(user_id: Any = None, **user: Any) -> Session:
    return Session(id="elsewhere", token="other.x;", user_id=user_id, user=user)


def asked(**cookies: str) -> Request:
    return Request("GET", "http", "/").with_cookies(dict(cookies))


def signed_in(user: Any, store: Any) -> str:
    request = HttpRequest()
    request.session = store
    login(request, user, MODEL_BACKEND)
    request.session.save()
    return str(request.session.session_key)


OTHER_TEXTS = ["ADA@example.com", "Ada@Example.Com", "ada@example.com ", " ada@example.com"]


class TestMatchByField:
    @pytest.mark.parametrize("email", OTHER_TEXTS)
    def test_text_that_only_the_collation_holds_for_equal(self, loose: Any, email: str) -> None:
        with pytest.raises(NoAccount):
            DjangoSession(match="email").resolve(arriving(email=email))

    def test_exact_text(self, loose: Any) -> None:
        found: Any = DjangoSession(match="email").resolve(arriving(email="ada@example.com"))
        assert found.user_id == "ada"

    def test_exact_user_among_loosely_equal_ones(self, loose: Any) -> None:
        for name, other in (("x1", "Ada"), ("x2", "aDa")):
            LooseUser.objects.create(name=name, email=f"{other}@example.com")
        LooseUser.objects.create(name="eve", email="ADA@example.com")
        found: Any = DjangoSession(match="email").resolve(arriving(email="ada@example.com"))
        assert found.user_id == "ada"

    def test_exact_text_of_two_users(self, loose: Any, caplog: pytest.LogCaptureFixture) -> None:
        LooseUser.objects.create(name="eve", email="ada@example.com")
        with pytest.raises(NoAccount):
            DjangoSession(match="email").resolve(arriving(email="ada@example.com"))
        assert "several users have the same email" in caplog.text
        assert "ada@" not in caplog.text

    def test_more_loosely_equal_users_than_are_looked_through(
        self, loose: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(django_user, "_MOST_CANDIDATES", 3)
        for number in range(3):
            LooseUser.objects.create(name=f"eve{number}", email="ADA@example.com")
        with pytest.raises(NoAccount):
            DjangoSession(match="email").resolve(arriving(email="ada@example.com"))
        assert "function" in caplog.text

    @pytest.mark.parametrize(
        "number",
        [
            "07",
            " 7",
            "7 ",
            "+7",
            "\uff17",
            "\u0667",
            "7.0",
            "0_7",
            "-7",
            True,
            7.0,
            "",
            None,
            [7],
            {"7": 7},
        ],
    )
    def test_number_in_another_spelling(self, loose: Any, number: Any) -> None:
        with pytest.raises(NoAccount):
            DjangoSession(match="number").resolve(arriving(number=number))
        assert django_user.user_by_field("number", number) is None

    @pytest.mark.parametrize("number", ["7", 7])
    def test_number(self, loose: Any, number: Any) -> None:
        found: Any = DjangoSession(match="number").resolve(arriving(number=number))
        assert found.user_id == "ada"

    def test_values_as_this_package_exposes_them(self, loose: Any) -> None:
        loose.tag, loose.price = uuid.uuid4(), "12.50"
        loose.born = "2000-02-29T12:00:00+00:00"
        loose.save()
        loose.refresh_from_db()
        for name in ("tag", "price", "born", "number", "name"):
            told = django_user.describe(loose, [name])
            found: Any = DjangoSession(match=name).resolve(arriving(**told))
            assert found is not None, name
            assert found.user_id == "ada"
        for spelled in (loose.tag.hex, str(loose.tag).upper(), f"{{{loose.tag}}}"):
            with pytest.raises(NoAccount):
                DjangoSession(match="tag").resolve(arriving(tag=spelled))
        for spelled in ("12.5", "12.500", "1250e-2"):
            with pytest.raises(NoAccount):
                DjangoSession(match="price").resolve(arriving(price=spelled))

    def test_missing_value_is_no_text(self, loose: Any) -> None:
        LooseUser.objects.update(email=None)
        with pytest.raises(NoAccount):
            DjangoSession(match="email").resolve(arriving(email="None"))
        assert not django_user.has_text(loose.__class__(), LooseUser._meta.get_field("tag"), "None")

    def test_column_is_a_field_to_match_by(self, loose: Any) -> None:
        DjangoSession(match="email").bind(lambda _: pytest.fail("not asked"))

    @pytest.mark.parametrize("name", ["friends", "logentry", "nickname"])
    def test_relation_is_no_field_to_match_by(self, loose: Any, name: str) -> None:
        with pytest.raises(ConfigurationError, match=f"'{name}'; name a field"):
            DjangoSession(match=name).bind(lambda _: pytest.fail("not asked"))


class TestMatchById:
    @pytest.mark.parametrize("user_id", ["ADA", "Ada", "ada ", " ada", "äda", True, 0])
    def test_text_key_that_only_the_collation_holds_for_equal(
        self, loose: Any, user_id: Any
    ) -> None:
        with pytest.raises(NoAccount):
            DjangoSession(match="id").resolve(arriving(user_id))
        assert django_user.user_by_id(user_id, None) is None

    def test_exact_text_key(self, loose: Any) -> None:
        found: Any = DjangoSession(match="id").resolve(arriving("ada"))
        assert found.user_id == "ada"

    @pytest.mark.parametrize(
        "user_id",
        ["07", " 7", "7 ", "7\n", "+7", "\uff17", "\u0667", "7.0", "0_7", "-7", True, 7.0, 7.5],
    )
    def test_number_in_another_spelling(self, ada: Any, user_id: Any) -> None:
        User.objects.create(id=1, username="bob")
        with pytest.raises(NoAccount):
            DjangoSession(match="id").resolve(arriving(user_id))
        assert django_user.user_by_id(user_id, None) is None

    @pytest.mark.parametrize("user_id", ["7", 7])
    def test_number(self, ada: Any, user_id: Any) -> None:
        found: Any = DjangoSession(match="id").resolve(arriving(user_id))
        assert found.user_id == "7"

    def test_user_whom_the_backend_finds_for_another_id(self, ada: Any) -> None:
        with override_settings(AUTHENTICATION_BACKENDS=[LOOSE_BACKEND]):
            with pytest.raises(NoAccount):
                DjangoSession(match="id").resolve(arriving("8"))
            # A function's user is looked up again, too: the backend decides on `is_active`.
            bob = User.objects.create(id=8, username="bob")
            with pytest.raises(NoAccount):
                DjangoSession(match=lambda _: bob).resolve(arriving("x"))
        with override_settings(AUTHENTICATION_BACKENDS=[LOOSE_BACKEND, MODEL_BACKEND]):
            found: Any = DjangoSession(match="id").resolve(arriving("8"))
            assert (found.user_id, found.backend) == ("8", MODEL_BACKEND)

    def test_backend_that_knows_no_such_id(self, ada: Any) -> None:
        paths = [f"{__name__}.PickyBackend", MODEL_BACKEND]
        with override_settings(AUTHENTICATION_BACKENDS=paths):
            found: Any = DjangoSession(match="id").resolve(arriving("7"))
            assert (found.user_id, found.backend) == ("7", MODEL_BACKEND)
            with pytest.raises(NoAccount):
                DjangoSession(match="id").resolve(arriving("8"))


class TestUserOfSession:
    def test_id_that_only_the_collation_holds_for_equal(self, loose: Any) -> None:
        key = signed_in(loose, DatabaseStore())
        assert DjangoSession().current(asked(sessionid=key)) is not None
        # The account is gone, and another one has its name in another case, with no password of
        # its own: without a difference in the hash, nothing else tells the two apart.
        LooseUser.objects.update(name="ADA")
        assert DjangoSession().current(asked(sessionid=key)) is None

    def test_user_whom_the_backend_finds_for_another_id(self, ada: Any) -> None:
        store = DatabaseStore()
        with override_settings(AUTHENTICATION_BACKENDS=[LOOSE_BACKEND]):
            request = HttpRequest()
            request.session = store
            login(request, ada, LOOSE_BACKEND)
            store.save()
            assert DjangoSession().current(asked(sessionid=store.session_key)) is not None
            store[SESSION_KEY] = "8"
            store.save()
            assert DjangoSession().current(asked(sessionid=store.session_key)) is None


class TestSessionKey:
    def test_key_in_another_case_is_another_key(self, ada: Any) -> None:
        with override_settings(SESSION_ENGINE=__name__):
            key = signed_in(ada, SessionStore())
            assert LooseSession.objects.filter(session_key=key.upper()).exists()
            adapter = DjangoSession()
            found = adapter.current(asked(sessionid=key))
            assert found is not None
            # Each spelling would be a session with an id of its own: ten tokens more for each, and
            # signing out would revoke those of one of them alone.
            for other in (key.upper(), key.lower(), key.swapcase()):
                assert adapter.current(asked(sessionid=other)) is None
                left = adapter.expose(Session(id="x", token=other, user_id="7"))
                assert adapter.resolve(left) is None

    @pytest.mark.parametrize("kind", ["db", "cached_db", "cache", "file"])
    def test_key_that_django_does_not_issue_reaches_no_store(self, kind: str) -> None:
        # A cache or a file system may be as loose as a column, and does not tell the key it found.
        with override_settings(SESSION_ENGINE=f"django.contrib.sessions.backends.{kind}"):
            store = import_module(f"django.contrib.sessions.backends.{kind}").SessionStore
            assert django_store.is_key(store, "k" * 32)
            assert not django_store.is_key(store, "K" * 32)
            assert not django_store.is_key(store, "k" * 31 + "-")
        assert django_store.is_key(LooseStore, "K" * 32)

    def test_cached_copy_under_another_key(self, ada: Any) -> None:
        class Store(CachedDatabaseStore):  # type: ignore[misc]  # its base has no types
            get_model_class = LooseStore.get_model_class
            _get_new_session_key = LooseStore._get_new_session_key

        key = signed_in(ada, Store())
        with override_settings(SESSION_ENGINE=__name__):
            adapter: Any = DjangoSession()
        adapter._store = Store
        Store(key.upper()).load()  # as the app does, which leaves a copy in the cache
        assert adapter.current(asked(sessionid=key)) is not None
        assert adapter.current(asked(sessionid=key.upper())) is None


SessionStore = LooseStore


# A real server.


@contextmanager
def mariadb() -> Iterator[Any]:
    """A database of Django's on a MariaDB server, beside the default one."""
    pymysql = pytest.importorskip("pymysql")
    host = os.environ.get("OTT_TEST_MYSQL_HOST", "127.0.0.1")
    try:
        pymysql.connect(host=host, user="root", database="test").close()
    except pymysql.MySQLError:
        reason = f"no MariaDB at {host}:3306 that lets root in: set OTT_TEST_MYSQL_HOST"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    version = pymysql.version_info, pymysql.__version__
    # Django asks for a release of mysqlclient, which PyMySQL stands in for.
    pymysql.version_info, pymysql.__version__ = (2, 2, 1, "final", 0), "2.2.1"
    pymysql.install_as_MySQLdb()
    connections.settings["ott_mariadb"] = connections.configure_settings(
        {
            "default": {},
            "ott_mariadb": {
                "ENGINE": "django.db.backends.mysql",
                "HOST": host,
                "USER": "root",
                "NAME": "test",
                "OPTIONS": {"charset": "utf8mb4"},
            },
        }
    )["ott_mariadb"]
    try:
        yield connections["ott_mariadb"]
    finally:
        connections["ott_mariadb"].close()
        del connections["ott_mariadb"]
        del connections.settings["ott_mariadb"]
        pymysql.version_info, pymysql.__version__ = version


class MariaManager(BaseUserManager):  # type: ignore[misc]  # its base has no types
    def get_queryset(self) -> Any:
        return super().get_queryset().using("ott_mariadb")


class MariaUser(AbstractBaseUser):  # type: ignore[misc]  # its base has no types
    name = models.CharField(primary_key=True, max_length=40)
    email = models.CharField(max_length=60)

    USERNAME_FIELD = "name"
    objects = MariaManager()

    class Meta:
        app_label = "django_people"
        db_table = f"ott_test_{uuid.uuid4().hex[:12]}"


class TestMariaDB:
    @pytest.fixture(autouse=True)
    def _table(self) -> Iterator[None]:
        installed = [*django_project.SETTINGS["INSTALLED_APPS"], "django_people"]
        with mariadb() as server:
            with server.schema_editor() as editor:
                editor.create_model(MariaUser)
            try:
                with (
                    override_settings(INSTALLED_APPS=installed),
                    override_settings(
                        INSTALLED_APPS=installed, AUTH_USER_MODEL="django_people.MariaUser"
                    ),
                ):
                    MariaUser(name="ada", email="ada@example.com").save(using="ott_mariadb")
                    yield
            finally:
                with server.schema_editor() as editor:
                    editor.delete_model(MariaUser)
                apps.all_models["django_people"].pop("mariauser", None)
                apps.clear_cache()

    def test_default_collation(self) -> None:
        equal = ["ada@exämple.com", "adà@example.com", "ADA@EXAMPLE.COM", "ada@example.com "]
        for email in equal:
            # What makes this a test: the server holds the two for equal.
            assert MariaUser.objects.filter(email=email).exists(), email
            with pytest.raises(NoAccount):
                DjangoSession(match="email").resolve(arriving(email=email))
        for name in ("ADA", "àda", "ada ", "ä\u0301da"):
            with pytest.raises(NoAccount):
                DjangoSession(match="id").resolve(arriving(name))
        for match, session in (
            ("email", arriving(email="ada@example.com")),
            ("id", arriving("ada")),
        ):
            found: Any = DjangoSession(match=match).resolve(session)
            assert found.user_id == "ada"
