from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timezone

import pytest

from ott_middleware.copies import copy_unchecked
from ott_middleware.http import Cookie, Request, Response
from ott_middleware.sessions import SealedSession, Session


@dataclass(frozen=True)
class LoudCookie(Cookie):
    """A class of a user's own, with a rule and a field of its own."""

    volume: int = 0

    def __post_init__(self) -> None:
        Cookie.__post_init__(self)
        if self.value == "quiet":
            raise ValueError("louder")


def test_copy_has_the_changes_and_the_rest() -> None:
    cookie = Cookie("sid", "v", max_age=60, path="/app")
    copy = copy_unchecked(cookie, max_age=5)
    assert copy == Cookie("sid", "v", max_age=5, path="/app")
    assert cookie.max_age == 60
    with pytest.raises(AttributeError):
        copy.max_age = 7  # type: ignore[misc]


def test_class_of_a_user_is_copied_by_its_own_constructor() -> None:
    loud = LoudCookie("sid", "v", volume=11)
    copy = copy_unchecked(loud, max_age=5)
    assert copy == LoudCookie("sid", "v", max_age=5, volume=11)
    with pytest.raises(ValueError, match="louder"):
        copy_unchecked(loud, value="quiet")


def test_cookies_that_were_parsed_stay_with_their_request() -> None:
    request = Request("GET", "http", "/", headers={"cookie": "sid=a"})
    assert request.cookies("sid") == ["a"]
    assert request.with_cookies({"sid": "b"}).cookies("sid") == ["b"]
    assert request.with_headers({"cookie": None}).cookies("sid") == []
    assert request.cookies("sid") == ["a"]


def test_parsed_cookies_can_not_be_changed_from_outside() -> None:
    request = Request("GET", "http", "/", headers={"cookie": "sid=a"})
    request.cookies("sid").append("forged")
    request.cookies_named(["sid"])["sid"].append("forged")
    assert request.cookies("sid") == ["a"]


def test_headers_that_are_added_to_a_response_are_checked() -> None:
    with pytest.raises(ValueError, match="pairs of strings"):
        Response(200).with_headers(("X-Name", "a\r\nSet-Cookie: sid=b"))


def test_session_of_a_later_version_is_read_without_what_is_new() -> None:
    session = Session("s", "t", user_id="1", user={"id": "1"})
    read = Session.from_json({**session.to_json(), "later": "red"})
    assert read == session
    assert "red" not in str(vars(read))


def test_dates_are_written_as_unix_microseconds() -> None:
    # Cookies keep them for two weeks, and other releases read them.
    moment = datetime(2026, 11, 27, 12, 0, 0, 123456, tzinfo=timezone.utc)
    session = Session("s", "t", created_at=moment, expires_at=moment)
    assert session.to_json()["created_at"] == 1_795_780_800_123_456
    assert Session.from_json(session.to_json()).expires_at == moment
    assert Session.from_json({**session.to_json(), "created_at": moment.isoformat()}) == session


def test_seal_of_a_session_is_given_to_no_other() -> None:
    adapter, other = SealedSession("a secret of 16 bytes"), SealedSession("another secret, of 16")
    request = Request("GET", "http", "/")

    def opened(by: SealedSession, value: str) -> Session | None:
        return by.current(Request("GET", "http", "/", headers={"cookie": f"ott_session={value}"}))

    arrived = adapter.resolve(Session("s", "", user_id="1", user={"id": "1"}))
    (cookie,) = adapter.establish(arrived, request)
    assert cookie.value == arrived.token
    # A copy with another user has the same token, which must not sign in the first one.
    (cookie,) = adapter.establish(replace(arrived, user_id="2", user={"id": "2"}), request)
    found = opened(adapter, cookie.value)
    assert found is not None
    assert found.user_id == "2"
    # Under the secret of this adapter alone.
    (cookie,) = other.establish(arrived, request)
    assert opened(adapter, cookie.value) is None
    assert opened(other, cookie.value) is not None
