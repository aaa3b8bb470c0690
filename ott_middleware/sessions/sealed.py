"""A complete session for apps that have none: one encrypted, authenticated cookie.

Longer than 300 lines, since the docstring of `SealedSession` is its page of the documentation.
"""

from __future__ import annotations

import inspect
import logging
import operator
import re
import secrets as randomness
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta, timezone
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from ..clock import system_clock
from ..concurrency import Waiting, blocks, is_async
from ..copies import build_unchecked, copy_unchecked
from ..crypto import CookieSeal, Secret, parse_secrets
from ..errors import ConfigurationError, NoAccount, SessionExpired
from ..hooks import WrongResult, WrongValue, naming
from ..http.cookies import (
    Cookie,
    CookieAttributes,
    CookieOptions,
    deletion,
    is_cookie_name,
)
from ..http.encoding import read_json, to_json
from ..http.messages import Request
from .app_context import in_app_context
from .base import (
    FIELDS,
    CallApp,
    Session,
    SignInAdapter,
    UserSession,
    copy_as,
    exposed_of,
    names_of,
    read_moment,
    session_id,
    to_microseconds,
)
from .by_cookies import stateless

if TYPE_CHECKING:
    from typing_extensions import Unpack

logger = logging.getLogger("ott_middleware")

# RFC 6265 section 6.1: what a browser must store is 4096 bytes for name, value and attributes.
_MAX_COOKIE = 4096
# When a cookie was sealed; `created_at` tells when the session began, at another site perhaps.
_SEALED_AT = "sealed_at"
_PATH = re.compile(r"(?!//)/[^?#\x00-\x1f\x7f\\]+")

Match = str | Callable[[UserSession], Any]


class SealedSession(SignInAdapter):
    """Keeps the whole session in a cookie that only this secret opens (AES-256-GCM).

    The request's handle (see `get_handle`) signs users in and out by `sign_in(user, remember=True)`
    and `sign_out()`; their cookies go out with the app's response. Nothing is stored on the server:
    a cookie that was copied before `sign_out()` stays good until its lifetime ends.

    :param secret: 16 bytes and more, or a list of them, newest first, for rotation.
    :param name: of the cookie.
    :param lifetime: of a session, in seconds or as a `timedelta`. It holds for sessions that arrive
        from another site as well, and stands inside of the seal: neither a session that lasts
        longer there nor a copied cookie lasts longer here.
    :param remote_user: for WSGI apps that trust `REMOTE_USER`: a function of the signed-in
        session that returns its value, or None. What a client sends under that name, or under any
        of the headers that stand in for it, is removed.
    :param expose: the fields of the user that leave this site with a token, beside the id.
        Default: all of them, since the user is what the app gave to be carried.
    :param match: finds the local user for a session of another site: a function of the
        `UserSession`, sync or async, that returns a user as `sign_in` takes one, or None to
        refuse; or the name of a field that the source site exposes, which holds the user's id at
        this site; or `"id"`, the same id at both sites. Without it, the user's id is taken over as
        well: right only if an id means the same user on all sites that share the backend.
    :param sign_out_path: the path, below the mount point, of the wrapped app's own log-out page, as
        `"/logout"` (a slash at its end makes no difference). A request for it ends the session,
        with whatever status the app responds: the cookie is deleted, the session's live tokens are
        revoked. A request that another site caused, an image, a frame, HEAD and a prefetch end
        nothing.
    :param clock: tells the time in Unix seconds.
    :param domain, path, secure, samesite, max_age, partitioned, httponly: the cookie's attributes;
        see `CookieOptions`. A remembered session's `max_age` is its lifetime by default.
    :raises ConfigurationError: a weak secret, or attributes that browsers drop.
    """

    vouches = True
    blocks = False

    def __init__(
        self,
        secret: Secret,
        *,
        name: str = "ott_session",
        lifetime: float | timedelta = timedelta(days=14),
        remote_user: Callable[[UserSession], str | None] | None = None,
        expose: Iterable[str] | None = None,
        match: Match | None = None,
        sign_out_path: str | None = None,
        clock: Callable[[], float] = system_clock,
        **cookie: Unpack[CookieOptions],
    ) -> None:
        secrets = parse_secrets("secret", secret)
        if not is_cookie_name(name):
            raise ConfigurationError(f"name: {name!r} is not a cookie name")
        seconds = _parse_lifetime(lifetime)
        if remote_user is not None and (not callable(remote_user) or is_async(remote_user)):
            raise ConfigurationError(
                f"remote_user: {remote_user!r}; pass a plain function of the session"
            )
        if match is not None and not (callable(match) or (isinstance(match, str) and match)):
            raise ConfigurationError(
                f"match: {match!r}; pass 'id', the name of a field, or a function of the session"
            )
        if sign_out_path is not None and not (
            isinstance(sign_out_path, str) and _PATH.fullmatch(sign_out_path)
        ):
            raise ConfigurationError(
                f"sign_out_path: {sign_out_path!r}; pass a path of the app like '/logout', without "
                "a query"
            )
        self.attributes = CookieAttributes(**cookie)
        self.attributes.check([name])
        self._cookie = self.attributes.cookie(name, "")
        self.name = name
        self.cookie_names = (name,)
        self.strict = self.attributes.strict
        self.remote_user = remote_user
        self.sign_out_path = sign_out_path
        self._cookie_seal = CookieSeal(name, secrets)
        self._lifetime = timedelta(seconds=seconds)
        self._microseconds = self._lifetime // timedelta(microseconds=1)
        self._clock = clock
        self._exposed = None if expose is None else names_of("expose", expose)
        self._match = _read_field(match) if isinstance(match, str) else match
        # `resolve` alone calls a function of the app; the other methods never wait.
        if callable(match) and is_async(match):
            self.resolve = self._resolve_async  # type: ignore[assignment]  # sync or async
        elif callable(match) and blocks(match):
            self.resolve = Waiting(self.resolve)  # type: ignore[method-assign]  # the same, marked

    def bind(self, call_app: CallApp) -> None:
        if self._match is not None:
            self._match = in_app_context(self._match, call_app)

    @stateless
    def current(self, request: Request) -> Session | None:
        found: Session | None = None
        for value in request.cookies(self.name):
            session = self._open(value)
            # A forged or foreign cookie is treated as if it had not been sent.
            if session is None or session.expired(self._clock()):
                continue
            # Attack: a neighbouring host plants the attacker's cookie, so that the visitor acts for
            # the attacker. Cookies of two users sign no user in.
            if found is not None and not found.is_same_person(session):
                return None
            found = found or session
        return found

    def expose(self, session: Session) -> Session:
        user = session.user
        if user is not None and self._exposed is not None:
            user = MappingProxyType(exposed_of(user, ("id", *self._exposed)))
        # The target site seals a cookie of its own. Without this one it cannot bring it back here.
        return copy_unchecked(session, token="", user=user)

    def resolve(self, session: Session) -> Session:
        # The session is in the token's seal, which only this package writes; whether it has
        # expired is checked for every adapter alike.
        if self._match is None:
            # A site with an adapter that verifies nothing hands over made-up cookies, of no user.
            # Sealed here, such a session would be a live one, and its visitor signed in.
            if not session.user_id:
                raise NoAccount(why=f"{type(self).__name__}: the session names no user")
            return self._reseal(session)
        arrived = UserSession.of(session)
        with naming("match=", arrived.hint):
            user = self._match(arrived)
        if inspect.isawaitable(user):
            if inspect.iscoroutine(user):
                user.close()
            raise WrongResult("match= gave an awaitable: make it `async def`")
        return self._localize(arrived, user)

    async def _resolve_async(self, session: Session) -> Session:
        match = cast("Callable[[UserSession], Any]", self._match)
        arrived = UserSession.of(session)
        with naming("match=", arrived.hint):
            user = await match(arrived)
        return self._localize(arrived, user)

    def _localize(self, session: UserSession, user: Any) -> Session:
        """Return a session that arrived as one of a local user.

        :raises NoAccount: `match` returned None.
        """
        if user is None:
            hint = session.hint()
            raise NoAccount(
                why=f"{type(self).__name__}: match= returned None for the session"
                + (f"; {hint}" if hint else "")
            )
        try:
            user = _check_user(user)
        except (TypeError, ValueError) as error:
            raise WrongResult(
                f"match= returned a {type(user).__name__}: return the user's id, or a mapping with "
                "an 'id', or None"
            ) from error
        user_id = str(user["id"])
        # Session ids of two sites may collide: a derived id keeps revoke() from other tokens.
        derived_id = session_id("arrived", session.id, user_id)
        local = copy_as(Session, session, id=derived_id, user_id=user_id, user=user)
        return self._reseal(local)

    def _reseal(self, session: Session) -> Session:
        # Sealed with its end, which may have passed: the redemption then responds so. The cookie
        # that the session brought may be one of another site, and is of no use here.
        now = self._now()
        capped = self._cap_end(session, now)
        return copy_unchecked(capped, token=self._seal(capped, now))

    def establish(self, session: Session, request: Request) -> list[Cookie]:
        now = self._now()
        session = self._cap_end(session, now)
        end = cast(datetime, session.expires_at)
        # No cookie lives for less than a second: an age of 0 would delete one instead.
        left = int((end - now).total_seconds())
        if end <= now or (session.persistent and left < 1):
            raise SessionExpired
        # The browser gets a cookie under this site's newest secret: the one that `resolve` made of
        # this very session just now, else it is sealed again.
        value = session.token
        if not (isinstance(value, _Sealed) and value.is_of(session, self._cookie_seal)):
            value = self._seal(session, now)
        age = self._cookie.max_age
        if session.persistent:
            age = left if age is None else min(age, left)
        # What is sealed has the characters of base64url alone.
        return [copy_unchecked(self._cookie, value=value, max_age=age)]

    def start(self, user: Mapping[str, Any] | str, *, remember: bool) -> Session:
        """Create a session for a user.

        :param user: JSON values with an `id`, or just the id.
        :raises ValueError: no id, or more than a cookie can hold.
        """
        user = _check_user(user)
        now = self._now()
        session = Session(
            id=randomness.token_urlsafe(24),
            token="",
            user_id=str(user["id"]),
            user=user,
            created_at=now,
            expires_at=now + self._lifetime,
            persistent=remember,
        )
        return copy_unchecked(session, token=self._seal(session, now))

    def end(self, request: Request) -> list[Cookie]:
        """Return the cookie that deletes the session in the browser."""
        return [deletion(self._cookie)]

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), timezone.utc)

    def _cap_end(self, session: Session, since: datetime) -> Session:
        # A session may last for years where it comes from: here it lasts no longer than any other.
        latest = since + self._lifetime
        if session.expires_at is not None and session.expires_at <= latest:
            return session
        return copy_unchecked(session, expires_at=latest)

    def _open(self, cookie: str) -> Session | None:
        """Return the session in a cookie; None unless this site has sealed the cookie."""
        plain = self._cookie_seal.open(cookie)
        if plain is None:
            return None
        values: dict[str, Any] = read_json(plain.decode("ascii"))[0]
        get = values.get
        began, end, user = get("created_at"), get("expires_at"), get("user")
        sealed = get(_SEALED_AT) or began
        # A cookie that says neither may be of any age.
        if sealed is None:
            return None
        if isinstance(sealed, str):  # version 1 of the seal
            began, end = _from_text(began), _from_text(end)
            sealed = to_microseconds(datetime.fromisoformat(sealed))
        # The end is capped again, since the lifetime may have been longer when the cookie was
        # sealed: it would go on signing in for all of that time after the lifetime was shortened.
        latest = sealed + self._microseconds
        # Not checked as values of users are: only `_seal`, here or in an earlier release, has
        # written what the key opens, and it has written a session that was checked.
        return build_unchecked(
            Session,
            id=values["id"],
            token=cookie,
            user_id=get("user_id"),
            user=None if user is None else MappingProxyType(user),
            created_at=read_moment(began),
            expires_at=read_moment(latest if end is None else min(end, latest)),
            persistent=get("persistent", True),
            data=MappingProxyType(get("data", {})),
        )

    def _seal(self, session: Session, now: datetime) -> _Sealed:
        # Under `token`, which is not known yet, stands nothing.
        values = session.to_json()
        del values["token"]
        if not session.data:
            del values["data"]
        values[_SEALED_AT] = to_microseconds(now)
        value = self._cookie_seal.seal(to_json(values))
        if len(self.name) + len(value) > _MAX_COOKIE - 128:  # room for the attributes
            raise WrongValue("the session is larger than a cookie can be: carry less in the user")
        return _Sealed(value, session, self._cookie_seal)


def _from_text(moment: str | None) -> int | None:
    return to_microseconds(datetime.fromisoformat(moment)) if moment else None


class _Sealed(str):
    """A cookie's value with the session that was sealed in it, so that it is not sealed twice."""

    __slots__ = ("_by", "_values")

    _by: CookieSeal
    _values: tuple[object, ...]

    def __new__(cls, value: str, session: Session, by: CookieSeal) -> _Sealed:
        sealed = super().__new__(cls, value)
        sealed._values = _values_of(session)
        sealed._by = by
        return sealed

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        # Copied or pickled, as an app's cache does it, this is the value alone: no key, no user.
        return str, (str(self),)

    def is_of(self, session: Session, by: CookieSeal) -> bool:
        """Return whether this seal is of all that a session holds, and has this name and secret."""
        # Compared, not trusted: a copy with another user or end has the same token. A list within
        # the user equals itself whatever the app has changed in it since: such a session is sealed
        # again, else a role that was withdrawn would stand in the cookie.
        return (
            self._by is by
            and self._values == _values_of(session)
            and _UNCHANGEABLE.issuperset(map(type, (session.user or {}).values()))
            and _UNCHANGEABLE.issuperset(map(type, session.data.values()))
        )


_UNCHANGEABLE = frozenset({str, int, float, bool, type(None)})
_values_of: Callable[[Session], tuple[object, ...]] = operator.attrgetter(
    *(name for name in FIELDS if name != "token")
)


def _read_field(name: str) -> Callable[[UserSession], dict[str, Any] | None]:
    """Return the function for a `match` by the name of a field."""

    def match(session: UserSession) -> dict[str, Any] | None:
        value = session.user_id if name == "id" else session.user.get(name)
        # A field of another shape (true, a list) names no user, and neither does an empty one.
        if isinstance(value, bool) or not isinstance(value, (str, int)) or value == "":
            return None
        return {**session.user, "id": str(value)}

    return match


def _check_user(user: Mapping[str, Any] | str) -> dict[str, Any]:
    fields = {"id": user} if isinstance(user, str) else dict(user)
    if not fields.get("id"):
        raise WrongValue("the user needs an id, as {'id': 'alice'}")
    return fields


def _parse_lifetime(lifetime: float | timedelta) -> float:
    """Return a lifetime in seconds.

    :raises ConfigurationError: a lifetime of another type, or below a second or over a century.
    """
    seconds = lifetime.total_seconds() if isinstance(lifetime, timedelta) else lifetime
    is_number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    # A century keeps every end within what dates and cookies can express.
    if not (is_number and 1 <= seconds <= 100 * 366 * 86400):
        raise ConfigurationError(f"lifetime: {lifetime!r}; use seconds or a timedelta, from 1 s")
    if seconds < 60 and not isinstance(lifetime, timedelta):
        logger.warning(
            "lifetime: %r is a number of seconds: users are signed out after that time. If "
            "that is what you mean, write timedelta(seconds=%r); for days timedelta(days=%r)",
            lifetime,
            lifetime,
            lifetime,
        )
    return seconds
