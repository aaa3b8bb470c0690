"""A framework with sessions, as small as one can be: a table of sessions, a signed cookie."""

from __future__ import annotations

import hashlib
import hmac
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from harness import NOW, moment

from ott_middleware import Session
from ott_middleware.http import Cookie, CookieAttributes, Request
from ott_middleware.sessions import FrameworkSession
from ott_middleware.sessions.framework import exposed_of, session_id

PEOPLE = {
    "1": {"id": "1", "name": "Alice", "email": "alice@club.example", "shoe": 38},
    "2": {"id": "2", "name": "Bob", "email": "bob@club.example", "shoe": 45},
}


@dataclass
class ClubSessions:
    """The sessions of a site: key → what is in them, `user` among it."""

    sessions: dict[str, dict[str, Any]] = field(default_factory=dict)
    numbers: Any = field(default_factory=itertools.count)

    def add(self, user: str | None, **values: Any) -> str:
        key = f"key-{next(self.numbers):08}"
        self.sessions[key] = {"user": user, "ends": NOW + 3600, **values}
        return key


class ClubSession(FrameworkSession):
    """The sessions of the club.

    :param people: the users, by id.
    :param secret: signs the cookie; a list, newest first.
    """

    kind = "club"
    blocks = False
    cookie_names = ("club",)

    def __init__(
        self,
        store: ClubSessions | None = None,
        *,
        people: Mapping[str, Mapping[str, Any]] = PEOPLE,
        secret: str | Sequence[str] = "the club's",
        **how: Any,
    ) -> None:
        super().__init__(**how)
        self.store = ClubSessions() if store is None else store
        self.people = dict(people)
        self.secret = [secret] if isinstance(secret, str) else list(secret)
        self.attributes = CookieAttributes(max_age=86400)
        self.asked: list[Any] = []
        # Of a session that is begun here: seconds, and by which clock.
        self.lifetime: float | None = None
        self.clock: Callable[[], float] = lambda: NOW

    def value(self, key: str) -> str:
        return f"{key}.{_signed(key, self.secret[0])}"

    def sign_in(self, user: str | None, **values: Any) -> dict[str, str]:
        """What a browser sends after it signed in."""
        return {"cookie": f"club={self.value(self.store.add(user, **values))}"}

    def secrets(self) -> Sequence[str]:
        return self.secret

    def current(self, request: Request) -> Session | None:
        return next(filter(None, map(self._found, request.cookies("club"))), None)

    def alive(self, session: Session) -> Session | None:
        self.asked.append("alive")
        found = self._found(session.token)
        if found is None or self.mode == "share":
            return found
        return replace(found, token="", data=session.data)

    def known(self, session: Session, person: Any) -> Session | None:
        self.asked.append(person)
        by = self._match if isinstance(self._match, str) else "id"
        for user in self.people.values():
            if user.get(by) == person:
                return replace(session, user_id=user["id"], user=self._told(user))
        return None

    def share(self, session: Session, request: Request) -> Iterable[Cookie]:
        return [self.attributes.cookie("club", session.token)]

    def begin(self, session: Session, request: Request) -> Iterable[Cookie]:
        key = self.store.add(session.user_id, **session.data)
        ends = session.expires_at and session.expires_at.timestamp()
        if self.lifetime is not None:
            latest = self.clock() + self.lifetime
            ends = latest if ends is None else min(ends, latest)
        self.store.sessions[key]["ends"] = ends
        return [self.attributes.cookie("club", self.value(key))]

    # The app, as a browser sees it.

    def visit(self, cookies: Mapping[str, str], *, clear: bool) -> tuple[str | None, Any]:
        values = self.store.sessions.get(cookies["club"].partition(".")[0], {})
        if values.get("ends", 0) <= self.clock():
            return None, cookies
        user = values["user"]
        if clear:
            ends = values["ends"]
            values.clear()
            values.update(user=user, ends=ends, anew=True)
        return user, cookies

    def _told(self, user: Mapping[str, Any]) -> dict[str, Any]:
        return {"id": user["id"], **exposed_of(user, self._exposed)}

    def _found(self, value: str) -> Session | None:
        key, _, mac = value.partition(".")
        if not any(hmac.compare_digest(mac.encode(), _mac(key, s)) for s in self.secret):
            return None
        values = self.store.sessions.get(key, {})
        user = self.people.get(str(values.get("user")))
        if user is None:
            return None
        ends = values["ends"]
        return Session(
            id=session_id(self.kind, key),
            token=value,
            user_id=user["id"],
            user=self._told(user),
            expires_at=None if ends is None else moment(ends),
            data=exposed_of(values, self._data),
        )


def _mac(key: str, secret: str) -> bytes:
    return _signed(key, secret).encode()


def _signed(key: str, secret: str) -> str:
    digest: Callable[..., Any] = hashlib.sha256
    return hmac.new(secret.encode(), key.encode("utf-8", "replace"), digest).hexdigest()
