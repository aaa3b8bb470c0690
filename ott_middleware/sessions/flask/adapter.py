"""Flask's sessions, by the app's own session interface: signed cookies or kept on a server."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import flask
from flask.sessions import SecureCookieSessionInterface, SessionInterface, SessionMixin
from itsdangerous import BadSignature, TimestampSigner, URLSafeTimedSerializer
from werkzeug.http import dump_cookie

from ...context import handle_in
from ...errors import ConfigurationError, SessionExpired, SessionUnavailable
from ...http.client_text import MAX_COOKIE_HEADER, MAX_COOKIE_VALUE, MAX_QUOTED_PIECES
from ...http.cookies import Cookie, CookieAttributes
from ...http.messages import Request
from ..base import CallApp, Session
from ..dict_session import Beginning, MappedSession, Person, User, id_of
from ..framework import FrameworkSession, Match, Mode, session_id
from ..hosts import exact_hosts, flask_hosts
from ..lifetime import END_KEY, earlier, moment_of, seconds_in, seconds_of
from ..wsgi_environ import environ_of
from .lifetime import Limits, bound_interface, keeps_on_server, limits_of, watch_interface

if TYPE_CHECKING:
    from .login import FlaskLogin

logger = logging.getLogger("ott_middleware")

_FROM_NOW_ON = SessionInterface.get_expiration_time
_QUOTES_A_VALUE = re.compile(r'=[ \t]*"')


class FlaskSession(MappedSession):
    """The sessions of a Flask app, with whatever session interface it has: Flask's own signed
    cookies, Flask-Session's and others' that are kept on a server.

    With Flask-Login (`app.login_manager`), the signed-in user is the one that Flask-Login loads: a
    user that its loader does not find any more, or that is not `is_active`, is not signed in, and
    strong session protection holds. A user with the remember cookie alone is signed in too; that
    cookie never travels, and the target site creates a session that is not fresh. New sessions are
    created by `flask_login.login_user`, for the browser that follows the link; only a fork of a
    fresh session is fresh itself. `match` gives what the app's loader takes, or a user object.
    Users of a `request_loader` have no session that could be handed over, and count as signed out.

    Where the session is the cookie, nothing is kept on the server. From that follows:

    - A copy of the cookie is good until it expires, signed out or not, unless the loader refuses
      the user (Flask-Login's alternative ids). Where links must die with a sign-out, use
      `revoke_on_sign_out=True`.
    - The cookie changes whenever the app writes to the session, so that a session's `id` names the
      user's sessions at this site; `max_per_session` counts for these together.

    A session that a handoff made, or brought along, ends with the one that it comes from, and after
    `PERMANENT_SESSION_LIFETIME` at the latest, whatever the app writes to it: its end stands in the
    session, under a key that the app does not see, and the app's session interface is made to open
    no session that has ended and to save none without its end. (`bounds_app` is False, and a
    warning is logged at start, where the interface is an object that takes no other methods, or
    derives from Flask's own and is shared though it opens cookies in a way of its own.)

    :param app: the Flask app; its configuration is read as it is when a request comes, but for
        `SECRET_KEY`, which must be there (it seals sessions in transit, wherever they are kept).
    :param user: see `MappedSession`; where it is given, Flask-Login is not asked.
    :param mode: see `FrameworkSession`. Default: `"share"` where the session is the cookie, as
        Flask's own is; `"fork"` where a session interface keeps sessions on a server, as
        Flask-Session does. Neither Flask-Session nor Flask-Login gives a session a new key at
        sign-in: an attacker with an account could plant the key of their own session by a link, and
        would know the key under which the victim signs in next. `"share"` is safe there only if
        each sign-in of the app calls `app.session_interface.regenerate(session)`; asking for it
        logs a warning at start.
    :param expose, data, match, sources: see `FrameworkSession`. The fields of `expose` are
        attributes of Flask-Login's user; without it they come from the user's mapping where the
        session holds one, else from the session itself.
    :raises ConfigurationError: no Flask app, no `SECRET_KEY`, or a bad argument.
    """

    kind = "flask"
    reserved = frozenset(
        ("_user_id", "_fresh", "_id", "_remember", "_remember_seconds", "_permanent")
    )

    def __init__(
        self,
        app: flask.Flask,
        *,
        user: User | None = None,
        mode: Mode | None = None,
        expose: Iterable[str] = (),
        data: Iterable[str] = (),
        match: Match | None = None,
        sources: Sequence[FrameworkSession] = (),
    ) -> None:
        if not isinstance(app, flask.Flask):
            raise ConfigurationError(f"app: a {type(app).__name__}; pass the Flask app itself")
        super().__init__(
            user=user, mode=mode, expose=expose, data=data, match=match, sources=sources
        )
        self.app = app
        self.secrets()

    @classmethod
    def of_app(cls, app: flask.Flask) -> FlaskSession:
        """The adapter for an app.

        :raises ConfigurationError: it has no `SECRET_KEY`.
        """
        return cls(app)

    def bind(self, call_app: CallApp) -> None:
        super().bind(call_app)
        watch_interface(self.app, self._bound_interface)

    def _bound_interface(self) -> None:
        self.bounds_app = bound_interface(self.app) and (
            self.mode == "fork" or keeps_on_server(self._interface) or self._opens_as_flask_does()
        )
        if not self.bounds_app:
            logger.warning(
                "FlaskSession: the app may see a session after its end, since %s opens cookies in "
                "a way of its own; pass mode='fork', or derive it from Flask's SessionInterface",
                type(self._interface).__name__,
            )
        if self._mode == "share" and keeps_on_server(self._interface):
            logger.warning(
                "FlaskSession: mode='share' allows session fixation, since %s keeps a session's "
                "key at sign-in; leave mode out (each site then has a key of its own), or call "
                "app.session_interface.regenerate(session) at each sign-in",
                type(self._interface).__name__,
            )

    def _opens_as_flask_does(self) -> bool:
        of_flask = SecureCookieSessionInterface.open_session
        return type(self._interface).open_session is of_flask

    def safe_mode(self) -> Mode:
        return "fork" if keeps_on_server(self._interface) else "share"

    # The app may be told these after it is wrapped.

    @property
    def cookie_names(self) -> tuple[str, ...]:  # type: ignore[override]  # read only here
        """The name of the session cookie."""
        return (self._interface.get_cookie_name(self.app),)

    @property
    def strict(self) -> bool:  # type: ignore[override]  # read only here
        """Whether the session cookie is `SameSite=Strict`."""
        return self._attributes().strict

    @property
    def _interface(self) -> SessionInterface:
        return self.app.session_interface

    def _login(self) -> FlaskLogin | None:
        if self._user is not None or not hasattr(self.app, "login_manager"):
            return None
        from .login import FlaskLogin  # its library is there: the app uses it

        return FlaskLogin(self.app, self._exposed)

    def _attributes(self) -> CookieAttributes:
        interface, app = self._interface, self.app
        lifetime = int(app.permanent_session_lifetime.total_seconds())
        # Flask has it since 3.1.
        partitioned = getattr(interface, "get_cookie_partitioned", lambda app: False)(app)
        return CookieAttributes(
            domain=interface.get_cookie_domain(app),
            path=interface.get_cookie_path(app),
            # False says no more than that the app may be asked by http.
            secure=interface.get_cookie_secure(app) or None,
            samesite=interface.get_cookie_samesite(app) or "",
            max_age=lifetime if lifetime > 0 else None,
            partitioned=partitioned,
            httponly=interface.get_cookie_httponly(app),
        )

    def own_hosts(self) -> frozenset[str]:
        """Return the exact names in `TRUSTED_HOSTS`, and `SERVER_NAME`."""
        return exact_hosts(flask_hosts(self.app))

    def secrets(self) -> Sequence[str | bytes]:
        if not self.app.secret_key:
            raise ConfigurationError(
                "SECRET_KEY: the Flask app has none, and sessions are sealed with it on their way; "
                "set app.secret_key before the app is wrapped"
            )
        return (self.app.secret_key, *(self.app.config.get("SECRET_KEY_FALLBACKS") or ()))

    # The session of a request.

    def current(self, request: Request) -> Session | None:
        login = self._login()
        request, cookies = self._with_own_cookies(request, login)
        cookie = cookies.get(self.cookie_names[0], "")
        if login is None:
            return self._by_values(request, cookie) if cookie else None
        remember = cookies.get(login.cookie_name, "")
        remembered = login.remembered(remember)
        if remembered is None:
            # Forged, or none: not even shown to Flask-Login, which stumbles over some of them.
            request = request.with_cookies({login.cookie_name: None})
        if not cookie and remembered is None:
            return None
        with self._context(request, self._is_in_view(request)) as (opened, limits):
            values = dict(opened or {})
            person = login.present()
            if person is None:
                return None
            if cookie and id_of(values.get("_user_id")) == person.id:
                return self._found(cookie, opened, limits, person)
            if remembered != person.id:
                return None  # known by something else than a session of this browser's
            return self.session_of(
                person,
                {},
                id=session_id(self.kind, person.id),
                token=json.dumps({login.cookie_name: remember}),
                expires_at=None,
                persistent=True,
            )

    def _with_own_cookies(
        self, request: Request, login: FlaskLogin | None
    ) -> tuple[Request, dict[str, str]]:
        """The request as the app's interface is shown it, and the cookies of the session by name.

        The app's own parser reads them, so that of several with one name the same one counts.
        """
        header = request.header("cookie") or ""
        # What is absent or too long here is no session's, whatever the parser would make of it.
        names = (*self.cookie_names, *((login.cookie_name,) if login else ()))
        names = tuple(name for name in names if any(request.cookies(name)))
        is_long = len(header) > MAX_COOKIE_HEADER
        has_quotes = is_long and _QUOTES_A_VALUE.search(header) is not None
        # Attack: 64 kB of `\;` or `";` in quotes, for each of which the app's parser runs Python.
        # No browser sends so many cookies, and no session cookie of Flask or Flask-Login has an
        # escape. Without the limit, a request costs 8 ms.
        if has_quotes and max(header.count("\\"), header.count(";")) > MAX_QUOTED_PIECES:
            names = ()
        cookies: dict[str, str] = {}
        if names:
            shown = request
            if is_long and not has_quotes:
                # Attack: 64 kB of short cookies, each of which the app's parser matches and keeps.
                # It splits at each `;` that no quoted value holds, so that what lies between two of
                # these is a cookie of the session, or without effect on one.
                one, other = names[0], names[-1]
                kept = [pair for pair in header.split(";") if one in pair or other in pair]
                shown = request.with_headers({"cookie": ";".join(kept)})
            sent = self.app.request_class(environ_of(shown)).cookies
            cookies = {
                name: sent[name]
                for name in names
                if name in sent and len(sent[name]) <= MAX_COOKIE_VALUE
            }
        # Attack: a header of 64 kB, which Flask, its extensions and the app's callbacks would each
        # parse, verify or look up. From a longer one than browsers send they get the cookies of the
        # session alone, and none that is too long to be one.
        if is_long:
            pairs = (f"{name}={_as_sent(value)}" for name, value in cookies.items())
            request = request.with_headers({"cookie": "; ".join(pairs) or None})
        return request, cookies

    def _by_values(self, request: Request, cookie: str) -> Session | None:
        with self._context(request, self._is_in_view(request)) as (opened, limits):
            person = self.person_in(dict(opened or {}))
            # What the app's own view has done to its session counts before it is saved.
            live = self.person_in(dict(flask.session))
            if person is None or live is None or person.id != live.id:
                return None
            return self._found(cookie, opened, limits, person)

    def _found(
        self, cookie: str, opened: SessionMixin, limits: Limits, person: Person
    ) -> Session | None:
        # A session that is kept on a server is named by its key. Any other changes its value with
        # every signature: nothing but its user is left to name it by.
        key = getattr(opened, "sid", None)
        session = self.session_of(
            person,
            opened,
            id=session_id(self.kind, *(("key", key) if key else (person.id,))),
            token=cookie,
            expires_at=self._end_of(cookie, opened, limits),
            persistent=bool(opened.permanent),
        )
        # Without a bounded interface it is only here that the end is checked.
        return None if session.expired(time.time()) else session

    def _end_of(self, cookie: str, opened: SessionMixin, limits: Limits) -> datetime | None:
        return earlier(moment_of(limits.end), self._framework_end(cookie, opened, limits))

    def _framework_end(self, cookie: str, opened: SessionMixin, limits: Limits) -> datetime | None:
        lifetime = self.app.permanent_session_lifetime
        signer = self._signer()
        if signer is not None:
            try:
                _, signed_at = signer.unsign(cookie, return_timestamp=True)
            except BadSignature:
                pass  # another kind of cookie after all: a derived interface may do as it likes
            else:
                return signed_at + lifetime
        interface, end = self._interface, None
        on_server = keeps_on_server(interface)
        # Flask's own says "from now on", which is for the cookie and not for the store.
        if not on_server or type(interface).get_expiration_time is not _FROM_NOW_ON:
            end = interface.get_expiration_time(self.app, opened)
        if end and end.tzinfo is None:
            end = end.replace(tzinfo=timezone.utc)
        if not on_server:
            return end
        # The store forgets the session that long after the app has saved it, which was some time
        # ago: "from now on" would let a fork outlive the session that it comes from.
        kept = moment_of(limits.kept) or moment_of(time.time() + lifetime.total_seconds())
        return earlier(kept, end)

    # At redemption.

    def alive(self, session: Session) -> Session | None:
        if session.expired(time.time()):
            raise SessionExpired
        login = self._login()
        if session.token.startswith("{"):
            return self._remembered(session, login)
        with self._elsewhere({self.cookie_names[0]: session.token}) as (opened, limits):
            values = dict(opened or {})
            person = login.person_in(values) if login else self.person_in(values)
            # Another user may be signed in under the same key by now.
            if person is None or person.id != session.user_id:
                return None
            end = earlier(self._end_of(session.token, opened, limits), session.expires_at)
            session = replace(session, expires_at=end)
            if session.expired(time.time()):
                raise SessionExpired
            # An interface may derive from Flask's own and keep a key all the same: the visitor
            # would sign in under it next, while an attacker knows it.
            has_key = self._mode is None and bool(getattr(opened, "sid", None))
            live = self.lives_on(session, person, values, fork=has_key)
            return replace(live, token=self._with_end(live)) if live.token else live

    def _remembered(self, session: Session, login: FlaskLogin | None) -> Session | None:
        if login is None:
            return None
        cookie = json.loads(session.token).get(login.cookie_name, "")
        with self._elsewhere({}):
            person = login.person_remembered(cookie)
        if person is None or person.id != session.user_id:
            return None
        # There is no session to share: a new one begins.
        return Beginning.of(session, person.entry, data={})

    def person_known(self, person: Any) -> Person | None:
        login = self._login()
        if login is None:
            return super().person_known(person)
        with self._elsewhere({}):
            return login.person_known(person)

    def share(self, session: Session, request: Request) -> list[Cookie]:
        return [self._cookie(_as_sent(session.token))]

    def begin(self, session: Session, request: Request) -> list[Cookie]:
        login = self._login()
        # Without the browser's cookies: the key of a session that it came with may be known to
        # somebody, who would be signed in with it.
        alone = request.with_headers({"cookie": None})
        now = time.time()
        own_end = int(now + self.app.permanent_session_lifetime.total_seconds())
        end = earlier(own_end, seconds_of(session.expires_at))
        if end is None or end <= now:
            raise SessionExpired
        with self._context(alone, False) as (opened, _):
            if login is None:
                opened.update(self.values_of(session))
            else:
                opened.update(session.data)
                entry = session.entry if isinstance(session, Beginning) else {}
                login.sign_in(str(session.user_id), entry)
            opened.permanent = session.persistent
            # Last, so that no value of the session takes its place. It outlasts each response that
            # dates the session anew, which the date of a signature or of a store does not.
            opened[END_KEY] = end
            response = self.app.response_class()
            self._interface.save_session(self.app, opened, response)
        start = f"{self.cookie_names[0]}="
        for header in response.headers.getlist("Set-Cookie"):
            if header.startswith(start):
                value = header[len(start) :].partition(";")[0]
                return [self._cookie(self._dated_back(value, moment_of(end)))]
        raise SessionUnavailable("the app's session interface sets no cookie of its name")

    def _cookie(self, value: str) -> Cookie:
        return self._attributes().cookie(self.cookie_names[0], value)

    def _with_end(self, session: Session) -> str:
        """The cookie's value of a session that is shared, with the session's end in it."""
        signer = self._signer()
        if signer is None:
            return session.token  # its key: both sites hold one session, which ends for both
        try:
            payload, signed_at = signer.unsign(session.token, return_timestamp=True)
        except BadSignature:
            return session.token  # a derived interface's own kind of cookie
        serializer: Any = self._serializer()
        values = serializer.load_payload(payload)
        end = earlier(seconds_of(session.expires_at), seconds_in(values, END_KEY))
        if end == values.get(END_KEY):
            return session.token
        # The signature keeps its date. Without the end beside it, the next response here would
        # date the session anew, and it would outlive the one that it was copied from.
        return _signed_at(
            signer, serializer.dump_payload({**values, END_KEY: end}), int(signed_at.timestamp())
        )

    def _dated_back(self, value: str, expires_at: datetime | None) -> str:
        """A cookie that is good no longer than the session it came from."""
        signer = self._signer()
        if signer is None or expires_at is None:
            return value
        try:
            payload, signed_at = signer.unsign(value, return_timestamp=True)
        except BadSignature:
            return value  # a derived interface's own kind of cookie
        latest = int((expires_at - self.app.permanent_session_lifetime).timestamp())
        if signed_at.timestamp() <= latest:
            return value
        return _signed_at(signer, payload, max(0, latest))

    def _signer(self) -> TimestampSigner | None:
        serializer: Any = self._serializer()
        if serializer is None:
            return None
        signer: TimestampSigner = serializer.make_signer(serializer.salt)
        return signer

    def _serializer(self) -> URLSafeTimedSerializer | None:
        interface = self._interface
        if not isinstance(interface, SecureCookieSessionInterface):
            return None
        return interface.get_signing_serializer(self.app)

    # The app's contexts.

    def _is_in_view(self, request: Request) -> bool:
        handle = handle_in(request.carrier)
        return (
            handle is not None and self._has_view() and handle_in(flask.request.environ) is handle
        )

    def _has_view(self) -> bool:
        return flask.has_request_context() and flask.current_app == self.app

    @contextmanager
    def _elsewhere(self, cookies: Mapping[str, str]) -> Iterator[tuple[Any, Limits]]:
        """The session that some browser has, which is not the one that is asking."""
        pairs = (f"{name}={_as_sent(value)}" for name, value in cookies.items())
        request = Request("GET", "http", "/", headers={"cookie": "; ".join(pairs)})
        with self._context(request, self._has_view()) as found:
            yield found

    @contextmanager
    def _context(self, request: Request, in_view: bool) -> Iterator[tuple[Any, Limits]]:
        """The session of a request and its limits, within a context of the app.

        :param in_view: whether a view of the app is being run, whose context serves: to leave
            another one would tear down what the view still uses.
        """
        environ = environ_of(request)
        if in_view:
            opened = self._interface.open_session(self.app, self.app.request_class(environ))
            yield opened, limits_of(self.app, environ, opened)
            return
        # The outer one is new for sure, while a request's own may be shared with what is around.
        with self.app.app_context(), self.app.request_context(environ):
            opened = flask.session._get_current_object()  # type: ignore[attr-defined]  # it is a proxy
            yield opened, limits_of(self.app, environ, opened)


def _signed_at(signer: TimestampSigner, payload: bytes, seconds: int) -> str:
    signer.get_timestamp = lambda: seconds  # type: ignore[method-assign]  # no other way
    return signer.sign(payload).decode("ascii")


def _as_sent(value: str) -> str:
    """A cookie's value as it stands in a header."""
    return dump_cookie("name", value, max_size=0).partition("=")[2].partition(";")[0]
