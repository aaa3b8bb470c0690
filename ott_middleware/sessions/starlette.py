"""Starlette's and FastAPI's sessions: the signed cookie of `SessionMiddleware`."""

from __future__ import annotations

import copy
import functools
import json
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypedDict, cast

from itsdangerous import BadSignature
from starlette.applications import Starlette
from starlette.middleware.sessions import SessionMiddleware
from starlette.responses import Response

from ..client_text import last_cookie
from ..errors import ConfigurationError, SessionExpired, SessionUnavailable
from ..http import Cookie, Request
from .auto import layers_of
from .base import CookieAttributes, Session
from .framework import FrameworkSession, Match, earlier, session_id
from .mapped import MappedSession, Person, User

if TYPE_CHECKING:
    from typing_extensions import Unpack

# RFC 6265 section 6.1: what a browser must store is 4096 bytes for name, value and attributes.
_MAX_COOKIE = 4096 - 128
# Stands where an app would, round a SessionMiddleware that is only looked at.
_NOTHING = Response()


class CookieOptions(TypedDict, total=False):
    """The options of Starlette's `SessionMiddleware`."""

    secret_key: Any
    session_cookie: str
    max_age: int | None
    path: str
    same_site: Any
    https_only: bool
    domain: str | None
    partitioned: bool


class StarletteSession(MappedSession):
    """The sessions of a Starlette or FastAPI app with Starlette's `SessionMiddleware`.

    Such a session is its cookie, signed and dated by the app's `secret_key`; nothing is kept on the
    server. From that follows:

    - A copy of the cookie is good until its `max_age` ends, signed out or not. Where links must die
      with a sign-out, use `revoke_on_sign_out=True`.
    - The cookie changes whenever the app writes to the session, so that a session's `id` names the
      user's sessions at this site; `max_per_session` counts for these together.
    - What a handoff makes is dated back, so that it never outlives the session that it came from.
      (When the app writes to it, it is dated anew, with a `Max-Age`: that is `SessionMiddleware`'s
      own rule, for sessions that were to end with the browser as well.)

    :param app: the app, in whatever it is wrapped, or its `SessionMiddleware`: the cookie's options
        are read from there.
    :param options: without an app, the options of `SessionMiddleware`: `secret_key` and perhaps
        `session_cookie`, `max_age`, `path`, `same_site`, `https_only`, `domain`, `partitioned`.
    :param user: see `MappedSession`.
    :param mode, expose, data, match, sources: see `FrameworkSession`. With `data=["cart"]` and
        `match="id"`, say, a handoff between apps with different secrets carries the cart along. The
        fields of `expose` come from the user's mapping where the session holds one, else from the
        session itself.
    :param clock: tells the time in Unix seconds.
    :raises ConfigurationError: no `SessionMiddleware`, no secret, or a bad argument.
    """

    kind = "starlette"
    blocks = False

    def __init__(
        self,
        app: Any = None,
        *,
        user: User | None = None,
        mode: str = "share",
        expose: Iterable[str] = (),
        data: Iterable[str] = (),
        match: Match | None = None,
        sources: Sequence[FrameworkSession] = (),
        clock: Callable[[], float] = time.time,
        **options: Unpack[CookieOptions],
    ) -> None:
        super().__init__(
            user=user, mode=mode, expose=expose, data=data, match=match, sources=sources
        )
        middleware = _with_options(options) if app is None else _found_in(app, options)
        self._signer = middleware.signer
        if not all(self._signer.secret_keys):
            raise ConfigurationError(
                "secret_key: is empty, so that anybody could sign; give SessionMiddleware a secret"
            )
        self._max_age = middleware.max_age
        self._name = middleware.session_cookie
        self._attributes = _attributes(middleware)
        self._attributes.check([self._name])
        self.cookie_names = (self._name,)
        self.strict = self._attributes.strict
        self._clock = clock

    @classmethod
    def of_app(cls, app: Any) -> StarletteSession:
        """The adapter for an app, or for its `SessionMiddleware`.

        :raises ConfigurationError: it has none.
        """
        middleware = _middleware_of(app)
        if middleware is None:
            raise _no_middleware()
        return cls(middleware)

    def secrets(self) -> Sequence[bytes]:
        # The signer has the newest last.
        return self._signer.secret_keys[::-1]

    def current(self, request: Request) -> Session | None:
        # Which of several cookies of that name counts, the app decides in the same way.
        value = last_cookie(request.header("cookie") or "", self._name)
        if not value:
            return None
        opened = self._opened_cookie(value)
        if opened is None:
            return None
        values, person, expires_at = opened
        session = self.session_of(
            person,
            values,
            id=session_id(self.kind, person.id),
            token=value,
            expires_at=expires_at,
            persistent=self._max_age is not None,
        )
        return None if session.expired(self._clock()) else session

    def alive(self, session: Session) -> Session | None:
        opened = self._opened_cookie(session.token)
        if opened is None:
            return None
        values, person, expires_at = opened
        if person.id != session.user_id:
            return None
        session = replace(session, expires_at=earlier(expires_at, session.expires_at))
        if session.expired(self._clock()):
            raise SessionExpired
        return self.lives_on(session, person, values)

    def share(self, session: Session, request: Request) -> list[Cookie]:
        return [self._attributes.cookie(self._name, session.token)]

    def begin(self, session: Session, request: Request) -> list[Cookie]:
        now = int(self._clock())
        if self._max_age is not None and session.expires_at is not None:
            # A signature is good for `max_age` from its date: dated back, it ends with the session.
            now = min(now, int(session.expires_at.timestamp()) - self._max_age)
        value = self._signed(self.values_of(session), now)
        if len(self._name) + len(value) > _MAX_COOKIE:
            raise SessionUnavailable("the session is larger than a cookie can be: carry less data")
        return [self._attributes.cookie(self._name, value)]

    def _opened_cookie(
        self, value: str
    ) -> tuple[Mapping[str, Any], Person, datetime | None] | None:
        """The values in a cookie, whose they are and when it ends; None for nobody's."""
        try:
            signed, signed_at = self._signer.unsign(value.encode(), return_timestamp=True)
            values = json.loads(b64decode(signed))
        except (BadSignature, ValueError, RecursionError):
            return None
        if not isinstance(values, Mapping):
            return None
        person = self.person_in(values)
        if person is None:
            return None
        if self._max_age is None:
            return values, person, None
        if signed_at.timestamp() > self._clock():
            return None  # SessionMiddleware takes nothing from the future either
        return values, person, signed_at + timedelta(seconds=self._max_age)

    def _signed(self, values: Mapping[str, Any], signed_at: int) -> str:
        signer = copy.copy(self._signer)
        signer.get_timestamp = lambda: signed_at  # type: ignore[method-assign]  # it has no other way to be told
        return signer.sign(b64encode(json.dumps(values).encode())).decode("ascii")


def _with_options(options: CookieOptions) -> SessionMiddleware:
    if "secret_key" not in options:
        raise ConfigurationError("app: pass the app, or secret_key= and what else it is told")
    try:
        return SessionMiddleware(_NOTHING, **options)
    except TypeError as error:
        raise ConfigurationError(
            f"{', '.join(options)}: pass what this Starlette's SessionMiddleware takes"
        ) from error


def _found_in(app: Any, options: CookieOptions) -> SessionMiddleware:
    if options:
        raise ConfigurationError(
            f"{', '.join(options)}: leave out what the app's own SessionMiddleware says"
        )
    for layer in layers_of(app):
        middleware = _middleware_of(layer)
        if middleware is not None:
            return middleware
    raise _no_middleware()


def _middleware_of(layer: Any) -> SessionMiddleware | None:
    if isinstance(layer, SessionMiddleware):
        return layer
    if not isinstance(layer, Starlette):
        return None
    for entry in layer.user_middleware:
        factory: Any = entry.cls
        while isinstance(factory, functools.partial):
            factory = factory.func
        if isinstance(factory, type) and issubclass(factory, SessionMiddleware):
            # The stack is not built yet, or was thrown away: made once more, round nothing.
            made = entry.cls(_NOTHING, *entry.args, **entry.kwargs)
            return cast("SessionMiddleware", made)
    return None


def _no_middleware() -> ConfigurationError:
    return ConfigurationError(
        "session: this Starlette app has no SessionMiddleware; add it before the app is wrapped "
        "(app.add_middleware(SessionMiddleware, secret_key=...)), or pass the session cookie's "
        "name (session='sid') or an adapter: CookieSession('sid', probe='/path') or validate=, "
        "SealedSession(secret) for an app without sessions, or one of your own"
    )


def _attributes(middleware: SessionMiddleware) -> CookieAttributes:
    flags = {
        name.strip().lower(): value.strip()
        for name, _, value in (flag.partition("=") for flag in middleware.security_flags.split(";"))
    }
    return CookieAttributes(
        domain=flags.get("domain"),
        path=middleware.path,
        secure=True if "secure" in flags else None,
        samesite=flags.get("samesite", "lax"),
        max_age=middleware.max_age,
        partitioned="partitioned" in flags,
        httponly="httponly" in flags,
    )
