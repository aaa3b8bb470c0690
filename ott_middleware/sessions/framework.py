"""What the adapters of frameworks share: what leaves with a token, and who arrives with one.

A session of a framework leaves as a portable one: the user's id, the fields of the user that
`expose` names, the values of the session that `data` names. The cookie's value goes along sealed
under the site's own secret, so that only a site with the same secret can use it. Any other site
gets a person, and says by `match` who that is to it.
"""

from __future__ import annotations

import hashlib
import logging
import secrets as randomness
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from ..calls import is_async, on_loop
from ..errors import ConfigurationError
from ..http import Cookie, Request
from ..tokens import NONCE_BYTES, base64url, seal_cookie, unseal_cookie
from .base import Session, SessionAdapter

logger = logging.getLogger("ott_middleware")

Match = str | Callable[[Session], Any]


class FrameworkSession(SessionAdapter):
    """The base of the adapters of frameworks; see there.

    :param mode: `"share"`: both sides hold the same session, which needs one session store (or,
        where the cookie is the session, one secret). `"fork"`: this side begins a session of its
        own for the same user.
    :param expose: the fields of the user that leave this site with a token, beside the id.
    :param data: the keys of the session that leave this site with a token, and that are accepted
        where somebody arrives with one.
    :param match: who somebody is here who arrives from a site with another secret: `"id"` (the
        ids of both sides name the same people), the name of a field that the other side exposes,
        or a function of the `Session`, sync or async, that returns a user of this side, or None to
        refuse. Without it, such people are refused.
    :param sources: adapters of the sites that people come from. Each is asked, here, whether a
        session of its own that arrives is still alive; it needs to reach what it asks.
    :raises ConfigurationError: a bad argument.
    """

    #: Marks the sessions of this framework on their way.
    kind: ClassVar[str]
    vouches = True

    def __init__(
        self,
        *,
        mode: str = "share",
        expose: Iterable[str] = (),
        data: Iterable[str] = (),
        match: Match | None = None,
        sources: Sequence[FrameworkSession] = (),
    ) -> None:
        if mode not in ("share", "fork"):
            raise ConfigurationError(f"mode: {mode!r}; use 'share' or 'fork'")
        if match is not None and not (callable(match) or (isinstance(match, str) and match)):
            raise ConfigurationError(
                f"match: {match!r}; pass 'id', the name of a field, or a function of the session"
            )
        for source in sources:
            if not isinstance(source, FrameworkSession):
                raise ConfigurationError(
                    f"sources: holds a {type(source).__name__}; pass adapters of frameworks"
                )
        self.mode = mode
        self._exposed = _names("expose", expose)
        self._data = _names("data", data)
        self._match = match
        self._sources = tuple(sources)
        if any(source.blocks for source in sources):
            self.blocks = True
            self.thread_sensitive = any(source.thread_sensitive for source in sources)
        if callable(match) and is_async(match):
            # The only method that waits; the others keep their colour.
            self.resolve = self._resolve_later  # type: ignore[method-assign]  # one colour or the other

    # What a framework's adapter defines, beside `current`.

    def secrets(self) -> Sequence[str | bytes]:
        """The site's own secrets, newest first."""
        raise TypeError(f"{type(self).__name__} must define secrets()")

    def alive(self, session: Session) -> Session | None:
        """A session of this site as it is now, or None.

        :param session: with the cookie's value as its `token`.
        :return: in mode `"fork"` without a token: `establish` begins a new one.
        """
        raise TypeError(f"{type(self).__name__} must define alive()")

    def known(self, session: Session, person: Any) -> Session | None:
        """The session of somebody who arrives from elsewhere, as somebody of this side; or None.

        :param person: by `match`: an id, the value of a field, or what the function returned.
        :return: with this side's `user_id`, and without a token.
        """
        raise TypeError(f"{type(self).__name__} must define known()")

    def share(self, session: Session, request: Request) -> Iterable[Cookie]:
        """The cookies that make the browser hold this very session."""
        raise TypeError(f"{type(self).__name__} must define share()")

    def begin(self, session: Session, request: Request) -> Iterable[Cookie]:
        """The cookies of a new session for `session.user_id`, with `session.data`.

        Never the session that the browser had before: its id may be known to somebody.
        """
        raise TypeError(f"{type(self).__name__} must define begin()")

    # What is the same for all.

    def expose(self, session: Session) -> Session:
        user = {"id": session.user_id} if session.user_id is not None else {}
        user.update((k, v) for k, v in (session.user or {}).items() if k in self._exposed)
        return replace(
            session,
            token=self._sealed(session.token) if session.token else "",
            user=user or None,
            # The allow-list decides here, whoever made the session: nothing else leaves.
            data={name: session.data[name] for name in self._data if name in session.data},
        )

    def resolve(self, session: Session) -> Session | Awaitable[Session | None] | None:
        own = self._opened(session)
        if own is not None:
            return self.alive(own)
        arrived = self._vouched_for(session)
        if arrived is None or self._match is None:
            return None
        return self._known(arrived, self._person(arrived))

    async def _resolve_later(self, session: Session) -> Session | None:
        own = self._opened(session)
        if own is not None:
            alive: Session | None = await on_loop(self.alive)(own)
            return alive
        arrived = await on_loop(self._vouched_for)(session)
        if arrived is None:
            return None
        person = await self._person(arrived)
        known: Session | None = await on_loop(self._known)(arrived, person)
        return known

    def establish(self, session: Session, request: Request) -> Iterable[Cookie]:
        # Only `alive` leaves a token on a session, and only one of this site's own.
        return self.share(session, request) if session.token else self.begin(session, request)

    def _vouched_for(self, session: Session) -> Session | None:
        """A session from elsewhere, where nothing is known against it."""
        for source in self._sources:
            own = source._opened(session)
            if own is not None:
                # The values that it exposed are what counts; that it lives is what is asked.
                return session if source.alive(own) is not None else None
        if self._match is None:
            # Two sites with ids of their own: 7 here may be somebody else than 7 there.
            logger.error(
                "%s: somebody arrived from a site with another secret; say who that is here: "
                "pass match=",
                type(self).__name__,
            )
        return session

    def _person(self, session: Session) -> Any:
        match = self._match
        if callable(match):
            return match(session)
        return session.user_id if match == "id" else (session.user or {}).get(str(match))

    def _known(self, session: Session, person: Any) -> Session | None:
        # No value is no match: a query for None or "" might find somebody.
        if person is None or person == "":
            return None
        accepted = {name: session.data[name] for name in self._data if name in session.data}
        return self.known(replace(session, token="", data=accepted), person)

    def _sealed(self, cookie: str) -> str:
        sealed = seal_cookie(
            cookie.encode("latin-1"),
            name=self._purpose,
            secret=self._keys()[0],
            nonce=randomness.token_bytes(NONCE_BYTES),
        )
        return f"{self.kind}.{sealed}"

    def _opened(self, session: Session) -> Session | None:
        """The session with its cookie's value, where it is one of this site's own."""
        kind, _, sealed = session.token.partition(".")
        if kind != self.kind:
            return None
        plain = unseal_cookie(sealed, name=self._purpose, secrets=self._keys())
        return None if plain is None else replace(session, token=plain.decode("latin-1"))

    @property
    def _purpose(self) -> str:
        return f"{self.kind} session in transit"

    def _keys(self) -> tuple[bytes, ...]:
        # Hashed, since a framework's secret may be of any length.
        raw = (secret.encode() if isinstance(secret, str) else secret for secret in self.secrets())
        return tuple(hashlib.sha256(b"ott_middleware transit " + each).digest() for each in raw)


def session_id(*parts: str) -> str:
    """Names a session in logs, and for `revoke`, without telling what it is made of."""
    material = "\0".join(("ott_middleware session", *parts))
    return base64url(hashlib.sha256(material.encode("utf-8", "surrogatepass")).digest())


def exposed_of(values: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """The named values, where they are there."""
    return {name: values[name] for name in names if name in values}


def _names(option: str, given: object) -> tuple[str, ...]:
    # A text is a list of letters: never what was meant.
    names = None if isinstance(given, str) or not isinstance(given, Iterable) else tuple(given)
    if names is None or not all(isinstance(name, str) and name for name in names):
        raise ConfigurationError(f"{option}: {given!r}; pass a list of names")
    return names
