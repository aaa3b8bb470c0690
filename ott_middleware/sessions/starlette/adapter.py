"""The adapter of Starlette's and FastAPI's sessions: the signed cookie of `SessionMiddleware`."""

from __future__ import annotations

import json
import logging
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from itsdangerous import BadSignature

from ...clock import system_clock
from ...errors import ConfigurationError, SessionExpired, SessionUnavailable
from ...http.client_text import last_cookie
from ...http.cookies import Cookie
from ...http.messages import Request
from ..base import CallApp, Session
from ..dict_session import MappedSession, Person, User
from ..framework import FrameworkOptions, session_id
from ..hosts import exact_hosts, hosts_of, layers_with_hosts
from ..layers import layers_of
from ..lifetime import END_KEY, add_end, earlier, moment_of, seconds_in, seconds_of, sign_at
from .middleware import build_middleware, cookie_attributes, find_middleware, guard_app

if TYPE_CHECKING:
    from typing_extensions import Unpack

logger = logging.getLogger("ott_middleware")

# RFC 6265 section 6.1: what a browser must store is 4096 bytes for name, value and attributes.
_MAX_COOKIE = 4096 - 128


class StarletteOptions(FrameworkOptions, total=False):
    """The options of `FrameworkOptions`, and those of Starlette's `SessionMiddleware`.

    The latter are for an adapter without an app; their defaults are Starlette's.
    """

    secret_key: Any
    """The secret that signs the cookie: a str, or Starlette's `Secret`. Needed without an app."""
    session_cookie: str
    """The name of the cookie."""
    max_age: int | None
    """Seconds from the last write to the session until the session ends."""
    path: str
    """The path that the cookie is sent for."""
    same_site: Any
    """`"lax"`, `"strict"` or `"none"`."""
    https_only: bool
    """Whether the cookie is sent over https alone."""
    domain: str | None
    """The host and its subdomains that the cookie is sent to."""
    partitioned: bool
    """Whether the cookie is for use in third-party frames (CHIPS). Of newer Starlettes."""


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
    :param user: see `MappedSession`.
    :param clock: tells the time in Unix seconds.
    :param options: see `StarletteOptions`. With `data=["cart"]` and `match="id"`, say, a handoff
        between apps with different secrets carries the cart along. The fields of `expose` come from
        the user's mapping where the session holds one, else from the session itself.
    :raises ConfigurationError: no `SessionMiddleware`, no secret, or a bad argument.
    """

    kind = "starlette"
    blocks = False

    def __init__(
        self,
        app: Any = None,
        *,
        user: User | None = None,
        clock: Callable[[], float] = system_clock,
        **options: Unpack[StarletteOptions],
    ) -> None:
        given: dict[str, Any] = dict(options)
        names = given.keys() & FrameworkOptions.__annotations__.keys()
        super().__init__(user=user, **{name: given.pop(name) for name in names})
        self.check_match()
        if app is not None and given:
            raise ConfigurationError(
                f"{', '.join(given)}: leave out what the app's own SessionMiddleware says"
            )
        middleware = build_middleware(given) if app is None else find_middleware(layers_of(app))
        self._signer = middleware.signer
        if not all(self._signer.secret_keys):
            raise ConfigurationError(
                "secret_key: is empty, so that a client could sign; give SessionMiddleware a secret"
            )
        self._max_age = middleware.max_age
        self._name = middleware.session_cookie
        self._attributes = cookie_attributes(middleware)
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
        self.bounds_app = guard_app(app, self._clock)
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
        find_middleware([app])
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
        opened = self._open_cookie(value)
        if opened is None:
            return None
        values, person, expires_at, _ = opened
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
        opened = self._open_cookie(session.token)
        if opened is None:
            return None
        values, person, expires_at, signed_at = opened
        live = self.share_or_fork(session, person, values, expires_at=expires_at, now=self._clock())
        ended = add_end(values, live.expires_at) if live and live.token else None
        if live is None or ended is None:
            return live
        # The signature keeps its date. Without the end beside it, the app's next write would date
        # the session anew, and it would outlive the one that it was copied from.
        return replace(live, token=self._cookie(ended, int(signed_at.timestamp())).value)

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
        value = sign_at(self._signer, b64encode(json.dumps(values).encode()), signed_at)
        if len(self._name) + len(value) > _MAX_COOKIE:
            raise SessionUnavailable("the session is larger than a cookie can be: carry less data")
        return self._attributes.cookie(self._name, value)

    def _open_cookie(
        self, value: str
    ) -> tuple[Mapping[str, Any], Person, datetime | None, datetime] | None:
        """Return the values in a cookie, its user, its end and its date.

        :return: None without a good signature, or without a signed-in user.
        """
        try:
            signed, signed_at = self._signer.unsign(value.encode(), return_timestamp=True)
            values = json.loads(b64decode(signed))
        except (BadSignature, ValueError, RecursionError):
            return None
        if not isinstance(values, Mapping):
            return None
        person = self.person_in(values)
        if person is None:
            self.keys_without_user.note(values)
            return None
        end = moment_of(seconds_in(values, END_KEY))
        if self._max_age is not None:
            if signed_at.timestamp() > self._clock():
                return None  # SessionMiddleware takes nothing from the future either
            end = earlier(end, signed_at + timedelta(seconds=self._max_age))
        return values, person, end, signed_at
