"""The base of the adapters for sessions that are a mapping, as Flask's and Starlette's are.

Each app decides which value of such a session is the signed-in user. `MappedSession` finds the user
under the usual keys, or where the option `user` says.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from ..errors import ConfigurationError, SessionExpired, SessionUnavailable, full_name
from .base import Session, copy_as
from .framework import FrameworkOptions, FrameworkSession, exposed_of
from .lifetime import RESERVED_KEYS, earlier

if TYPE_CHECKING:
    from typing_extensions import Unpack

logger = logging.getLogger("ott_middleware")

#: The keys where apps keep the signed-in user. An e-mail address is not among them: shops keep
#: there whatever a visitor typed.
USER_KEYS = ("_user_id", "user_id", "user", "username", "uid", "sub")
# The keys of the id within a mapping of the user; the second is OpenID Connect's.
_ID_KEYS = ("id", "sub")
_KEY = "user_id"

User = str | Callable[[Mapping[str, Any]], Any]


@dataclass(frozen=True, slots=True)
class Person:
    """A user that a session names.

    :ivar id: the user's id, as text.
    :ivar fields: the fields of the user, of which `expose` decides which leave the site.
    :ivar entry: the values that make a session the user's.
    """

    id: str
    fields: Mapping[str, Any] = field(repr=False)
    entry: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Beginning(Session):
    """A session that is to be created for a user; passed from `resolve` to `establish` only.

    :ivar entry: the values that make the new session the user's; in no other field of this one.
    """

    entry: Mapping[str, Any] = field(default_factory=dict, repr=False)


class MappedSession(FrameworkSession):
    """The base of the adapters for sessions that are a mapping.

    :param user: where the signed-in user's id is in the session: the name of a key, or a function
        of the session's values that returns the id, or None. Under a key there may be
        an id (text that is not empty, a number but 0, a UUID) or a mapping with an `id` (or `sub`).
        Default: the first of `USER_KEYS` that holds one.
    :param options: see `FrameworkOptions`.
    :raises ConfigurationError: a bad argument.

    A new session gets the user's id under that key (`user_id` by default). Ids that arrive by
    `match="id"` are text; where the app keeps numbers, say `match=lambda s: int(s.user_id)`. Where
    it keeps more than an id, or with a function as `user`, `match` is a function that returns the
    values that the new session begins with. A fork of a session of this site gets that key as it
    was, and what `data` names; with a function as `user`, all of the session.
    """

    #: Keys that cannot travel as data, since they are the framework's own.
    reserved: frozenset[str] = frozenset()
    cure_for_keys = (
        "say where the user's id is, user='that key' or user=a function of the session's values "
        "(an argument of this adapter)"
    )

    def __init__(
        self,
        *,
        user: User | None = None,
        **options: Unpack[FrameworkOptions],
    ) -> None:
        super().__init__(**options)
        if user is not None and not (callable(user) or (isinstance(user, str) and user)):
            raise ConfigurationError(
                f"user: {user!r}; pass the name of a key, or a function of the session's values"
            )
        if callable(user) and isinstance(self._match, str):
            raise ConfigurationError(
                f"match: {self._match!r}; since user= is a function, pass a function that returns "
                "the values that a new session begins with"
            )
        self._user = user
        self._key = user if isinstance(user, str) else _KEY
        self.user_keys = USER_KEYS if user is None else () if callable(user) else (user,)
        for name in self._data:
            # Attack: a source site sends a user's id among the data. Keys that may name a user are
            # refused; else that site would decide which user signs in here, past `match`.
            if name in RESERVED_KEYS:
                raise ConfigurationError(
                    f"data: {name!r} is the end of a session and does not travel; leave it out"
                )
            if name in self.user_keys or name in self.reserved:
                raise ConfigurationError(
                    f"data: {name!r} may name the signed-in user, and never travels; leave it out, "
                    "or say with user= where else the user is"
                )

    def check_match(self) -> None:
        """Refuse the name of a field as `match`: such sessions have no table of users to look in.

        Attack: a user enters another's id in that field at the source. Without the check, the value
        would be taken for an id of this site, and sign in the other user. Right is only the field
        that the app itself takes for the id (`user="email"`).

        :raises ConfigurationError: `match` is the name of another field.
        """
        match = self._match
        if isinstance(match, str) and match not in ("id", self._user):
            raise ConfigurationError(
                f"match: {match!r} is looked up in a table of users, and {type(self).__name__} has "
                "none; pass a function that looks the user up in yours: match=lambda s: "
                f"find_user((s.user or {{}}).get({match!r})), where find_user returns the id of a "
                "user of this app, or None to refuse"
            )

    def person_in(self, values: Mapping[str, Any]) -> Person | None:
        """Return the signed-in user, by a session's values."""
        if callable(self._user):
            user_id = id_of(self._user(values))
            # Only the function knows which values make the session the user's: all are taken.
            return None if user_id is None else Person(user_id, values, values)
        for key in self.user_keys:
            value = values.get(key)
            fields = value if isinstance(value, Mapping) else None
            ids = [value] if fields is None else [fields.get(name) for name in _ID_KEYS]
            user_id = next(filter(None, map(id_of, ids)), None)
            if user_id is not None:
                return Person(user_id, values if fields is None else fields, {key: value})
        return None

    def person_from_match(self, person: Any) -> Person | None:
        """Return the local user that `match` returned, or None if the value is unusable."""
        self.check_match()
        if isinstance(person, Mapping):
            found = self.person_in(person)
            if found is None:
                logger.error(
                    "%s: match returned values in which user= finds no user", type(self).__name__
                )
            # All values are taken, since the app may read more than an id.
            return found and replace(found, entry=dict(person))
        user_id = id_of(person)
        if user_id is None or callable(self._user):
            logger.error(
                "%s: match returned %s; return %s",
                type(self).__name__,
                full_name(person),
                "a mapping of the session's values"
                + ("" if callable(self._user) else ", or an id"),
            )
            return None
        entry = {self._key: person if isinstance(person, (str, int)) else user_id}
        return Person(user_id, entry, entry)

    def known(self, session: Session, person: Any) -> Session | None:
        found = self.person_from_match(person)
        if found is None:
            return None
        user = self.exposed_fields(found)
        return copy_as(Beginning, session, token="", user_id=found.id, user=user, entry=found.entry)

    def session_of(self, person: Person, values: Mapping[str, Any], **others: Any) -> Session:
        """Return the session of a signed-in user.

        :param values: what is in the session.
        :param others: the other fields of the `Session`.
        """
        data = exposed_of(values, self._data)
        return Session(user_id=person.id, user=self.exposed_fields(person), data=data, **others)

    def share_or_fork(
        self,
        session: Session,
        person: Person | None,
        values: Mapping[str, Any],
        *,
        expires_at: datetime | None,
        now: float,
        fork: bool = False,
    ) -> Session | None:
        """Return a session that was looked up at redemption, as `alive` returns it.

        :param session: with its token.
        :param person: the user of the session now.
        :param values: what is in the session now.
        :param expires_at: when the session ends, as it was looked up.
        :param now: Unix seconds.
        :param fork: whether a new session is created in any mode.
        :return: None if another user is signed in under the same key by now.
        :raises SessionExpired: the session has ended.
        """
        if person is None or person.id != session.user_id:
            return None
        session = replace(
            session,
            expires_at=earlier(expires_at, session.expires_at),
            data=exposed_of(values, self._data),
        )
        if session.expired(now):
            raise SessionExpired
        if self.mode == "share" and not fork:
            return session
        return copy_as(Beginning, session, token="", entry=person.entry)

    def values_of(self, session: Session) -> dict[str, Any]:
        """Return the values of a new session.

        :raises SessionUnavailable: the values name another user.
        """
        entry = session.entry if isinstance(session, Beginning) else {self._key: session.user_id}
        # The user's own values last: no data that came with a token may name the signed-in user.
        values = {**session.data, **entry}
        found = self.person_in(values)
        # Whatever key the app reads, it must find the user that the token was made for.
        if found is None or found.id != session.user_id:
            raise SessionUnavailable("the values of the new session name another user")
        return values

    def exposed_fields(self, person: Person) -> dict[str, Any]:
        """Return the fields of a user that may leave this site."""
        return {"id": person.id, **exposed_of(person.fields, self._exposed)}


def id_of(value: Any) -> str | None:
    """Return a user's id as text, or None for a value that is no id."""
    if isinstance(value, bool) or not isinstance(value, (str, int, UUID)) or not value:
        return None
    return str(value)
