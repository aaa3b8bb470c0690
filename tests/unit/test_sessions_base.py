from __future__ import annotations

import dataclasses
import json
from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest
from harness import NOW, moment, person
from hypothesis import given
from hypothesis import strategies as st

from ott_middleware import ConfigurationError, Session, SessionAdapter
from ott_middleware.http import CookieAttributes, Request
from ott_middleware.http.cookies import deletion

SECRET_VALUES = ("the-cookie", "Alice Liddell", "diagnosis")


def whole(**more: Any) -> Session:
    values: dict[str, Any] = {
        "id": "s1",
        "token": "the-cookie",
        "user_id": "u1",
        "user": {"name": "Alice Liddell"},
        "data": {"note": "diagnosis"},
    }
    return Session(**{**values, **more})


def test_no_repr_shows_the_cookie_or_the_person() -> None:
    shown = f"{whole()!r} {whole()!s}"
    assert "s1" in shown
    for secret in SECRET_VALUES:
        assert secret not in shown


def test_a_session_is_frozen_all_through() -> None:
    given_user, given_data = {"name": "a"}, {"k": "v"}
    session = whole(user=given_user, data=given_data)
    given_user["name"] = given_data["k"] = "changed"
    assert session.user == {"name": "a"}
    assert session.data == {"k": "v"}
    with pytest.raises(dataclasses.FrozenInstanceError):
        session.id = "other"  # type: ignore[misc]  # refused, as the test shows
    with pytest.raises(TypeError):
        session.data["k"] = "x"  # type: ignore[index]  # refused, as the test shows
    with pytest.raises(TypeError):
        session.user["k"] = "x"  # type: ignore[index]  # refused, as the test shows


@pytest.mark.parametrize("bad", ["", None, 7, b"s"])
def test_an_id_is_a_str_that_is_not_empty(bad: Any) -> None:
    with pytest.raises(ValueError, match="an id"):
        whole(id=bad)


@pytest.mark.parametrize("bad", [None, 7, b"cookie"])
def test_a_token_is_a_str(bad: Any) -> None:
    with pytest.raises(ValueError, match="token"):
        whole(token=bad)


@pytest.mark.parametrize("name", ["created_at", "expires_at"])
@pytest.mark.parametrize("bad", [datetime(2026, 1, 1), date(2026, 1, 1), 1_800_000_000, "2026"])
def test_dates_are_aware(name: str, bad: Any) -> None:
    with pytest.raises(ValueError, match=f"{name} must be a datetime with a time zone"):
        whole(**{name: bad})


def test_dates_are_kept_in_utc() -> None:
    eastern = datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    session = whole(created_at=eastern, expires_at=eastern)
    assert session.created_at == eastern
    assert session.expires_at is not None
    assert session.expires_at.tzinfo is timezone.utc
    assert session.expires_at.hour == 10


def test_a_derived_session_with_slots_is_frozen_all_through() -> None:
    @dataclasses.dataclass(frozen=True, slots=True)
    class Tenant(Session):
        tenant: str = "first"
        tags: list[str] = dataclasses.field(default_factory=list)

    user, east = {"id": "alice"}, timezone(timedelta(hours=3))
    session = Tenant("id", "token", user=user, expires_at=moment(NOW).astimezone(east))
    user["id"] = "bob"
    assert session.user == {"id": "alice"}
    assert session.expires_at is not None
    assert session.expires_at.tzinfo is timezone.utc
    back = Tenant.from_json(json.loads(json.dumps(session.to_json())))
    assert (back, back.tenant, back.tags) == (session, "first", [])


def test_a_session_ends_at_its_end() -> None:
    session = whole(expires_at=moment(NOW))
    assert not session.expired(NOW - 1)
    assert session.expired(session.expires_at.timestamp())  # type: ignore[union-attr]  # it is there
    assert session.expired(NOW + 1)
    assert not whole().expired(1e15)


def test_who_is_the_same_person() -> None:
    assert whole().is_same_person(whole(id="s2"))
    assert whole(user_id=None).is_same_person(whole(user_id="u2"))  # one session, seen twice
    assert not whole().is_same_person(whole(id="s2", user_id="u2"))
    assert not whole().is_same_person(whole(user_id="u2"))  # the server kept the session's id
    assert not whole(user_id=None).is_same_person(whole(id="s2", user_id=None))
    assert not whole().is_same_person(whole(id="s2", user_id=None))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
MOMENTS = st.none() | st.datetimes(
    min_value=datetime(1990, 1, 1),
    max_value=datetime(2200, 1, 1),
    timezones=st.sampled_from([timezone.utc, timezone(timedelta(hours=-5))]),
)


@given(
    identity=st.text(min_size=1),
    token=st.text(),
    user_id=st.none() | st.text(),
    user=st.none() | st.dictionaries(st.text(), JSON, max_size=3),
    created_at=MOMENTS,
    expires_at=MOMENTS,
    persistent=st.booleans(),
    data=st.dictionaries(st.text(), JSON, max_size=3),
)
def test_any_session_comes_back_from_json(identity: str, **values: Any) -> None:
    session = Session(id=identity, **values)
    assert Session.from_json(json.loads(json.dumps(session.to_json()))) == session


def test_an_adapter_says_what_it_lacks() -> None:
    class Mine(SessionAdapter):
        pass

    mine, request = Mine(), Request("GET", "http", "/")
    for name, call in {
        "current": lambda: mine.current(request),
        "resolve": lambda: mine.resolve(person("alice")),
        "establish": lambda: mine.establish(person("alice"), request),
    }.items():
        with pytest.raises(TypeError, match=rf"Mine must define {name}\(\)"):
            call()
    mine.bind(lambda request: None)  # type: ignore[arg-type,return-value]  # what it is does not matter here
    assert not mine.vouches
    assert not mine.strict


# Attributes.


@pytest.mark.parametrize(
    ("attributes", "name", "cure"),
    [
        ({"domain": "example.com"}, "__Host-sid", "Domain"),
        ({"path": "/app"}, "__Host-sid", "Path"),
        ({"domain": "example.com"}, "__HOST-sid", "Domain"),
        ({"secure": False}, "__Host-sid", "Secure"),
        ({"secure": False}, "__Secure-sid", "Secure"),
        ({"samesite": "None"}, "sid", "secure=True"),
        ({"samesite": "none", "secure": False}, "sid", "secure=True"),
        ({"samesite": "Loose"}, "sid", "samesite"),
        ({"samesite": None}, "sid", "the word"),
        ({"partitioned": True}, "sid", "secure=True"),
        ({"path": "app"}, "sid", "path"),
        ({"path": "/a;b"}, "sid", "path"),
        ({"domain": ""}, "sid", "domain"),
        ({"domain": "a\r\nb"}, "sid", "domain"),
        ({"max_age": 0}, "sid", "max_age"),
        ({"max_age": -5}, "sid", "max_age"),
        ({"max_age": True}, "sid", "max_age"),
        ({"max_age": 1.5}, "sid", "max_age"),
    ],
)
def test_what_browsers_drop_is_refused(attributes: dict[str, Any], name: str, cure: str) -> None:
    with pytest.raises(ConfigurationError, match=cure):
        CookieAttributes(**attributes).check(["fine", name])


@pytest.mark.parametrize("name", ["__Host-sid", "__Secure-sid", "__host-sid"])
def test_a_prefix_makes_its_cookie_secure(name: str) -> None:
    CookieAttributes().check([name])
    assert CookieAttributes().cookie(name, "v").secure is True


def test_all_attributes_reach_the_cookie() -> None:
    attributes = CookieAttributes(
        domain="example.com",
        path="/app",
        secure=True,
        samesite="none",
        max_age=60,
        partitioned=True,
        httponly=False,
    )
    attributes.check(["sid"])
    assert attributes.cookie("sid", "v").header() == (
        "Set-Cookie",
        "sid=v; Max-Age=60; Domain=example.com; Path=/app; Secure; SameSite=None; Partitioned",
    )


@pytest.mark.parametrize(
    ("samesite", "strict"), [("Strict", True), ("strict", True), ("Lax", False), ("None", False)]
)
def test_strict_is_known_in_any_case(samesite: str, strict: bool) -> None:
    assert CookieAttributes(samesite=samesite, secure=True).strict is strict


def test_a_deletion_hits_the_cookie_that_was_set() -> None:
    cookie = CookieAttributes(domain="example.com", path="/app", secure=True).cookie("sid", "v")
    _, line = deletion(cookie).header()
    assert line == (
        "sid=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Domain=example.com; Path=/app; "
        "Secure; HttpOnly; SameSite=Lax"
    )
