"""The contract of a session adapter, as tests.

One module, though it is long: all that an adapter must do stands in one class.
"""

from __future__ import annotations

import json
import time
import unittest
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

from ..http.cookies import Cookie
from ..http.messages import Request
from ..sessions.base import Session, SessionAdapter
from .adapter_driver import AdapterDriver
from .applicable import Contract, needs
from .hostile_cookies import FOREIGN, FORGERIES, RUBBISH
from .store import Clock

# Seconds for which a session of another site may last: longer than those of any site here.
_FAR = 50 * 366 * 86400


class SessionAdapterContract(Contract):
    """What any session adapter must do. Derive from it in a module of pytest tests::

        from ott_middleware.testing import SessionAdapterContract

        class TestMine(SessionAdapterContract):
            def make_adapter(self, clock):
                return MySession(clock=clock)

            def sign_in(self, adapter):
                return {"sid": STORE.new_session("alice")}

    Each test runs twice: the methods are called by synchronous code, and on an event loop. Tests
    that need a method or an attribute which the class does not define are not collected: see
    `sign_out`, `anonymous`, `visit_app`, and the attributes. The adapter must be one that the
    sessions of a site with the same adapter may come to.

    :cvar user_id: the user that `sign_in` signs in; None where the adapter can't know.
    :cvar follows_clock: whether the adapter's sessions expire by the clock that it was given; else
        their expiry is not tested. Where the framework takes no clock, a fixture may set its time,
        as by `monkeypatch.setattr(time, "time", clock)` in `make_adapter`.
    :cvar knows_end: whether `current` tells when the session of `sign_in` ends. False leaves the
        tests of its end out.
    :cvar lifetime: seconds that a session of this site lasts at most; None where it has no end.
    :cvar sets_cookies: whether `establish` sets cookies. False leaves the tests of sessions that
        arrived in a browser out.
    """

    user_id: str | None = "alice"
    follows_clock: bool = True
    knows_end: bool = True
    lifetime: float | None = None
    sets_cookies: bool = True

    def make_adapter(self, clock: Callable[[], float]) -> SessionAdapter:
        """Return a new adapter that goes by `clock`."""
        raise NotImplementedError(f"{type(self).__name__} must define make_adapter(self, clock)")

    def sign_in(self, adapter: SessionAdapter) -> Mapping[str, str]:
        """Begin a session of `user_id`, as the app would; return the browser's cookies by name."""
        raise NotImplementedError(f"{type(self).__name__} must define sign_in(self, adapter)")

    def make_request(self, cookies: Mapping[str, str]) -> Request:
        """Return the request of a client that has these cookies.

        Override it where `current` reads another header: "cookies" are then what `sign_in` returned
        of it, by any name; the tests change them, and leave some out.
        """
        return Request("GET", "https", "/", headers={"host": "app.example"}).with_cookies(cookies)

    def sign_out(self, adapter: SessionAdapter, cookies: Mapping[str, str]) -> None:
        """End the session behind the cookies on the server, as the app would.

        Leave it undefined where the cookie is all there is of a session.
        """
        raise NotImplementedError(f"{type(self).__name__} must define sign_out(...)")

    def anonymous(self, adapter: SessionAdapter) -> Mapping[str, str]:
        """Begin a session without a signed-in user; return the browser's cookies."""
        raise NotImplementedError(f"{type(self).__name__} must define anonymous(...)")

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

    # The session of a request.

    def test_who_is_signed_in_is_found(self, mode: str) -> None:
        driver, cookies, session = self._sign_in(mode)
        assert session.user_id == self.user_id
        assert not session.expired(driver.clock()), "a session that has just begun has not ended"
        again = driver.signed_in(cookies)
        assert (again.id, again.user_id) == (session.id, session.user_id)

    def test_who_sends_no_cookie_is_nobody(self, mode: str) -> None:
        driver, cookies, _ = self._sign_in(mode)
        assert driver.current({}) is None
        assert driver.current({f"not-{name}": value for name, value in cookies.items()}) is None
        assert driver.current(dict.fromkeys(cookies, "")) is None, "an empty cookie is none"

    @needs("anonymous")
    def test_an_anonymous_session_is_nobody(self, mode: str) -> None:
        driver = self._drive(mode)
        cookies = self.anonymous(driver.adapter)
        assert driver.current(cookies) is None

    def test_rubbish_is_nobody_and_breaks_nothing(self, mode: str) -> None:
        driver, cookies, _ = self._sign_in(mode)
        for value in RUBBISH:
            found = driver.verified(dict.fromkeys(cookies, value))
            assert found is None, f"{value[:20]!r} counts as signed in"

    def test_a_forged_cookie_is_nobody(self, mode: str) -> None:
        driver, cookies, _ = self._sign_in(mode)
        for how, forge in FORGERIES.items():
            forged = {name: forge(value) for name, value in cookies.items()}
            assert driver.verified(forged) is None, f"a cookie {how} counts as signed in"

    # What travels.

    def test_a_session_survives_its_way(self, mode: str) -> None:
        driver, _, session = self._sign_in(mode)
        arrived = driver.arrive(session)
        assert arrived is not None, "resolve() turned down a session that lives"
        assert arrived.user_id == self.user_id
        assert not arrived.expired(driver.clock())

    @needs("sets_cookies")
    def test_who_arrives_is_signed_in(self, mode: str) -> None:
        driver, _, session = self._sign_in(mode)
        cookies = driver.establish(driver.arrive(session), {})
        assert cookies, "establish() set no cookie"
        for cookie in cookies:
            assert isinstance(cookie, Cookie)
        missing = set(driver.adapter.cookie_names) - {cookie.name for cookie in cookies}
        assert not missing, f"cookie_names has {missing}, which establish() does not set"
        found = driver.signed_in(driver.browser({}, cookies))
        assert found.user_id == self.user_id, "establish() signed in another user"

    @needs("sets_cookies")
    @needs("anonymous")
    def test_a_visitor_s_own_session_is_not_promoted(self, mode: str) -> None:
        driver, _, session = self._sign_in(mode)
        visitor = self.anonymous(driver.adapter)
        cookies = driver.establish(driver.arrive(session), visitor)
        assert driver.signed_in(driver.browser(visitor, cookies)).user_id == self.user_id
        # Whoever planted it in the browser still knows it.
        assert driver.current(visitor) is None, "the session that the visitor had is signed in"

    def test_what_is_no_session_of_here_is_never_a_cookie(self, mode: str) -> None:
        driver, _, session = self._sign_in(mode)
        exposed = driver.adapter.expose(session)
        for token in FOREIGN:
            arrived = driver.resolve(replace(exposed, token=token))
            if arrived is None:
                continue
            assert not token or arrived.token != token, f"resolve() left {token!r} as the token"
            for cookie in driver.establish(arrived, {}):
                assert not cookie.value or cookie.value != token

    # When it ends.

    @needs("sign_out")
    def test_a_session_that_was_signed_out_is_not_found(self, mode: str) -> None:
        driver, cookies, session = self._sign_in(mode)
        self.sign_out(driver.adapter, cookies)
        if not driver.adapter.vouches:
            raise unittest.SkipTest("the adapter does not vouch for its sessions")
        assert driver.current(cookies) is None, "current() finds a session that was signed out"
        assert driver.arrive(session) is None, "resolve() finds a session that was signed out"

    @needs("follows_clock")
    @needs("knows_end")
    def test_a_session_that_expired_is_over(self, mode: str) -> None:
        driver, cookies, session = self._sign_in(mode)
        end = _end_of(session)
        exposed = driver.adapter.expose(session)
        assert exposed.expires_at is not None, "expose() forgot when the session ends"
        driver.clock.now = end + 1
        assert driver.current(cookies) is None, "current() finds a session that has expired"
        assert driver.is_over(session), "resolve() finds a session that has expired"

    # No session outlives the one that it comes from, nor this site's own lifetime.

    @needs("sets_cookies")
    @needs("knows_end")
    def test_an_arrival_ends_with_its_parent(self, mode: str) -> None:
        self._check_end(*self._arrive(mode))

    @needs("lifetime")
    def test_an_arrival_ends_with_this_site_s_lifetime(self, mode: str) -> None:
        for far in (_FAR, 0):
            driver, _, session = self._sign_in(mode)
            until = self._now(driver) + far
            end = datetime.fromtimestamp(until, timezone.utc) if far else None
            lasting = replace(driver.adapter.expose(session), token="", expires_at=end)
            cookies = driver.browser({}, driver.establish(lasting, {}))
            self._check_end(driver, cookies, self._now(driver) + (self.lifetime or 0))

    @needs("knows_end")
    @needs("visit_app")
    def test_an_arrival_that_the_app_writes_to_ends_no_later(self, mode: str) -> None:
        self._visit_until_end(mode, clear=False)

    @needs("knows_end")
    @needs("visit_app")
    def test_an_arrival_that_the_app_empties_ends_no_later(self, mode: str) -> None:
        self._visit_until_end(mode, clear=True)

    def _arrive(self, mode: str) -> tuple[AdapterDriver, Mapping[str, str], float]:
        """Let a session arrive; return its browser's cookies and when it has to end."""
        driver, _, parent = self._sign_in(mode)
        end = _end_of(parent)
        if self.follows_clock:
            # A copy that gets a full lifetime of its own would end after its parent.
            driver.clock.now += min(100.0, (end - driver.clock()) / 2)
        cookies = driver.browser({}, driver.establish(driver.arrive(parent), {}))
        latest = end if self.lifetime is None else self._now(driver) + self.lifetime
        return driver, cookies, min(end, latest)

    def _visit_until_end(self, mode: str, *, clear: bool) -> None:
        """Let a session arrive and visit the app, the last time just before the end."""
        driver, cookies, end = self._arrive(mode)
        if not driver.adapter.bounds_app:
            raise unittest.SkipTest("the adapter says that it does not bound what the app sees")
        moments = [self._now(driver)]
        if self.follows_clock:
            moments += [(moments[0] + end) / 2, end - 1]
        for moment in moments:
            driver.clock.now = moment
            user, cookies = self.visit_app(driver.adapter, cookies, clear=clear)
            assert user == self.user_id, "the app does not see the user of the token"
        self._check_end(driver, cookies, end)

    def _check_end(self, driver: AdapterDriver, cookies: Mapping[str, str], end: float) -> None:
        found = driver.signed_in(cookies)
        assert found.user_id == self.user_id
        assert found.expires_at is not None, "current() does not know when an arrival ends"
        late = found.expires_at.timestamp() - end
        # A clock that is not the test's goes on between two looks.
        may_be = 0 if self.follows_clock else 1
        assert late <= may_be, f"an arrival ends {late} s later than it may"
        if not self.follows_clock:
            return
        driver.clock.now = end
        assert driver.current(cookies) is None, "current() finds an arrival after its end"
        assert driver.is_over(found), "resolve() finds an arrival after its end"
        visits = type(self).visit_app is not SessionAdapterContract.visit_app
        if visits and driver.adapter.bounds_app:
            user, _ = self.visit_app(driver.adapter, cookies)
            assert user is None, "the app sees an arrival after its end"

    def _now(self, driver: AdapterDriver) -> float:
        return driver.clock() if self.follows_clock else time.time()

    # What may be seen.

    def test_nothing_but_the_token_holds_a_cookie(self, mode: str) -> None:
        driver, cookies, session = self._sign_in(mode)
        for each in (session, driver.adapter.expose(session), driver.arrive(session)):
            assert each is not None
            shown = {
                "repr": repr(each),
                "id": each.id,
                "user_id": str(each.user_id),
                "user": _text(each.user),
                "data": _text(each.data),
            }
            for value in filter(_is_long, cookies.values()):
                for where, text in shown.items():
                    assert value not in text, f"{where} of a session holds a cookie's value"
        for value in filter(_is_long, cookies.values()):
            assert value not in repr(driver.adapter), "repr of the adapter holds a cookie's value"

    def _drive(self, mode: str) -> AdapterDriver:
        clock = Clock()
        return AdapterDriver(self.make_adapter(clock), clock, mode, self.make_request)

    def _sign_in(self, mode: str) -> tuple[AdapterDriver, Mapping[str, str], Session]:
        """Sign in; return the adapter's driver, the browser's cookies and the session."""
        driver = self._drive(mode)
        cookies = self.sign_in(driver.adapter)
        return driver, cookies, driver.signed_in(cookies)


def _is_long(value: str) -> bool:
    return len(value) >= 8  # a shorter value may stand anywhere by accident


def _end_of(session: Session) -> float:
    if session.expires_at is None:
        raise unittest.SkipTest("current() tells no end of the session: set knows_end = False")
    return session.expires_at.timestamp()


def _text(values: Mapping[str, Any] | None) -> str:
    return json.dumps(None if values is None else dict(values), default=repr, ensure_ascii=False)
