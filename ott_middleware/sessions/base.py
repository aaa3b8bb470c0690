"""Defines a session, and the contract of the adapters that find and establish sessions.

Longer than 300 lines, since the docstrings of the contract are its page of the documentation.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta, timezone
from types import MappingProxyType
from typing import Any, TypeVar
from urllib.parse import unquote

from ..crypto import base64url
from ..errors import ConfigurationError, SessionUnavailable
from ..hooks import WrongValue, is_own, is_spelled_out
from ..http.cookies import Cookie, CookieAttributes
from ..http.messages import Request, Response

CallApp = Callable[[Request], "Response | Awaitable[Response]"]


# The most bytes of cookie values for a session that its adapter cannot verify.
MAX_UNVERIFIED = 4096
# The least characters of a secret. Shorter values may stand in an id by chance.
SECRET_LENGTH = 16
# What cookie parsers leave around a value.
_AROUND = ' \t\r\n"'


def refuse_cookie_in_id(
    session_id: str, values: Iterable[str], *, where: str, shortest: int = 1
) -> None:
    """Refuse an id that is one of these cookie values, or holds a long one.

    :param where: names the function that gave the session.
    :param shortest: characters; shorter values are left out.
    :raises SessionUnavailable: the id tells a cookie's value.
    """
    plain = None
    for each in values:
        value = each.strip(_AROUND)
        # A value that is longer than the id with each character percent-encoded cannot be in it:
        # decoded all the same, a long cookie would cost time.
        if not shortest <= len(value) <= 3 * len(session_id):
            continue
        plain = plain or unquote(session_id).strip(_AROUND)
        value = unquote(value)
        # Attack: ids go to scripts in verify's response, to hooks and to logs. An id that tells the
        # cookie's value is refused; else each reader of one could send the cookie, and be the user.
        if value == plain or (len(value) >= SECRET_LENGTH and value in plain):
            raise SessionUnavailable(
                f"{where}: a session's id must not be its cookie's value, since ids are shown and "
                "logged; use another key of the session as its id, or a hash of the value"
            )


def cookie_values(token: str, *, several: bool = True) -> list[str]:
    """Return the cookie values that a session's token holds.

    :param several: whether a JSON object is the values of several cookies.
    """
    if several and token.startswith("{"):
        try:
            # Numbers are not converted: of thousands of digits, they would take long.
            values = json.loads(token, parse_int=len, parse_float=len)
        except (ValueError, RecursionError):
            return [token]
        return [value for value in values.values() if isinstance(value, str)]
    return [token]


_set = object.__setattr__


@dataclass(frozen=True)
class Session:
    """A signed-in session, as an adapter sees it.

    :ivar id: names the session in logs and for `revoke`. The middleware refuses an id that is a
        cookie's value.
    :ivar token: the session cookie's value; for several cookies a JSON object name → value.
    :ivar user_id: the signed-in user; None where the adapter can't know.
    :ivar user: the fields of the user that may leave the site, as JSON values; None where unknown.
    :ivar created_at: aware, in UTC, or None.
    :ivar expires_at: aware, in UTC, or None where no end is known.
    :ivar persistent: whether it was to be remembered after the browser is closed.
    :ivar data: what travels along, as JSON values.
    :raises ValueError: an id or token that is no str, an empty id, or a date without a time zone.
    """

    id: str
    # The cookie's value signs in whoever has it; user and data are personal. None is ever shown.
    token: str = field(repr=False)
    user_id: str | None = None
    user: Mapping[str, Any] | None = field(default=None, repr=False)
    created_at: datetime | None = None
    expires_at: datetime | None = None
    persistent: bool = True
    data: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.id, str) or not self.id:
            raise WrongValue("a session needs an id: a str that is not empty")
        if not isinstance(self.token, str):
            raise WrongValue("a session's token is its cookie's value: a str")
        for name in ("created_at", "expires_at"):
            moment = getattr(self, name)
            if moment is None:
                continue
            if not isinstance(moment, datetime) or moment.tzinfo is None:
                raise WrongValue(f"{name} must be a datetime with a time zone, like timezone.utc")
            if moment.tzinfo is not timezone.utc:
                _set(self, name, moment.astimezone(timezone.utc))
        # Not through `__dict__`: a class that a user derived may have slots for these.
        if self.user is not None:
            _set(self, "user", _frozen("user", self.user or {}))
        _set(self, "data", _frozen("data", self.data))

    def expired(self, now: float) -> bool:
        """Whether the session has ended by `now` (Unix seconds)."""
        return self.expires_at is not None and self.expires_at.timestamp() <= now

    def is_same_person(self, other: Session) -> bool:
        """Whether both sessions are known to be of one user; an unknown user equals no other.

        Sessions of one id are of one user, unless both users are known and differ: a server may
        keep a session's id while its user changes.
        """
        if self.user_id is None or other.user_id is None:
            return self.id == other.id
        return self.user_id == other.user_id

    def to_json(self) -> dict[str, Any]:
        """Return the session as JSON values, its cookie included: to be sealed, never shown."""
        return {
            "id": self.id,
            "token": self.token,
            "user_id": self.user_id,
            "user": None if self.user is None else dict(self.user),
            "created_at": self.created_at and to_microseconds(self.created_at),
            "expires_at": self.expires_at and to_microseconds(self.expires_at),
            "persistent": self.persistent,
            "data": dict(self.data),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Session:
        """Return the session that `to_json` of this version or another described."""
        fields = {**_DEFAULTS, **values}
        if len(fields) > len(FIELDS):  # a later version has more
            fields = {name: fields[name] for name in FIELDS}
        for name in ("created_at", "expires_at"):
            fields[name] = read_moment(fields[name])
        if cls is not Session:  # it may have fields of its own
            return cls(**fields)
        session = object.__new__(cls)
        _set(session, "__dict__", fields)
        # The values come from outside: they are checked as those of a constructor.
        session.__post_init__()
        return session


def _frozen(name: str, mapping: Mapping[str, Any]) -> Mapping[str, Any]:
    """:raises ValueError: it is no mapping."""
    # `isinstance` takes ten times as long, since the class is abstract.
    if type(mapping) not in (dict, MappingProxyType) and not isinstance(mapping, Mapping):
        raise WrongValue(f"{name} must be a mapping, not a {type(mapping).__name__}")
    return MappingProxyType(dict(mapping))


_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def to_microseconds(moment: datetime) -> int:
    """Return an aware date as Unix microseconds: as exact as its text, and made far sooner."""
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def read_moment(value: int | str | None) -> datetime | None:
    """Return a date of `Session.to_json`, which wrote ISO 8601 up to version 1 of the seals."""
    if isinstance(value, int):
        return _EPOCH + timedelta(0, 0, value)
    return datetime.fromisoformat(value) if value else None


#: The names of a session's fields.
FIELDS = tuple(each.name for each in fields(Session))
# What a session that an older version described may lack.
_DEFAULTS: dict[str, Any] = dict.fromkeys(FIELDS) | {"persistent": True, "data": {}}


class SentFields(Mapping[str, Any]):
    """The fields of a user that a session brought, and which others were asked for.

    :ivar missed: the names that the code of a hook spells out, and that were not there.
    """

    __slots__ = ("_fields", "missed")

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._fields = dict(fields)
        self.missed: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self._note(name)
        return self._fields[name]

    def get(self, name: str, default: Any = None) -> Any:
        """Return a field, or the default if the session did not bring it."""
        self._note(name)
        return self._fields.get(name, default)

    def __contains__(self, name: object) -> bool:
        self._note(name)
        return name in self._fields

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        return f"<the fields {', '.join(self._fields) or 'of no user'}>"

    def _note(self, name: object) -> None:
        if name in self._fields:
            return
        # A name that is data of the request (a user's id, say) would be logged: only a literal is
        # noted, or what a hook without code of its own, as an itemgetter, was built with.
        asks = sys._getframe(2)
        if isinstance(name, str) and (is_own(asks.f_code) or is_spelled_out(name, asks)):
            self.missed.add(name)

    def hint(self) -> str:
        """Return what to do at the source site for the fields that were missed; "" if none was."""
        if not self.missed:
            return ""
        names = sorted(self.missed)
        listed = " and ".join(map(repr, names))
        fields = "field" if len(names) == 1 else "fields"
        return f"the source sent no {fields} {listed}: add expose={names!r} there"


@dataclass(frozen=True)
class UserSession(Session):
    """A session as `match` and `remote_user` get it: its `user` is always a mapping.

    :ivar user: the fields of the user that are known; for `match`, those that the source site
        exposes. Empty if there are none.
    """

    user: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        Session.__post_init__(self)
        object.__setattr__(self, "user", SentFields(self.user))

    def hint(self) -> str:
        """Return what to do for the fields of the user that a hook asked for in vain."""
        return self.user.hint() if isinstance(self.user, SentFields) else ""

    @classmethod
    def of(cls, session: Session) -> UserSession:
        """Return a session with a `user` that is always a mapping."""
        return copy_as(cls, session, user=session.user or {})


_S = TypeVar("_S", bound=Session)


def copy_as(kind: type[_S], session: Session, **changes: Any) -> _S:
    """Return a copy of a session as a class derived from `Session`, with some fields changed."""
    shared = {each.name for each in fields(kind)} & {each.name for each in fields(session)}
    return kind(**{**{name: getattr(session, name) for name in shared}, **changes})


class SessionAdapter:
    """How one application keeps its sessions. Derive from it; the methods may be `async def`.

    If a method raises an exception, the middleware responds with 503 and signs no user in.
    """

    #: Whether `current` can tell a live session from a cookie of an ended one.
    vouches: bool = False
    #: Whether the session cookie is `SameSite=Strict`: browsers hold it back on arrivals by a link.
    strict: bool = False
    #: Whether the synchronous methods may wait; they are then called in a thread under ASGI.
    blocks: bool = True
    #: Whether plain methods return awaitables.
    suspends: bool = False
    #: Whether the blocking methods must run in asgiref's thread for thread-sensitive code: under
    #: ASGI in one thread for each request. See `leave_thread`.
    thread_sensitive: bool = False
    #: Whether the app itself cannot see a session of the adapter's after the session has ended.
    bounds_app: bool = True
    #: Whether `establish` sets cookies, which sign a browser in. If not, a link that is opened in a
    #: browser is refused before its token is taken.
    uses_cookies: bool = True
    #: The names of the cookies that `establish` sets.
    cookie_names: tuple[str, ...] = ()

    def own_hosts(self) -> Collection[str]:
        """Return the exact host names that the app's configuration lists as its own.

        Without `public_origin`, a token that is bound to one of these hosts can be redeemed here.
        Return only what the site's owner wrote down, and nothing that a request says. A name may
        have a port; patterns (`.example.com`, `*`) are ignored. Called when a token is redeemed;
        must not wait. Default: no names.
        """
        return ()

    def bind(self, call_app: CallApp) -> None:
        """Take a function that calls the wrapped app in process; called once, when it is wrapped.

        :param call_app: takes a `Request` of which method, path and headers count and returns the
            app's `Response` (an awaitable of it under ASGI), its body cut at 64 KiB; raises
            `SessionUnavailable` after 5 seconds or when the app fails.
        """

    def leave_thread(self) -> None:
        """Close what a thread has opened for a request; called in the thread, before it ends.

        Called only if the adapter is `thread_sensitive`. Default: Django's database connections,
        if Django is there.
        """
        django: Any = sys.modules.get("django.db")
        if django is not None:
            # Django keeps connections by thread: each request would leave one open.
            django.connections.close_all()

    def attributes_of(self, name: str) -> CookieAttributes | None:
        """Return the attributes of a cookie that the app sets as well, to be compared; or None."""
        return None

    def explain_missing_user(self, request: Request) -> str | None:
        """Return where the user of a request may be, for a log line that holds names alone.

        Called after `current` found none; must not wait. Default: None, no line.
        """
        return None

    def current(self, request: Request) -> Session | Awaitable[Session | None] | None:
        """Return the session that the request carries, or None.

        Never trust a cookie that is unsigned, or of an ended session, where the adapter can tell.
        """
        raise TypeError(f"{type(self).__name__} must define current()")

    def expose(self, session: Session) -> Session:
        """Return what of a session leaves with a token. Must not wait. Default: all of it."""
        return session

    def resolve(self, session: Session) -> Session | Awaitable[Session | None] | None:
        """Return the session as it is now, at redemption; None if it has ended meanwhile.

        :param session: as `expose` of this adapter, or of the source site's adapter, returned it.
        :raises NoAccount: this site has no user for the session.
        """
        raise TypeError(f"{type(self).__name__} must define resolve()")

    def discard(self, cookies: Iterable[Cookie], request: Request) -> Awaitable[None] | None:
        """Delete what `establish` created on the server for these cookies.

        Called when a WebSocket has closed that a token signed in: no browser has the cookies. And
        by `on_replay="revoke"`, when a used token was presented again. Only called for a session
        that `establish` began (its `token` was empty). Default: nothing.
        """

    def establish(
        self, session: Session, request: Request
    ) -> Iterable[Cookie] | Awaitable[Iterable[Cookie]]:
        """Return the cookies that make the browser behind `request` hold that session.

        The middleware caps their ages: no cookie outlives its session.
        """
        raise TypeError(f"{type(self).__name__} must define establish()")


class SignInAdapter(SessionAdapter):
    """An adapter that itself creates and ends the sessions of this site, as `SealedSession` does.

    With such an adapter the handle's `sign_in` and `sign_out` work.
    """

    #: Returns the `REMOTE_USER` of a session for a WSGI app, or None for no user. None: the adapter
    #: sets no `REMOTE_USER`.
    remote_user: Callable[[UserSession], str | None] | None = None
    #: The path of the app's own log-out page, which ends the session too. None: there is none.
    sign_out_path: str | None = None

    def start(self, user: Mapping[str, Any] | str, *, remember: bool) -> Session:
        """Create a session for a user; called by `Handle.sign_in`. Never waits.

        :param user: JSON values with an `id`, or the id alone.
        :param remember: whether the session outlives the browser.
        :raises ValueError: the user has no id, or is larger than the session can hold.
        """
        raise TypeError(f"{type(self).__name__} must define start()")

    def end(self, request: Request) -> Iterable[Cookie]:
        """Return the cookies that delete the session in the browser; called after `sign_out`."""
        raise TypeError(f"{type(self).__name__} must define end()")


def session_id(*parts: str) -> str:
    """Return an id for a session that does not tell the parts that it is made of."""
    material = "\0".join(("ott_middleware session", *parts))
    return base64url(hashlib.sha256(material.encode("utf-8", "surrogatepass")).digest())


def exposed_of(values: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return those of the values that are named."""
    return {name: values[name] for name in names if name in values}


def names_of(option: str, given: object) -> tuple[str, ...]:
    """Return the names that an option lists.

    :raises ConfigurationError: no list of names.
    """
    # A text is a list of names as well, of one letter each: never what was meant.
    names = tuple(given) if isinstance(given, Iterable) and not isinstance(given, str) else None
    if names is None or not all(isinstance(name, str) and name for name in names):
        raise ConfigurationError(f"{option}: {given!r}; pass a list of names")
    return names
