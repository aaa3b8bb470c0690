"""Starlette's and FastAPI's sessions: the signed cookie of `SessionMiddleware`."""

from __future__ import annotations

import copy
import json
import logging
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

from ...errors import ConfigurationError, SessionExpired, SessionUnavailable
from ...http.client_text import last_cookie
from ...http.cookies import Cookie, CookieAttributes
from ...http.messages import Request
from ..base import CallApp, Session
from ..detect import layers_of
from ..dict_session import MappedSession, Person, User
from ..framework import FrameworkSession, Match, Mode, session_id
from ..hosts import exact_hosts, hosts_of, layers_with_hosts
from ..lifetime import END_KEY, earlier, moment_of, seconds_in, seconds_of
from .lifetime import bound_app, is_session_middleware

if TYPE_CHECKING:
    from typing_extensions import Unpack

logger = logging.getLogger("ott_middleware")

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
    - A session that a handoff made, or brought along, ends with the one that it comes from, and
      after `max_age` at the latest, whatever the app writes to it: its end stands in the session,
      under a key that the app does not see. For that the app is given one more layer of middleware,
      inside of `SessionMiddleware`. (`bounds_app` is False, and a warning is logged at start, where
      the adapter was given options instead of an app and finds no `SessionMiddleware` in the app
      that is wrapped. Whenever the app writes to the session, its cookie's `Max-Age` is
      `SessionMiddleware`'s own, for sessions that were to end with the browser as well.)

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
        mode: Mode | None = None,
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
                "secret_key: is empty, so that a client could sign; give SessionMiddleware a secret"
            )
        self._max_age = middleware.max_age
        self._name = middleware.session_cookie
        self._attributes = _attributes(middleware)
        self._attributes.check([self._name])
        self.cookie_names = (self._name,)
        self.strict = self._attributes.strict
        self._clock = clock
        self._app = app
        self._layers = layers_with_hosts(app)

    def bind(self, call_app: CallApp) -> None:
        super().bind(call_app)
        app = self._app
        if app is None:  # what is wrapped may be the app that the options are of
            app = getattr(getattr(call_app, "__self__", None), "app", None)
        self.bounds_app = bound_app(app, self._clock)
        if not self.bounds_app:
            logger.warning(
                "StarletteSession: the app may see a session after its end; pass the app or its "
                "SessionMiddleware instead of secret_key=, so that it can be kept from that"
            )

    @classmethod
    def of_app(cls, app: Any) -> StarletteSession:
        """The adapter for an app, or for its `SessionMiddleware`.

        :raises ConfigurationError: it has none.
        """
        if _middleware_of(app) is None:
            raise _no_middleware()
        return cls(app)

    def own_hosts(self) -> frozenset[str]:
        """Return the exact names that the app's `TrustedHostMiddleware` allows."""
        return exact_hosts(hosts_of(self._layers))

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
        live = self.lives_on(session, person, values)
        return replace(live, token=self._with_end(live)) if live.token else live

    def share(self, session: Session, request: Request) -> list[Cookie]:
        return [self._attributes.cookie(self._name, session.token)]

    def begin(self, session: Session, request: Request) -> list[Cookie]:
        now = int(self._clock())
        own_end = None if self._max_age is None else now + self._max_age
        end = earlier(own_end, seconds_of(session.expires_at))
        values = self.values_of(session)
        if end is None:
            return [self._cookie(values, now)]
        if end <= now:
            raise SessionExpired
        if self._max_age is not None:
            # A signature is good for `max_age` from its date: dated back, it ends with the session,
            # in an app without this middleware too.
            now = max(0, min(now, end - self._max_age))
        # Last, so that no value of the session takes its place. It outlasts each write of the app.
        return [self._cookie({**values, END_KEY: end}, now)]

    def _cookie(self, values: Mapping[str, Any], signed_at: int) -> Cookie:
        value = self._signed(values, signed_at)
        if len(self._name) + len(value) > _MAX_COOKIE:
            raise SessionUnavailable("the session is larger than a cookie can be: carry less data")
        return self._attributes.cookie(self._name, value)

    def _with_end(self, session: Session) -> str:
        """The cookie's value of a session that is shared, with the session's end in it."""
        signed, signed_at = self._signer.unsign(session.token, return_timestamp=True)
        values = json.loads(b64decode(signed))
        end = earlier(seconds_of(session.expires_at), seconds_in(values, END_KEY))
        if end == values.get(END_KEY):
            return session.token
        # The signature keeps its date. Without the end beside it, the app's next write would date
        # the session anew, and it would outlive the one that it was copied from.
        return self._cookie({**values, END_KEY: end}, int(signed_at.timestamp())).value

    def _opened_cookie(
        self, value: str
    ) -> tuple[Mapping[str, Any], Person, datetime | None] | None:
        """The values in a cookie, its user and its end; None without a signed-in user."""
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
        end = moment_of(seconds_in(values, END_KEY))
        if self._max_age is None:
            return values, person, end
        if signed_at.timestamp() > self._clock():
            return None  # SessionMiddleware takes nothing from the future either
        return values, person, earlier(end, signed_at + timedelta(seconds=self._max_age))

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
        if is_session_middleware(entry):
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
