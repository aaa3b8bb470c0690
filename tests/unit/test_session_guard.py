from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from harness import NOW, Clock, Members, WaitingMembers, main_lines, moment, person

from ott_middleware import SealedSession, Session, SignInAdapter
from ott_middleware.concurrency import choose_run, drive, inline, on_loop
from ott_middleware.errors import SessionExpired, SessionUnavailable
from ott_middleware.flow.session_guard import SessionGuard
from ott_middleware.http import Cookie, Request

ALICE = person("alice")


def request(cookie: str | None = "sid=alice-cookie", **more: Any) -> Request:
    headers = {"cookie": cookie} if cookie else {}
    return Request("GET", more.pop("scheme", "http"), "/", headers=headers, **more)


def keep(adapter: Any, **more: Any) -> SessionGuard:
    return SessionGuard(adapter, bind=more.pop("bind", inline), clock=Clock(NOW), **more)


class Says(Members):
    """Answers whatever it is told to."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer

    def current(self, request: Any) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def establish(self, session: Session, request: Any) -> Any:
        return self.current(request)


def test_current_is_who_the_adapter_says() -> None:
    guard = keep(Members(ALICE))
    assert drive(guard.current(request())) is ALICE
    assert drive(guard.current(request(None))) is None
    assert guard.current_now(request()) is ALICE


@pytest.mark.parametrize("error", [SessionExpired("as it is"), SessionUnavailable("as it is")])
def test_error_of_this_package_passes_a_synchronous_caller(error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        keep(Says(error)).current_now(request())
    assert caught.value is error


def test_error_of_the_adapter_is_named_for_a_synchronous_caller() -> None:
    with pytest.raises(SessionUnavailable, match=r"Says.current raised ValueError at") as caught:
        keep(Says(ValueError("alice-cookie"))).current_now(request())
    assert "alice-cookie" not in str(caught.value)


def test_an_expired_session_is_nobody_s_whatever_the_adapter_says() -> None:
    guard = keep(Says(person("alice", expires_at=moment(NOW))))
    assert drive(guard.current(request())) is None


@pytest.mark.parametrize("lie", ["alice", {"id": "alice"}, True, 0, ""])
def test_what_is_no_session_is_the_adapter_s_failure(lie: Any) -> None:
    with pytest.raises(SessionUnavailable, match=rf"Says.current returned a {type(lie).__name__}"):
        drive(keep(Says(lie)).current(request()))


def test_a_failure_is_named_by_its_type_alone() -> None:
    guard = keep(Says(LookupError("sid=alice-cookie")))
    with pytest.raises(SessionUnavailable, match=r"Says\.current raised LookupError") as caught:
        drive(guard.current(request()))
    assert "cookie" not in str(caught.value)


def test_only_an_adapter_that_can_tell_vouches() -> None:
    adapter = Members(ALICE)
    guard = keep(adapter)
    assert drive(guard.current_if_verifiable(request())) is ALICE
    adapter.vouches = False  # type: ignore[misc]  # the class says it, here one instance
    assert drive(guard.current_if_verifiable(request())) is None


def test_quietly_logs_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    guard = keep(Says(ValueError("sid=alice-cookie")))
    assert drive(guard.current_or_log(request())) is None
    (record,) = main_lines(caplog)
    assert record.levelno == logging.ERROR
    assert "Says.current raised ValueError" in record.message
    assert "cookie" not in record.message


# Synchronous questions.


def test_on_a_loop_an_adapter_that_waits_must_be_awaited() -> None:
    class Blocks(Members):
        blocks = True

    async def ask(adapter: Members) -> None:
        guard = keep(adapter, bind=on_loop)
        with pytest.raises(RuntimeError, match="await asession"):
            guard.current_now(request())
        assert await guard.current(request()) is ALICE

    asyncio.run(ask(WaitingMembers(ALICE)))
    asyncio.run(ask(Blocks(ALICE)))


def test_in_a_thread_of_an_asynchronous_app_a_blocking_adapter_may_block() -> None:
    class Blocks(Members):
        blocks = True

    async def ask() -> None:
        guard = keep(Blocks(ALICE), bind=on_loop)
        assert await asyncio.to_thread(guard.current_now, request()) is ALICE
        waiting = keep(WaitingMembers(ALICE), bind=on_loop)
        # Its loop is another thread's.
        with pytest.raises(RuntimeError, match="await asession"):
            await asyncio.to_thread(waiting.current_now, request())

    asyncio.run(ask())


def test_a_synchronous_front_waits_for_an_adapter_that_waits() -> None:
    adapter = WaitingMembers(ALICE)
    guard = keep(adapter, bind=inline, run=choose_run(adapter.current))
    assert guard.current_now(request()) is ALICE


# Cookies.


def established(adapter: Any, session: Session = ALICE, scheme: str = "http") -> tuple[Cookie, ...]:
    return drive(keep(adapter).establish(session, request(scheme=scheme)))


@pytest.mark.parametrize(
    ("scheme", "stated", "secure"),
    [
        ("http", None, False),
        ("https", None, True),
        ("http", True, True),
        ("https", False, False),
    ],
)
def test_secure_is_what_was_said_else_what_the_request_came_by(
    scheme: str, stated: bool | None, secure: bool
) -> None:
    (cookie,) = established(Says([Cookie("sid", "v", secure=stated)]), ALICE, scheme)
    assert cookie.secure is secure


@pytest.mark.parametrize(
    ("asked", "left", "persistent", "max_age"),
    [
        (60, 3600, True, 60),
        (7200, 3600, True, 3600),
        (7200, None, True, 7200),
        (None, 3600, True, None),
        (60, 3600, False, None),
        (60, None, False, None),
        (0, 3600, True, 0),
        (0, 3600, False, 0),  # a deletion stays one
    ],
)
def test_no_cookie_outlives_its_session(
    asked: int | None, left: int | None, persistent: bool, max_age: int | None
) -> None:
    end = None if left is None else moment(NOW + left)
    session = person("alice", expires_at=end, persistent=persistent)
    (cookie,) = established(Says([Cookie("sid", "v", max_age=asked)]), session)
    # A date has microseconds, the clock has more.
    assert cookie.max_age == max_age or (max_age and cookie.max_age == max_age - 1)


@pytest.mark.parametrize("left", [0.9, 0, -5])
def test_a_session_that_no_cookie_is_short_enough_for_is_over(left: float) -> None:
    session = person("alice", expires_at=moment(NOW + left))
    with pytest.raises(SessionExpired):
        established(Says([Cookie("sid", "v", max_age=60)]), session)
    # A cookie that is deleted is deleted all the same.
    (cookie,) = established(Says([Cookie("sid", "", max_age=0)]), session)
    assert cookie.max_age == 0


def test_cookies_may_be_yielded() -> None:
    class Yields(Members):
        def establish(self, session: Session, request: Any) -> Any:
            yield Cookie("a", "1")
            yield Cookie("b", "2")

    assert [cookie.name for cookie in established(Yields())] == ["a", "b"]


@pytest.mark.parametrize("lie", [None, 5, "ab", ["sid=v"], [None], [{"name": "sid"}]])
def test_what_is_no_cookie_is_the_adapter_s_failure(lie: Any) -> None:
    with pytest.raises(SessionUnavailable, match=r"Says\.establish returned a"):
        established(Says(lie))


def test_cookies_that_fail_half_way_are_the_adapter_s_failure() -> None:
    class Breaks(Members):
        def establish(self, session: Session, request: Any) -> Any:
            yield Cookie("a", "1")
            raise LookupError("alice-cookie")

    with pytest.raises(SessionUnavailable, match="LookupError") as caught:
        established(Breaks())
    assert "alice-cookie" not in str(caught.value)


# Where the session is the adapter's own.


def test_beginning_and_ending() -> None:
    guard = keep(SealedSession(b"0123456789abcdef"))
    assert guard.signs_in
    assert not keep(Members()).signs_in
    assert guard.require_sign_in_adapter().start("alice", remember=True).user_id == "alice"
    for scheme in ("http", "https"):
        (cookie,) = guard.end(request(scheme=scheme))
        assert cookie.max_age == 0
        assert cookie.secure is (scheme == "https")
    (stated,) = keep(SealedSession(b"0123456789abcdef", secure=True)).end(request())
    assert stated.secure is True


# REMOTE_USER.


def named(answer: Any) -> str | None:
    def remote_user(session: Session) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    guard = keep(SealedSession(b"0123456789abcdef", remote_user=remote_user))
    assert guard.sets_remote_user
    return drive(guard.remote_user(ALICE))


def test_a_name_is_written_as_wsgi_has_it() -> None:
    assert named("alice") == "alice"
    assert named("zoë") == "zoë".encode().decode("latin-1")
    assert named(None) is None


@pytest.mark.parametrize("bad", ["", "a\nb", "a\0", "a\u2028b", "\ud800", 7, b"alice", True])
def test_a_name_that_could_be_taken_for_another_is_nobody_s(
    bad: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert named(bad) is None
    (record,) = main_lines(caplog)
    assert "goes on without" in record.message


def test_a_remote_user_that_fails_is_nobody(caplog: pytest.LogCaptureFixture) -> None:
    assert named(KeyError("alice-cookie")) is None
    (record,) = main_lines(caplog)
    assert "remote_user= raised KeyError at test_session_guard.py" in record.message
    assert "cookie" not in record.message


def test_nobody_has_no_name() -> None:
    guard = keep(SealedSession(b"0123456789abcdef", remote_user=lambda session: "everybody"))
    assert drive(guard.remote_user(None)) is None
    plain = keep(Members(ALICE))
    assert not plain.sets_remote_user
    assert drive(plain.remote_user(ALICE)) is None


class Engine(Members):
    """An ordinary adapter, whose `start()`, `end()` and `remote_user` do not sign users in."""

    remote_user = "postgres"

    def start(self) -> None:
        raise AssertionError("not called")

    def end(self) -> None:
        raise AssertionError("not called")


class TestSignInAdapter:
    def test_unrelated_start_is_not_guessed(self) -> None:
        guard = keep(Engine(ALICE))
        assert (guard.signs_in, guard.sets_remote_user) == (False, False)
        for call in (guard.require_sign_in_adapter, lambda: guard.end(request())):
            with pytest.raises(RuntimeError, match=r"Engine can't sign users .* SealedSession"):
                call()

    def test_sealed_session_is_one(self) -> None:
        assert isinstance(SealedSession("a secret of 32 characters, quite"), SignInAdapter)
        assert keep(SealedSession("a secret of 32 characters, quite")).signs_in

    def test_methods_must_be_defined(self) -> None:
        with pytest.raises(TypeError, match="SignInAdapter must define start"):
            SignInAdapter().start("alice", remember=True)
        with pytest.raises(TypeError, match="SignInAdapter must define end"):
            SignInAdapter().end(request())


def test_adapter_that_deletes_nothing_is_not_asked_to() -> None:
    guard = keep(Members(ALICE))
    assert not guard.discards
    assert drive(guard.discard((), request())) is None
