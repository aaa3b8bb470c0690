"""A complete session for apps that have none: one encrypted, authenticated cookie."""

from __future__ import annotations

import inspect
import json
import secrets as randomness
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

from ..concurrency import Waiting, blocks, is_async
from ..crypto import NONCE_BYTES, Secret, parse_secrets, seal_cookie, unseal_cookie
from ..errors import ConfigurationError, SessionExpired
from ..http.cookies import Cookie, CookieAttributes, deletion, is_cookie_name
from ..http.encoding import to_json
from ..http.messages import Request
from .base import Session, SignInAdapter, exposed_of, names_of, session_id

# RFC 6265 section 6.1: what a browser must store is 4096 bytes for name, value and attributes.
_MAX_COOKIE = 4096
# When a cookie was sealed; `created_at` tells when the session began, at another site perhaps.
_SEALED_AT = "sealed_at"


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
    :param remote_user: for WSGI apps that trust `REMOTE_USER`: a function of the session (or None)
        that returns its value, or None. What a client sends under that name, or under
        any of the headers that stand in for it, is removed.
    :param expose: the fields of the user that leave this site with a token, beside the id.
        Default: all of them, since the user is what the app gave to be carried.
    :param match: finds the local user for a session of another site: a function of the `Session`,
        sync or async, that returns a user as `sign_in` takes one, or None to refuse. Without it,
        the user's id is taken over: right only if an id means the same user on all sites that
        share the backend.
    :param clock: tells the time in Unix seconds.
    :param domain, path, secure, samesite, max_age, partitioned, httponly: the cookie's attributes;
        see `CookieAttributes`. A remembered session's `max_age` is its lifetime by default.
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
        remote_user: Callable[[Session], str | None] | None = None,
        expose: Iterable[str] | None = None,
        match: Callable[[Session], Any] | None = None,
        clock: Callable[[], float] = time.time,
        domain: str | None = None,
        path: str = "/",
        secure: bool | None = None,
        samesite: str = "Lax",
        max_age: int | None = None,
        partitioned: bool = False,
        httponly: bool = True,
    ) -> None:
        self._secrets = parse_secrets("secret", secret)
        if not is_cookie_name(name):
            raise ConfigurationError(f"name: {name!r} is not a cookie name")
        seconds = lifetime.total_seconds() if isinstance(lifetime, timedelta) else lifetime
        # A century keeps every end within what dates and cookies can express.
        if (
            isinstance(seconds, bool)
            or not isinstance(seconds, (int, float))
            or not 1 <= seconds <= 100 * 366 * 86400
        ):
            raise ConfigurationError(
                f"lifetime: {lifetime!r}; use seconds or a timedelta, from 1 s"
            )
        if remote_user is not None and (not callable(remote_user) or is_async(remote_user)):
            raise ConfigurationError(
                f"remote_user: {remote_user!r}; pass a plain function of the session"
            )
        if match is not None and not callable(match):
            raise ConfigurationError(f"match: {match!r}; pass a function of the session")
        self.attributes = CookieAttributes(
            domain=domain,
            path=path,
            secure=secure,
            samesite=samesite,
            max_age=max_age,
            partitioned=partitioned,
            httponly=httponly,
        )
        self.attributes.check([name])
        self.name = name
        self.cookie_names = (name,)
        self.strict = self.attributes.strict
        self.remote_user = remote_user
        self._lifetime = timedelta(seconds=seconds)
        self._clock = clock
        self._exposed = None if expose is None else names_of("expose", expose)
        self._match = match
        # `resolve` alone asks the app; what else there is answers from memory.
        if match is not None and is_async(match):
            self.resolve = self._resolve_later  # type: ignore[assignment]  # one colour or the other
        elif match is not None and blocks(match):
            self.resolve = Waiting(self.resolve)  # type: ignore[method-assign]  # the same, marked

    def current(self, request: Request) -> Session | None:
        found: Session | None = None
        for value in request.cookies(self.name):
            plain = unseal_cookie(value, name=self.name, secrets=self._secrets)
            if plain is None:
                continue  # forged or foreign: as if it had not been sent
            session = self._limited(json.loads(plain), value)
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
            user = exposed_of(user, ("id", *self._exposed))
        # The other side seals anew; what it is not given, it can't bring back here.
        return replace(session, token="", user=user)

    def resolve(self, session: Session) -> Session | None:
        # The session is in the token's seal, which only this package writes; whether it has
        # expired is checked for every adapter alike.
        if self._match is None:
            # A site whose adapter verifies nothing hands over made-up cookies, of an unknown user.
            # Sealed here, such a session would be a live one, and its visitor signed in.
            return None if not session.user_id else self._arrived(session, None)
        user = self._match(session)
        if inspect.isawaitable(user):
            if inspect.iscoroutine(user):
                user.close()
            raise TypeError("match gave an awaitable: make it `async def`")
        return None if user is None else self._arrived(session, user)

    async def _resolve_later(self, session: Session) -> Session | None:
        user = await self._match(session) if self._match is not None else None
        return None if user is None else self._arrived(session, user)

    def _arrived(self, session: Session, user: Any) -> Session:
        if user is not None:
            known = _user(user)
            user_id = str(known["id"])
            session = replace(
                session,
                # Session ids of two sites may collide: revoke() must not find other tokens.
                id=session_id("arrived", session.id, user_id),
                user_id=user_id,
                user=known,
            )
        # Sealed with its end, which may have passed: the redemption then responds so.
        session = replace(session, expires_at=self._end(session))
        # The session may hold a cookie of another site: only a cookie of this site is of use here.
        return replace(session, token=self._seal(session))

    def establish(self, session: Session, request: Request) -> list[Cookie]:
        # Sealed anew: the browser gets a cookie of this side's newest secret, wherever the session
        # comes from.
        now, end = self._now(), self._end(session)
        if end <= now:
            raise SessionExpired
        cookie = self.attributes.cookie(self.name, self._seal(replace(session, expires_at=end)))
        if not session.persistent:
            return [cookie]
        left = int((end - now).total_seconds())
        if left < 1:
            # No cookie lives for less than a second: an age of 0 would delete one instead.
            raise SessionExpired
        return [
            replace(cookie, max_age=left if cookie.max_age is None else min(cookie.max_age, left))
        ]

    def start(self, user: Mapping[str, Any] | str, *, remember: bool) -> Session:
        """A new session for a user.

        :param user: JSON values with an `id`, or just the id.
        :raises ValueError: no id, or more than a cookie can hold.
        """
        known = _user(user)
        now = self._now()
        session = Session(
            id=randomness.token_urlsafe(24),
            token="-",
            user_id=str(known["id"]),
            user=known,
            created_at=now,
            expires_at=now + self._lifetime,
            persistent=remember,
        )
        value = self._seal(session)
        return Session.from_json({**session.to_json(), "token": value})

    def end(self, request: Request) -> list[Cookie]:
        """The cookies that end the session in the browser."""
        return [deletion(self.attributes.cookie(self.name, ""))]

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), timezone.utc)

    def _end(self, session: Session) -> datetime:
        # A session may last for years where it comes from: here it lasts no longer than any other.
        latest = self._now() + self._lifetime
        return min(session.expires_at or latest, latest)

    def _limited(self, values: Mapping[str, Any], cookie: str) -> Session | None:
        """The session in a cookie, which ends after this site's lifetime at the latest."""
        session = Session.from_json({**values, "token": cookie})
        sealed_at = values.get(_SEALED_AT) or values.get("created_at")
        # A cookie that says neither may be of any age.
        if sealed_at is None:
            return None
        # Judged again, since the lifetime may have been longer when the cookie was sealed: it
        # would go on signing in for all of that time after the lifetime was shortened.
        latest = datetime.fromisoformat(sealed_at) + self._lifetime
        return replace(session, expires_at=min(session.expires_at or latest, latest))

    def _seal(self, session: Session) -> str:
        values = {**session.to_json(), _SEALED_AT: self._now().isoformat()}
        del values["token"]
        value = seal_cookie(
            to_json(values),
            name=self.name,
            secret=self._secrets[0],
            nonce=randomness.token_bytes(NONCE_BYTES),
        )
        if len(self.name) + len(value) > _MAX_COOKIE - 128:  # room for the attributes
            raise ValueError("the session is larger than a cookie can be: carry less in the user")
        return value


def _user(user: Mapping[str, Any] | str) -> dict[str, Any]:
    known = {"id": user} if isinstance(user, str) else dict(user)
    if not known.get("id"):
        raise ValueError("the user needs an id, as {'id': 'alice'}")
    return known
