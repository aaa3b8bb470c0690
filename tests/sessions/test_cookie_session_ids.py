"""The id of a `CookieSession`: made of the user where `validate` or `probe` know the user."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from harness import Reply, Seen, Site, World, set_cookie

from ott_middleware import ConfigurationError, CookieSession, Session
from ott_middleware.http import Request
from ott_middleware.sessions.base import session_id


def current(adapter: CookieSession, cookie: str) -> Session:
    session = adapter.current(Request("GET", "http", "/", headers={"cookie": cookie}))
    assert isinstance(session, Session)
    return session


def validate(values: Any) -> Any:
    """A cookie as Pyramid's: the user, and a signature that is new in each response."""
    user, _, _ = values["sid"].partition(".")
    return {"user_id": user} if user else None


class Signed:
    """An app that signs its cookie anew with each response, and deletes it at `/logout`."""

    def __init__(self) -> None:
        self.count = itertools.count()

    def __call__(self, seen: Seen) -> Reply:
        if seen.path == "/logout":
            return Reply(200, [set_cookie("sid", "", max_age=0)])
        user = seen.cookies.get("sid", "").partition(".")[0]
        if seen.path == "/me":
            return Reply(200, (), b'{"id": "%s"}' % user.encode()) if user else Reply(401)
        return Reply(200, [set_cookie("sid", f"{user}.{next(self.count)}")])


def serve(world: World, **how: Any) -> Site:
    options = {name: how.pop(name) for name in list(how) if name in ("validate", "probe")}
    return world.serve(Signed(), session=CookieSession("sid", renews_key=True, **options), **how)


KNOWING = [{"validate": validate}, {"probe": "/me"}]


class TestIdOfTheUser:
    def test_id_stays_when_the_value_changes(self) -> None:
        adapter = CookieSession("sid", validate=validate)
        assert current(adapter, "sid=ada.1").id == current(adapter, "sid=ada.2").id
        assert current(adapter, "sid=ada.1").id != current(adapter, "sid=bob.1").id

    def test_id_shows_neither_user_nor_value(self) -> None:
        session = current(CookieSession("sid", validate=validate), "sid=ada.1")
        assert len(session.id) == 43
        assert "ada" not in session.id

    def test_id_that_validate_returns_comes_first(self) -> None:
        adapter = CookieSession("sid", validate=lambda values: {"id": "row 5", "user_id": "7"})
        assert current(adapter, "sid=x").id == "row 5"

    def test_ids_of_other_apps_and_users_differ(self) -> None:
        def named(user: Any) -> Any:
            return lambda values: {"user_id": user}

        adapters = [
            CookieSession("sid", validate=named("7")),
            CookieSession("sessionid", validate=named("7")),
            CookieSession("sid", "sessionid", validate=named("7")),
            # Ids that hold what stands between the parts of an id.
            CookieSession("sid", validate=named("7\0")),
            CookieSession("sid", validate=named('["sid"]\x007')),
            CookieSession("sid", validate=named("77")),
            CookieSession("sid", validate=lambda values: {}),
        ]
        ids = {current(adapter, "sid=x; sessionid=x").id for adapter in adapters}
        assert len(ids) == len(adapters)
        # Nor is one the id of a framework's session, of a user with the same id.
        frameworks = {session_id(kind, "7") for kind in ("flask", "starlette", "django", "cookie")}
        assert not ids & frameworks

    def test_order_of_the_names_makes_no_difference(self) -> None:
        one = CookieSession("a", "b", validate=lambda values: {"user_id": 7})
        other = CookieSession("b", "a", validate=lambda values: {"user_id": "7"})
        assert current(one, "a=1; b=2").id == current(other, "a=3; b=4").id

    @pytest.mark.parametrize("value", [None, "", True, False, [], ["x"], {"id": 1}, b"x"])
    def test_value_that_is_no_id_names_no_user(self, value: Any) -> None:
        adapter = CookieSession("sid", validate=lambda values: {"user_id": value})
        first, second = current(adapter, "sid=one"), current(adapter, "sid=two")
        assert first.user_id is None
        # Else all these sessions would be one user's, and one sign-out would end the links of all.
        assert first.id != second.id

    @pytest.mark.parametrize("value", [7, 0, "7", UUID(int=7), SimpleNamespace(row=7)])
    def test_value_of_another_type_is_its_text(self, value: Any) -> None:
        adapter = CookieSession("sid", validate=lambda values: {"user_id": value})
        assert current(adapter, "sid=x").user_id == str(value)

    def test_user_id_that_is_the_cookie_is_no_id(self) -> None:
        adapter = CookieSession("sid", validate=lambda values: {"user_id": values["sid"]})
        session = current(adapter, "sid=a-cookie-of-25-characters")
        assert session.user_id is None
        assert session.id != current(adapter, "sid=another-cookie").id


class TestCookieSignedAnew:
    @pytest.mark.parametrize("how", KNOWING)
    def test_max_per_session_counts_the_user(self, world: World, how: Any) -> None:
        site = serve(world, **how)
        tokens = [
            site.generate({"cookie": f"sid=ada.{number}"}).json()["token"] for number in range(11)
        ]
        assert site.verify(tokens[0]).code == "INVALID_TOKEN"
        assert site.verify(tokens[1]).status == 200

    @pytest.mark.parametrize("how", KNOWING)
    def test_sign_out_revokes_tokens_of_the_cookie_before(self, world: World, how: Any) -> None:
        site = serve(world, revoke_on_sign_out=True, **how)
        token = site.generate({"cookie": "sid=ada.1"}).json()["token"]
        others = site.generate({"cookie": "sid=bob.1"}).json()["token"]
        site.get("/", {"cookie": "sid=ada.1"})
        site.get("/logout", {"cookie": "sid=ada.2"})
        assert site.verify(token).code == "INVALID_TOKEN"
        assert site.verify(others).status == 200

    def test_unknown_user_is_warned_of_once(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        site = serve(world, validate=lambda values: {}, revoke_on_sign_out=True)
        for number in range(3):
            site.get("/", {"cookie": f"sid=zoe.{number}x"})
        (record,) = caplog.records
        assert "let validate= return 'user_id' or 'id'" in record.message
        assert "zoe" not in record.message

    def test_stable_cookie_of_an_unknown_user_is_no_reason_to_warn(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        session = CookieSession("sid", validate=lambda values: {}, renews_key=True)
        site = world.serve(session=session, revoke_on_sign_out=True)
        site.get("/", {"cookie": "sid=ada"})
        assert caplog.records == []

    def test_revoke_on_sign_out_without_a_hook_is_refused(self, world: World) -> None:
        with pytest.raises(ConfigurationError, match="probe= or validate="):
            serve(world, revoke_on_sign_out=True)
