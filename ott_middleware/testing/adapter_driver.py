"""Calls a session adapter for the tests of the contract, as the middleware does: sync or async."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..concurrency import drive, inline, on_loop
from ..errors import NoAccount, SessionExpired
from ..http.cookies import Cookie
from ..http.encoding import to_json
from ..http.messages import Request
from ..sessions.base import Session, SessionAdapter
from .store import Clock


@dataclass(frozen=True, slots=True)
class AdapterDriver:
    """Calls one adapter and checks the types of what it returns.

    :param clock: of the adapter.
    :param mode: `"async"` to call its methods on an event loop, else `"sync"`.
    :param make_request: returns the request of a client that has these cookies.
    """

    adapter: SessionAdapter
    clock: Clock
    mode: str
    make_request: Callable[[Mapping[str, str]], Request]

    def current(self, cookies: Mapping[str, str]) -> Session | None:
        """Return the live session that the adapter finds in a request with these cookies."""
        found = self._call(self.adapter.current, self.make_request(cookies))
        assert found is None or isinstance(found, Session), "current() gives a Session, or None"
        # As the middleware does: an adapter need not compare the end with the clock itself.
        return None if found is None or found.expired(self.clock()) else found

    def verified(self, cookies: Mapping[str, str]) -> Session | None:
        """Return the same session where the adapter says that it verifies what it finds."""
        found = self.current(cookies)
        return found if self.adapter.vouches else None

    def signed_in(self, cookies: Mapping[str, str]) -> Session:
        """Return the session of a request in which a user must be signed in."""
        session = self.current(cookies)
        assert session is not None, "current() does not find the signed-in user"
        return session

    def arrive(self, session: Session) -> Session | None:
        """Expose a session, carry it over as JSON and resolve it."""
        exposed = self.adapter.expose(session)
        assert isinstance(exposed, Session), "expose() gives a Session, and at once"
        return self.resolve(Session.from_json(json.loads(to_json(exposed.to_json()))))

    def is_over(self, session: Session) -> bool:
        """Whether a session that arrives has ended."""
        try:
            found = self.arrive(session)
        except SessionExpired:
            return True
        return found is None or found.expired(self.clock())

    def resolve(self, session: Session) -> Session | None:
        """Return the session as it is now; None if it is refused."""
        try:
            found = self._call(self.adapter.resolve, session)
        except NoAccount:
            return None
        assert found is None or isinstance(found, Session), "resolve() gives a Session, or None"
        return found

    def establish(self, session: Session | None, cookies: Mapping[str, str]) -> list[Cookie]:
        """Return the cookies that a browser with these cookies gets."""
        assert session is not None, "resolve() turned down a session that lives"
        return list(self._call(self.adapter.establish, session, self.make_request(cookies)))

    def browser(self, before: Mapping[str, str], cookies: list[Cookie]) -> dict[str, str]:
        """Return the cookies that a browser sends after it got these."""
        after = {**before, **{cookie.name: cookie.value for cookie in cookies}}
        return {name: value for name, value in after.items() if value}

    def _call(self, method: Callable[..., Any], *arguments: Any) -> Any:
        bind, run = (on_loop, asyncio.run) if self.mode == "async" else (inline, drive)

        async def call() -> Any:
            return await bind(method)(*arguments)

        return run(call())
