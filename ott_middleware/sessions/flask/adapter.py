"""The adapter of Flask's sessions, by the app's own session interface.

One module, though it is long: with and without Flask-Login, the same steps make a session.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import flask
from flask.sessions import SecureCookieSessionInterface

from ...context import current_request
from ...errors import ConfigurationError, SessionExpired, SessionUnavailable, full_name
from ...http.cookies import Cookie, CookieAttributes
from ...http.messages import Request
from ..base import CallApp, Session
from ..dict_session import Beginning, MappedSession, Person, User, id_of
from ..framework import FrameworkOptions, Mode, Responded, session_id
from ..hosts import exact_hosts, flask_hosts
from ..layers import class_names
from ..lifetime import END_KEY, earlier, seconds_of
from .contexts import Opened, has_view, is_in_view, key_of, open_session
from .cookies import cookie_attributes, quote_value, read_cookies, show_app_a_request, with_only
from .lifetime import end_of, guard_interface, keeps_on_server, watch_interface
from .signature import SignedCookie

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .login import FlaskLogin

logger = logging.getLogger("ott_middleware")

T = TypeVar("T")

_LOGIN_MANAGER = "flask_login.login_manager.LoginManager"


class FlaskSession(MappedSession):
    """The sessions of a Flask app, with whatever session interface it has: Flask's own signed
    cookies, Flask-Session's and others' that are kept on a server.

    With Flask-Login (`app.login_manager`), the signed-in user is the one that Flask-Login loads: a
    user that its loader does not find any more, or that is not `is_active`, is not signed in, and
    strong session protection holds. A user with the remember cookie alone is signed in too; that
    cookie never travels, and the target site creates a session that is not fresh. New sessions are
    created by `flask_login.login_user`, for the browser that follows the link; only a fork of a
    fresh session is fresh itself. `match` gives what the app's loader takes, or a user object; the
    name of a field only where the app's loader takes that field (and only after `init_app`).
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
    :param mode: see `FrameworkOptions`. Default: `"share"` where the session is the cookie, as
        Flask's own is; `"fork"` where a session interface keeps sessions on a server, as
        Flask-Session does. Neither Flask-Session nor Flask-Login gives a session a new key at
        sign-in: an attacker with an account could plant the key of their own session by a link, and
        would know the key under which the victim signs in next. `"share"` is safe there only if
        each sign-in of the app calls `app.session_interface.regenerate(session)`; asking for it
        logs a warning at start.
    :param options: see `FrameworkOptions`. The fields of `expose` are attributes of Flask-Login's
        user; without it they come from the user's mapping where the session holds one, else from
        the session itself.
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
        **options: Unpack[FrameworkOptions],
    ) -> None:
        if not isinstance(app, flask.Flask):
            raise ConfigurationError(f"app: {full_name(app)}; pass the Flask app itself")
        super().__init__(user=user, **options)
        self.app = app
        self._wraps = False
        self.secrets()
        if self._login() is None:
            self.check_match()

    @classmethod
    def of_app(cls, app: flask.Flask) -> FlaskSession:
        """The adapter for an app.

        :raises ConfigurationError: it has no `SECRET_KEY`.
        """
        return cls(app)

    def bind(self, call_app: CallApp) -> None:
        super().bind(call_app)
        self._wraps = True
        watch_interface(self.app, self._guard_interface)

    def _guard_interface(self) -> None:
        interface = self.app.session_interface
        self.bounds_app = guard_interface(self.app) and (
            self.mode == "fork"
            or keeps_on_server(interface)
            or type(interface).open_session is SecureCookieSessionInterface.open_session
        )
        name = full_name(type(interface))
        if not self.bounds_app:
            logger.warning(
                "FlaskSession: the app may see a session after its end, since %s opens cookies in "
                "a way of its own; pass mode='fork', or derive it from Flask's SessionInterface",
                name,
            )
        if self._mode == "share" and keeps_on_server(interface):
            logger.warning(
                "FlaskSession: mode='share' allows session fixation, since %s keeps a session's "
                "key at sign-in; leave mode out (each site then has a key of its own), or call "
                "app.session_interface.regenerate(session) at each sign-in",
                name,
            )

    def safe_mode(self) -> Mode:
        return "fork" if keeps_on_server(self.app.session_interface) else "share"

    # Read when a request comes, since the app may be configured after it is wrapped.

    @property
    def cookie_names(self) -> tuple[str, ...]:  # type: ignore[override]  # read only here
        """The name of the session cookie."""
        return (self.app.session_interface.get_cookie_name(self.app),)

    @property
    def strict(self) -> bool:  # type: ignore[override]  # read only here
        """Whether the session cookie is `SameSite=Strict`."""
        # Nothing but this is asked for: an app may know the cookie's path in requests alone.
        samesite = self.app.session_interface.get_cookie_samesite(self.app)
        return CookieAttributes(samesite=samesite or "").strict

    def _login(self) -> FlaskLogin | None:
        # A vendored fork has the same name, and users that Flask-Login's own functions do not see.
        # Such apps keep the user's id under the key that Flask-Login has for it.
        manager = getattr(self.app, "login_manager", None)
        if self._user is not None or _LOGIN_MANAGER not in class_names(manager):
            return None
        from .login import FlaskLogin  # its library is there: the app uses it

        return FlaskLogin(self.app, self._exposed)

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

    def current(self, request: Request) -> Session | None:
        login = self._login()
        names = (*self.cookie_names, *((login.cookie_name,) if login else ()))
        request, cookies = read_cookies(self.app, request, names)
        cookie, remember = cookies.get(names[0], ""), cookies.get(names[-1], "")
        remembered = None
        if login is not None:
            remembered = login.read_remember_cookie(remember)
            if remembered is None:
                # Forged, or none: not even shown to Flask-Login, which stumbles over some of them.
                request = request.with_cookies({login.cookie_name: None})
        if not cookie and remembered is None:
            return None
        try:
            return self._current(request, cookie, remember, remembered)
        except Responded:
            logger.debug(
                "FlaskSession: a before_request function of the app responded to the request, "
                "which counts as signed out: let the function pass a request whose session is good"
            )
            return None

    def _current(
        self, request: Request, cookie: str, remember: str, remembered: str | None
    ) -> Session | None:
        login = self._login()
        in_view = is_in_view(self.app, request)
        must_serve = not request.links
        with open_session(self.app, request, in_view=in_view, must_serve=must_serve) as found:
            opened, limits, values = found
            person = login.current_user() if login else self.person_in(values)
            # What a view of the app has done to its session counts before it is saved.
            live = person if login else self.person_in(dict(flask.session))
            if person is None or live is None or person.id != live.id:
                # Flask-Login does not know such a user any more; the place is the right one.
                self.keys_without_user.note(() if login and "_user_id" in values else values)
                return None
            if login is None or (cookie and id_of(values.get("_user_id")) == person.id):
                # A session that is kept on a server is named by its key. Any other changes its
                # value with every signature: nothing but its user is left to name it by.
                key = key_of(opened)
                session = self.session_of(
                    person,
                    opened,
                    id=session_id(self.kind, *(("key", key) if key else (person.id,))),
                    token=cookie,
                    expires_at=end_of(self.app, cookie, opened, limits),
                    persistent=bool(opened.permanent),
                )
                # Without a guarded interface it is only here that the end is checked.
                return None if session.expired(time.time()) else session
            if remembered != person.id:
                return None  # known by something else than a session of this browser's
            token = json.dumps({login.cookie_name: remember})
            return self.session_of(person, {}, id=session_id(self.kind, person.id), token=token)

    # At redemption.

    def alive(self, session: Session) -> Session | None:
        if session.expired(time.time()):
            raise SessionExpired
        login = self._login()
        if session.token.startswith("{"):
            return self._alive_by_remember_cookie(session, login) if login else None
        cookies = {self.cookie_names[0]: session.token}
        with self._open_other(cookies) as (opened, limits, values):
            person = login.person_in(values) if login else self.person_in(values)
            end = end_of(self.app, session.token, opened, limits) if person else None
            # An interface may derive from Flask's own and keep a key all the same: the visitor
            # would sign in under it next, while an attacker knows it.
            has_key = self._mode is None and key_of(opened) is not None
            live = self.share_or_fork(
                session, person, values, expires_at=end, now=time.time(), fork=has_key
            )
            # A key is shared as it is: both sites hold one session, which ends for both.
            signed = SignedCookie.read(self.app, live.token) if live and live.token else None
            return replace(live, token=signed.add_end(live.expires_at)) if live and signed else live

    def _alive_by_remember_cookie(self, session: Session, login: FlaskLogin) -> Session | None:
        cookie = json.loads(session.token).get(login.cookie_name, "")
        with self._open_other({}):
            person = login.person_by_remember_cookie(cookie)
        # There is no session to share: a new one begins.
        return self.share_or_fork(session, person, {}, expires_at=None, now=time.time(), fork=True)

    def person_from_match(self, person: Any) -> Person | None:
        login = self._login()
        return login.person_from_match(person) if login else super().person_from_match(person)

    def run_locally(self, function: Callable[[], T]) -> T:
        # With the view's own context, if a view is being run.
        with nullcontext() if has_view(self.app) else self._open_other({}):
            return function()

    def local_context(self) -> AbstractContextManager[Any]:
        return nullcontext() if has_view(self.app) else self.app.app_context()

    def _open_other(self, cookies: Mapping[str, str]) -> AbstractContextManager[Opened]:
        """Give the session that a browser with these cookies has, and no others.

        The host, path and client of the current request may decide which tenant's users count.
        """
        # The current request is one to the wrapped app: an adapter of a source has another app.
        request = current_request() if self._wraps else None
        request = with_only(request or Request("GET", "http", "/"), cookies)
        return open_session(self.app, request, in_view=has_view(self.app))

    def share(self, session: Session, request: Request) -> list[Cookie]:
        # An app may know the cookie's path in requests alone.
        with open_session(self.app, request, in_view=False):
            show_app_a_request(self.app, request)
            return [self._cookie(quote_value(session.token))]

    def begin(self, session: Session, request: Request) -> list[Cookie]:
        login = self._login()
        # Attack: the key of the session that the browser had may be an attacker's. The app sees the
        # request without its cookies; else it would sign the user in under that very key.
        alone = request.with_headers({"cookie": None})
        now, lifetime = time.time(), self.app.permanent_session_lifetime
        own_end = int(now + lifetime.total_seconds())
        end = earlier(own_end, seconds_of(session.expires_at))
        if end is None or end <= now:
            raise SessionExpired
        with open_session(self.app, alone, in_view=False) as (opened, _, _):
            show_app_a_request(self.app, alone)
            # What a function of the app put there for a visitor is no value of the user's.
            opened.clear()
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
            self.app.session_interface.save_session(self.app, opened, response)
            value = self._value_in(response)
            # An interface may have a secret for each tenant: read within the context.
            signed = SignedCookie.read(self.app, value)
            # Dated back, the signature ends with the session that this one comes from.
            latest = int(end - lifetime.total_seconds())
            return [self._cookie(signed.date_back(latest) if signed else value)]

    def discard(self, cookies: Iterable[Cookie], request: Request) -> None:
        values: dict[str, str | None] = {cookie.name: cookie.value for cookie in cookies}
        with open_session(self.app, request.with_cookies(values), in_view=False) as (opened, _, _):
            if key_of(opened) is None:
                return  # the cookie is the session
            # An interface deletes from its store what was emptied.
            opened.clear()
            self.app.session_interface.save_session(self.app, opened, self.app.response_class())

    def _value_in(self, response: flask.Response) -> str:
        start = f"{self.cookie_names[0]}="
        for header in response.headers.getlist("Set-Cookie"):
            if header.startswith(start):
                return header[len(start) :].partition(";")[0]
        raise SessionUnavailable("the app's session interface sets no cookie of its name")

    def _cookie(self, value: str) -> Cookie:
        return cookie_attributes(self.app).cookie(self.cookie_names[0], value)
