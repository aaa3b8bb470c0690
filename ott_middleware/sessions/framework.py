"""The base of the frameworks' adapters: what leaves with a token, and which user a token signs in.

A session of a framework leaves as a portable one: the user's id, the fields of the user that
`expose` names, the values of the session that `data` names. The cookie's value goes along sealed
under the site's own secret, so that only a site with the same secret can use it. Any other site
maps the user of the source site to a local user by `match`.

One module, though it is long: the steps from one site's session to another's are one argument.
"""

from __future__ import annotations

import inspect
import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, Literal, TypedDict, TypeVar

from ..concurrency import Waiting, blocks, is_async, on_loop
from ..errors import ConfigurationError, NoAccount, full_name
from ..hooks import WrongResult, naming
from ..http.cookies import Cookie
from ..http.encoding import to_json
from ..http.messages import Request
from .base import Session, SessionAdapter, UserSession, exposed_of, names_of, session_id
from .lifetime import earlier
from .missing_user import KeysWithoutUser, describe_missing_user
from .transit import seal_session, unseal_session

__all__ = ["FrameworkSession", "Match", "earlier", "exposed_of", "session_id"]

logger = logging.getLogger("ott_middleware")

Match = str | Callable[[UserSession], Any]
Mode = Literal["share", "fork"]
_T = TypeVar("_T")


class FrameworkOptions(TypedDict, total=False):
    """What the adapters of all frameworks can be told, as keyword arguments."""

    mode: Mode | None
    """`"share"`: both sites hold the same session, which needs one session store (or, where the
    cookie is the session, one secret). `"fork"`: this site creates a session of its own for the
    same user, under a key that no other browser knows. Default: None, what is safe for the sessions
    that the app keeps; `"share"`, unless the adapter says otherwise."""
    expose: Iterable[str]
    """The fields of the user that leave this site with a token, beside the id. Default: none."""
    data: Iterable[str]
    """The keys of the session that leave this site with a token, and that are accepted in a session
    of another site. Default: none."""
    match: Match | None
    """Finds the local user for a session of a site with another secret: `"id"` (the ids of both
    sites name the same users), the name of a field that the source site exposes, or a function of
    the `UserSession`, sync or async, that returns a user of this site, or None to refuse.
    Default: None, such sessions are refused."""
    sources: Sequence[FrameworkSession]
    """Adapters of the source sites. Each is asked, at this site, whether a session of its own is
    still alive; it needs access to that site's session store. Default: none."""


class Responded(Exception):
    """A function of the app that runs before its views has responded to a request."""


class FrameworkSession(SessionAdapter):
    """The base of the adapters of frameworks.

    :param mode, expose, data, match, sources: see `FrameworkOptions`.
    :raises ConfigurationError: a bad argument.
    """

    #: Marks the sessions of this framework on their way.
    kind: ClassVar[str]
    #: The keys of a session that name the user.
    user_keys: tuple[str, ...] = ()
    #: What to pass where another key names the user.
    cure_for_keys = "pass session=CookieSession('its cookie', probe='/a/path') or validate="
    vouches = True

    def __init__(
        self,
        *,
        mode: Mode | None = None,
        expose: Iterable[str] = (),
        data: Iterable[str] = (),
        match: Match | None = None,
        sources: Sequence[FrameworkSession] = (),
    ) -> None:
        if mode not in (None, "share", "fork"):
            raise ConfigurationError(f"mode: {mode!r}; use 'share' or 'fork'")
        if match is not None and not (callable(match) or (isinstance(match, str) and match)):
            raise ConfigurationError(
                f"match: {match!r}; pass 'id', the name of a field, or a function of the session"
            )
        sources = tuple(sources) if isinstance(sources, Iterable) else (sources,)
        for source in sources:
            if not isinstance(source, FrameworkSession):
                raise ConfigurationError(
                    f"sources: holds {full_name(source)}; pass adapters of frameworks"
                )
        self.keys_without_user = KeysWithoutUser()
        self._mode = mode
        self._exposed = names_of("expose", expose)
        self._data = names_of("data", data)
        self._match = match
        self._warned = False
        self._sources = sources
        # `resolve` alone calls the functions of others: it alone may block, or be async, for them.
        sensitive = any(each.thread_sensitive for each in sources)
        if any(each.blocks for each in sources):
            self._look_up = Waiting(self._look_up, thread_sensitive=sensitive)  # type: ignore[method-assign]  # marked
        if callable(match) and is_async(match):
            self.resolve = self._resolve_async  # type: ignore[method-assign]  # sync or async
        elif isinstance(self._look_up, Waiting) or (callable(match) and blocks(match)):
            self.resolve = Waiting(self.resolve, thread_sensitive=sensitive)  # type: ignore[method-assign]  # marked

    @property
    def mode(self) -> str:
        """`"share"` or `"fork"`."""
        return self._mode or self.safe_mode()

    # What a framework's adapter defines, beside `current`.

    def safe_mode(self) -> Mode:
        """Return the mode for an adapter without the option `mode`.

        The adapter must return `"fork"` if its framework keeps sessions on the server, and keeps a
        session's key when a user signs in: an attacker could plant the key of a session of their
        own by a link, and would know the key under which the victim signs in.
        """
        return "share"

    def secrets(self) -> Sequence[str | bytes]:
        """Return the site's own secrets, newest first."""
        raise TypeError(f"{type(self).__name__} must define secrets()")

    def alive(self, session: Session) -> Session | None:
        """Return a session of this site as it is now, or None if it has ended.

        :param session: with the cookie's value as its `token`.
        :return: in mode `"fork"` without a token, so that `establish` creates a new session.
        """
        raise TypeError(f"{type(self).__name__} must define alive()")

    def known(self, session: Session, person: Any) -> Session | None:
        """Return a session of another site as one of a local user, or None without such a user.

        :param person: by `match`: an id, the value of a field, or what the function returned.
        :return: with this site's `user_id`, and without a token.
        """
        raise TypeError(f"{type(self).__name__} must define known()")

    def share(self, session: Session, request: Request) -> Iterable[Cookie]:
        """Return the cookies that make the browser hold this very session."""
        raise TypeError(f"{type(self).__name__} must define share()")

    def begin(self, session: Session, request: Request) -> Iterable[Cookie]:
        """Return the cookies of a new session for `session.user_id`, with `session.data`.

        Never take over the session that the browser had before: an attacker may know its key.
        """
        raise TypeError(f"{type(self).__name__} must define begin()")

    def run_locally(self, function: Callable[[], _T]) -> _T:
        """Call a function that finds a user of this site, as a view of the app would call it.

        Default: directly.
        """
        return function()

    def local_context(self) -> AbstractContextManager[Any]:
        """Return a context of this site's app for an async `match`; it must not block.

        Default: none.
        """
        return nullcontext()

    # What is the same for all.

    def expose(self, session: Session) -> Session:
        user = {"id": session.user_id} if session.user_id is not None else {}
        user.update(exposed_of(session.user or {}, self._exposed))
        left = replace(
            session,
            user=user or None,
            # The allow-list decides for the sessions of any adapter: nothing else leaves.
            data=exposed_of(session.data, self._data),
        )
        return replace(left, token=self._seal(session.token, left) if session.token else "")

    def resolve(self, session: Session) -> Session | Awaitable[Session | None] | None:
        session, found, is_own = self._look_up(session)
        if is_own or found is None:
            return found
        arrived, there = UserSession.of(session), found

        def find() -> Session:
            with naming("match=", arrived.hint):
                person = self._match_user(arrived)
            return self._to_local(session, there, person, arrived.hint())

        return self.run_locally(find)

    async def _resolve_async(self, session: Session) -> Session | None:
        session, found, is_own = await on_loop(self._look_up)(session)
        if is_own or found is None:
            return found  # type: ignore[no-any-return]  # of `_look_up`
        arrived = UserSession.of(session)
        with self.local_context(), naming("match=", arrived.hint):
            person = await self._match_user(arrived)
        find = partial(self._to_local, session, found, person, arrived.hint())
        return await on_loop(self.run_locally)(find)  # type: ignore[no-any-return]  # the same

    def explain_missing_user(self, request: Request) -> str | None:
        keys = self.keys_without_user.of(request)
        return describe_missing_user(request, self, keys, self.user_keys, self.cure_for_keys)

    def establish(self, session: Session, request: Request) -> Iterable[Cookie]:
        # Only `alive` leaves a token on a session, and only one of this site's own.
        return self.share(session, request) if session.token else self.begin(session, request)

    def _look_up(self, session: Session) -> tuple[Session, Session | None, bool]:
        """Ask the site that a session is from, if this site or a source of it is.

        :return: the session with what its site vouches for; the session as its site knows it now,
            or None if the session has ended; and whether that site is this one.
        """
        session = self._drop_unnamed_data(session)
        own = self._open(session)
        if own is not None:
            return own, _if_same_user(own, self.alive(own)), True
        for source in self._sources:
            there = source._open(session)
            if there is not None:
                found = _if_same_user(there, source.alive(there))
                # The data is not sealed, since it may be large: the source's own is taken instead.
                # Else an attacker could add to a session of their own what this site's `data` lets
                # in.
                data = {} if found is None else json.loads(to_json(dict(found.data)))
                arrived = replace(there, token=session.token, data=data)
                return self._drop_unnamed_data(arrived), found, False
        return session, session, False

    def _drop_unnamed_data(self, session: Session) -> Session:
        # What this site does not name, no other site can plant in its sessions.
        return replace(session, data=exposed_of(session.data, self._data))

    def _match_user(self, session: UserSession) -> Any:
        match = self._match
        if match is None:
            # User 7 of one site may be another person than user 7 of the other.
            logger.error(
                "%s: a session of a site with another secret was refused; tell which local user it "
                "belongs to: pass match=",
                type(self).__name__,
            )
            return None
        if callable(match):
            return match(session)
        value = session.user_id if match == "id" else session.user.get(str(match))
        # A field of another shape (true, a list) names no user, whatever a look-up makes of it.
        return value if isinstance(value, (str, int)) and not isinstance(value, bool) else None

    def _to_local(self, session: Session, found: Session, person: Any, hint: str) -> Session:
        """Turn a session of another site into one of a local user.

        :param found: the session as the source site knows it now.
        :param person: what `match` returned.
        :param hint: what to do if it found no user.
        :raises NoAccount: this site has no such user.
        """
        if inspect.isawaitable(person):
            if inspect.iscoroutine(person):
                person.close()
            raise WrongResult("match= gave an awaitable: make it `async def`")
        # No value is no match: a query for None, False or "" might find a user.
        if person is None or person is False or person == "":
            # Without the field no user will ever be found: that is no news for the DEBUG level
            # alone.
            if hint and not self._warned:
                self._warned = True
                logger.warning("%s: match= found no user, since %s", type(self).__name__, hint)
            given = "there is no match=" if self._match is None else f"match= returned {person!r}"
            raise NoAccount(
                why=f"{type(self).__name__}: {given} for {self._origin_of(session)}"
                + (f"; {hint}" if hint else "")
            )
        session = replace(
            session, token="", expires_at=earlier(session.expires_at, found.expires_at)
        )
        known = self.known(session, person)
        if known is None:
            raise NoAccount(
                why=f"{type(self).__name__}: no local user is the one that match= returned for "
                + self._origin_of(session)
            )
        return replace(
            known,
            # Session ids of two sites may collide: a derived id keeps revoke() from other tokens.
            id=session_id("arrived", session.id, str(known.user_id)),
            # Never a cookie of another site: a session with a token is shared, and this one is new.
            token="",
            user=known.user and {**known.user, "id": known.user_id},
            # A session of an hour at the source site does not last a year here.
            expires_at=earlier(known.expires_at, session.expires_at),
            persistent=known.persistent and session.persistent,
        )

    def _origin_of(self, session: Session) -> str:
        """Return, for the log, what kind of site a session is from."""
        kind, _, sealed = session.token.rpartition(".")
        kinds = ("django", "flask", "starlette", self.kind, *(each.kind for each in self._sources))
        # The token of an unsealed session is its cookie's value: no part of it is shown.
        if sealed.endswith(";") and kind in kinds:
            return f"a session of a {kind} site with another secret"
        return "a session of another kind of site"

    def _seal(self, cookie: str, session: Session | None = None) -> str:
        return seal_session(cookie, session, kind=self.kind, secrets=self.secrets())

    def _open(self, session: Session) -> Session | None:
        return unseal_session(session, kind=self.kind, secrets=self.secrets())


def _if_same_user(before: Session, now: Session | None) -> Session | None:
    # A session may be kept while its user changes: the token was for the first.
    return now if now is not None and now.user_id == before.user_id else None
