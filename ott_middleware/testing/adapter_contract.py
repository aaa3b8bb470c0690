"""The contract of a session adapter, as tests."""

from __future__ import annotations

import asyncio
import json
import time
import unittest
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

from ..concurrency import drive, in_caller, inline, is_async, on_loop, run_on_own_loop
from ..errors import SessionExpired
from ..http.client_text import MAX_COOKIE_VALUE
from ..http.cookies import Cookie
from ..http.encoding import to_json
from ..http.messages import Request
from ..sessions.base import Session, SessionAdapter
from .store import Clock

# Values that a client may send in place of a cookie: of any length, of any bytes.
_RUBBISH = (
    "x",
    "-",
    ".",
    "..",
    "null",
    "{}",
    '"',
    '"a\\054b"',
    "%00",
    "a=b",
    "\x80\xff\xfe",
    "Ã©",
    "../../etc/passwd",
    "' OR ''='",
    "A" * 100_000,
    "A" * MAX_COOKIE_VALUE,  # a longer one is read by no adapter that asks the request
    "." * 5_000,
    "[" * 5_000,
    "{}:" * 5_000,
)
# What a session of another site may hold in place of a cookie's value. None can be a cookie.
_FOREIGN = ("", ";", "other.AQIDBAUGBwgJCgsMDQ4PEBESExQ;", "{};", "\0", "☃")
_SHORTEST = 8  # what is shorter may stand anywhere by accident
# Seconds for which a session of another site may last: longer than those of any site here.
_FAR = 50 * 366 * 86400


class SessionAdapterContract:
    """What any session adapter must do. Derive from it in a module of pytest tests::

        from ott_middleware.testing import SessionAdapterContract

        class TestMine(SessionAdapterContract):
            def make_adapter(self, clock):
                return MySession(clock=clock)

            def sign_in(self, adapter):
                return {"sid": STORE.new_session("alice")}

    Each test runs in both colours: the methods called by synchronous code, and on an event loop.
    What is not defined is left out: see `sign_out`, `anonymous` and `visit_app`. The adapter must
    be one that the sessions of a site with the same adapter may come to.

    :cvar user_id: the user that `sign_in` signs in; None where the adapter can't know.
    :cvar follows_clock: whether the adapter's sessions expire by the clock that it was given; else
        their expiry is not tested. Where the framework takes no clock, a fixture may set its time,
        as by `monkeypatch.setattr(time, "time", clock)` in `make_adapter`.
    :cvar lifetime: seconds that a session of this site lasts at most; None where it has no end.
    """

    user_id: str | None = "alice"
    follows_clock: bool = True
    lifetime: float | None = None

    def make_adapter(self, clock: Callable[[], float]) -> SessionAdapter:
        """A new adapter that goes by `clock`."""
        raise NotImplementedError(f"{type(self).__name__} must define make_adapter(self, clock)")

    def sign_in(self, adapter: SessionAdapter) -> Mapping[str, str]:
        """Begin a session of `user_id`, as the app would; the browser's cookies, by name."""
        raise NotImplementedError(f"{type(self).__name__} must define sign_in(self, adapter)")

    def sign_out(self, adapter: SessionAdapter, cookies: Mapping[str, str]) -> None:
        """End the session behind the cookies on the server, as the app would.

        Leave it undefined where the cookie is all there is of a session.
        """
        raise unittest.SkipTest("sign_out() is not defined")

    def anonymous(self, adapter: SessionAdapter) -> Mapping[str, str]:
        """Begin a session without a signed-in user; return the browser's cookies."""
        raise unittest.SkipTest("anonymous() is not defined")

    def visit_app(
        self, adapter: SessionAdapter, cookies: Mapping[str, str], *, clear: bool = False
    ) -> tuple[str | None, Mapping[str, str]]:
        """Visit the app itself, as a browser with these cookies: its own view of the session.

        :param clear: have the app empty the session, and then put the same user and some new value
            into it. Else the app writes some value to the session and leaves the rest.
        :return: the user that the app sees, before it changes anything; and the browser's cookies
            after the response, those that it set included.
        """
        raise NotImplementedError(f"{type(self).__name__} must define visit_app(...)")

    def pytest_generate_tests(self, metafunc: Any) -> None:
        """Run the tests in both colours."""
        if "colour" in metafunc.fixturenames:
            metafunc.parametrize("colour", ["sync", "async"])

    # The session of a request.

    def test_who_is_signed_in_is_found(self, colour: str) -> None:
        asked = self._asked(colour)
        cookies = self.sign_in(asked.adapter)
        session = asked.signed_in(cookies)
        assert session.user_id == self.user_id
        assert not session.expired(asked.clock()), "a session that has just begun has not ended"
        again = asked.signed_in(cookies)
        assert (again.id, again.user_id) == (session.id, session.user_id)

    def test_who_sends_no_cookie_is_nobody(self, colour: str) -> None:
        asked = self._asked(colour)
        cookies = self.sign_in(asked.adapter)
        assert asked.current({}) is None
        assert asked.current({f"not-{name}": value for name, value in cookies.items()}) is None
        assert asked.current(dict.fromkeys(cookies, "")) is None, "an empty cookie is none"

    def test_an_anonymous_session_is_nobody(self, colour: str) -> None:
        asked = self._asked(colour)
        cookies = self.anonymous(asked.adapter)
        assert asked.current(cookies) is None

    def test_rubbish_is_nobody_and_breaks_nothing(self, colour: str) -> None:
        asked = self._asked(colour)
        names = list(self.sign_in(asked.adapter))
        for value in _RUBBISH:
            found = asked.current(dict.fromkeys(names, value))
            assert found is None or not asked.adapter.vouches, f"{value[:20]!r} counts as signed in"

    def test_a_forged_cookie_is_nobody(self, colour: str) -> None:
        asked = self._asked(colour)
        cookies = self.sign_in(asked.adapter)
        for how, forge in _FORGERIES.items():
            forged = {name: forge(value) for name, value in cookies.items()}
            found = asked.current(forged)
            assert found is None or not asked.adapter.vouches, f"a cookie {how} counts as signed in"

    # What travels.

    def test_a_session_survives_its_way(self, colour: str) -> None:
        asked = self._asked(colour)
        session = asked.signed_in(self.sign_in(asked.adapter))
        arrived = asked.arrive(session)
        assert arrived is not None, "resolve() turned down a session that lives"
        assert arrived.user_id == self.user_id
        assert not arrived.expired(asked.clock())

    def test_who_arrives_is_signed_in(self, colour: str) -> None:
        asked = self._asked(colour)
        session = asked.signed_in(self.sign_in(asked.adapter))
        cookies = asked.establish(asked.arrive(session), {})
        assert cookies, "establish() set no cookie"
        for cookie in cookies:
            assert isinstance(cookie, Cookie)
        missing = set(asked.adapter.cookie_names) - {cookie.name for cookie in cookies}
        assert not missing, f"cookie_names has {missing}, which establish() does not set"
        found = asked.signed_in(asked.browser({}, cookies))
        assert found.user_id == self.user_id, "establish() signed in another user"

    def test_a_visitor_s_own_session_is_not_promoted(self, colour: str) -> None:
        asked = self._asked(colour)
        visitor = self.anonymous(asked.adapter)
        session = asked.signed_in(self.sign_in(asked.adapter))
        cookies = asked.establish(asked.arrive(session), visitor)
        assert asked.signed_in(asked.browser(visitor, cookies)).user_id == self.user_id
        # Whoever planted it in the browser still knows it.
        assert asked.current(visitor) is None, "the session that the visitor had is signed in"

    def test_what_is_no_session_of_here_is_never_a_cookie(self, colour: str) -> None:
        asked = self._asked(colour)
        exposed = asked.adapter.expose(asked.signed_in(self.sign_in(asked.adapter)))
        for token in _FOREIGN:
            arrived = asked.resolve(replace(exposed, token=token))
            if arrived is None:
                continue
            assert not token or arrived.token != token, f"resolve() left {token!r} as the token"
            for cookie in asked.establish(arrived, {}):
                assert not cookie.value or cookie.value != token

    # When it ends.

    def test_a_session_that_was_signed_out_is_not_found(self, colour: str) -> None:
        asked = self._asked(colour)
        cookies = self.sign_in(asked.adapter)
        session = asked.signed_in(cookies)
        self.sign_out(asked.adapter, cookies)
        if not asked.adapter.vouches:
            raise unittest.SkipTest("the adapter does not vouch for its sessions")
        assert asked.current(cookies) is None, "current() finds a session that was signed out"
        assert asked.arrive(session) is None, "resolve() finds a session that was signed out"

    def test_a_session_that_expired_is_over(self, colour: str) -> None:
        asked = self._asked(colour)
        cookies = self.sign_in(asked.adapter)
        session = asked.signed_in(cookies)
        if session.expires_at is None or not self.follows_clock:
            raise unittest.SkipTest("the session's end is not known, or not by this clock")
        exposed = asked.adapter.expose(session)
        assert exposed.expires_at is not None, "expose() forgot when the session ends"
        asked.clock.now = session.expires_at.timestamp() + 1
        assert asked.current(cookies) is None, "current() finds a session that has expired"
        assert asked.is_over(session), "resolve() finds a session that has expired"

    # No session outlives the one that it comes from, nor this site's own lifetime.

    def test_an_arrival_ends_with_its_parent(self, colour: str) -> None:
        asked = self._asked(colour)
        cookies, end = self._arrival(asked)
        if end is not None:
            self._ends(asked, cookies, end)

    def test_an_arrival_ends_with_this_site_s_lifetime(self, colour: str) -> None:
        for far in (_FAR, None) if self.lifetime is not None else ():
            asked = self._asked(colour)
            now = self._now(asked)
            known = asked.adapter.expose(asked.signed_in(self.sign_in(asked.adapter)))
            lasting = replace(
                known, token="", expires_at=None if far is None else _moment(now + far)
            )
            cookies = asked.browser({}, asked.establish(lasting, {}))
            self._ends(asked, cookies, self._now(asked) + (self.lifetime or 0))

    def test_an_arrival_that_the_app_writes_to_ends_no_later(self, colour: str) -> None:
        asked = self._asked(colour)
        self._visited(asked, clear=False)

    def test_an_arrival_that_the_app_empties_ends_no_later(self, colour: str) -> None:
        asked = self._asked(colour)
        self._visited(asked, clear=True)

    def _arrival(self, asked: _Asked) -> tuple[Mapping[str, str], float | None]:
        """The cookies of a browser that a session arrived in, and when it has to end if ever."""
        parent = asked.signed_in(self.sign_in(asked.adapter))
        if parent.expires_at is None:
            return {}, None
        end = parent.expires_at.timestamp()
        if self.follows_clock:
            # A copy that gets a full lifetime of its own would end after its parent.
            asked.clock.now += min(100.0, (end - asked.clock()) / 2)
        cookies = asked.browser({}, asked.establish(asked.arrive(parent), {}))
        latest = end if self.lifetime is None else self._now(asked) + self.lifetime
        return cookies, min(end, latest)

    def _visited(self, asked: _Asked, *, clear: bool) -> None:
        """Let a session arrive and visit the app, the last time just before the end."""
        cookies, end = self._arrival(asked)
        if end is None or not self._visits:
            return
        if not asked.adapter.bounds_app:
            raise unittest.SkipTest("the adapter says that it does not bound what the app sees")
        moments = [self._now(asked)]
        if self.follows_clock:
            moments += [(moments[0] + end) / 2, end - 1]
        for moment in moments:
            asked.clock.now = moment
            user, cookies = self.visit_app(asked.adapter, cookies, clear=clear)
            assert user == self.user_id, "the app does not see the user of the token"
        self._ends(asked, cookies, end)

    def _ends(self, asked: _Asked, cookies: Mapping[str, str], end: float) -> None:
        found = asked.signed_in(cookies)
        assert found.user_id == self.user_id
        assert found.expires_at is not None, "current() does not know when an arrival ends"
        late = found.expires_at.timestamp() - end
        # Another clock goes on between two looks.
        may_be = 0 if self.follows_clock else 1
        assert late <= may_be, f"an arrival ends {late} s later than it may"
        if not self.follows_clock:
            return
        asked.clock.now = end
        assert asked.current(cookies) is None, "current() finds an arrival after its end"
        assert asked.is_over(found), "resolve() finds an arrival after its end"
        if asked.adapter.bounds_app and self._visits:
            user, _ = self.visit_app(asked.adapter, cookies)
            assert user is None, "the app sees an arrival after its end"

    @property
    def _visits(self) -> bool:
        return type(self).visit_app is not SessionAdapterContract.visit_app

    def _now(self, asked: _Asked) -> float:
        return asked.clock() if self.follows_clock else time.time()

    # What may be seen.

    def test_nothing_but_the_token_holds_a_cookie(self, colour: str) -> None:
        asked = self._asked(colour)
        cookies = self.sign_in(asked.adapter)
        session = asked.signed_in(cookies)
        for each in (session, asked.adapter.expose(session), asked.arrive(session)):
            assert each is not None
            shown = {
                "repr": repr(each),
                "id": each.id,
                "user_id": str(each.user_id),
                "user": _text(each.user),
                "data": _text(each.data),
            }
            for value in cookies.values():
                for where, text in shown.items():
                    seen = len(value) >= _SHORTEST and value in text
                    assert not seen, f"{where} of a session holds a cookie's value"
        for value in cookies.values():
            seen = len(value) >= _SHORTEST and value in repr(asked.adapter)
            assert not seen, "repr of the adapter holds a cookie's value"

    def _asked(self, colour: str) -> _Asked:
        clock = Clock()
        return _Asked(self.make_adapter(clock), clock, colour)


def _swapped(value: str, at: int) -> str:
    other = "A" if value[at : at + 1] != "A" else "B"
    return value[:at] + other + value[at + 1 :]


_FORGERIES: Mapping[str, Callable[[str], str]] = {
    "without its end": lambda value: value[:-1],
    "without its beginning": lambda value: value[1:],
    "cut in half": lambda value: value[: len(value) // 2],
    "with more at its end": lambda value: f"{value}x",
    "sent twice over": lambda value: value + value,
    "of another beginning": lambda value: _swapped(value, 0),
    "of another middle": lambda value: _swapped(value, len(value) // 2),
    "turned round": lambda value: value[::-1],
    "in the other case": str.swapcase,
}


class _Asked:
    """An adapter, asked in one colour."""

    def __init__(self, adapter: SessionAdapter, clock: Clock, colour: str) -> None:
        self.adapter = adapter
        self.clock = clock
        self._colour = colour

    def current(self, cookies: Mapping[str, str]) -> Session | None:
        """The session that the adapter finds in a request with these cookies."""
        found = self._call(self.adapter.current, _request(cookies))
        assert found is None or isinstance(found, Session), "current() gives a Session, or None"
        # As the middleware has it: an adapter need not look at the clock by itself.
        return None if found is None or found.expired(self.clock()) else found

    def signed_in(self, cookies: Mapping[str, str]) -> Session:
        """The same, where a user must be signed in."""
        session = self.current(cookies)
        assert session is not None, "current() does not find the signed-in user"
        return session

    def arrive(self, session: Session) -> Session | None:
        """A session, exposed, carried over and resolved."""
        exposed = self.adapter.expose(session)
        assert isinstance(exposed, Session), "expose() gives a Session, and at once"
        carried = json.loads(to_json(exposed.to_json()))
        return self.resolve(Session.from_json(carried))

    def is_over(self, session: Session) -> bool:
        """Whether a session that arrives has ended."""
        try:
            found = self.arrive(session)
        except SessionExpired:
            return True
        return found is None or found.expired(self.clock())

    def resolve(self, session: Session) -> Session | None:
        """The session as it is now."""
        found = self._call(self.adapter.resolve, session)
        assert found is None or isinstance(found, Session), "resolve() gives a Session, or None"
        return found

    def establish(self, session: Session | None, cookies: Mapping[str, str]) -> list[Cookie]:
        """The cookies that a browser with these cookies gets."""
        assert session is not None, "resolve() turned down a session that lives"
        return list(self._call(self.adapter.establish, session, _request(cookies)))

    def browser(self, before: Mapping[str, str], cookies: list[Cookie]) -> dict[str, str]:
        """What a browser sends after it got these cookies."""
        after = {**before, **{cookie.name: cookie.value for cookie in cookies}}
        return {name: value for name, value in after.items() if value}

    def _call(self, method: Callable[..., Any], *arguments: Any) -> Any:
        if self._colour == "async":

            async def whole() -> Any:
                return await on_loop(method)(*arguments)

            return asyncio.run(whole())
        if is_async(method):

            async def waited() -> Any:
                return await in_caller(method)(*arguments)

            return run_on_own_loop(waited())

        async def at_once() -> Any:
            return await inline(method)(*arguments)

        return drive(at_once())


def _request(cookies: Mapping[str, str]) -> Request:
    return Request("GET", "https", "/", headers={"host": "app.example"}).with_cookies(cookies)


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)


def _text(values: Mapping[str, Any] | None) -> str:
    return json.dumps(None if values is None else dict(values), default=repr, ensure_ascii=False)
