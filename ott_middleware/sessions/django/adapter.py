"""The session adapter for Django projects: reads and creates sessions by Django's own functions.

The engine of `SESSION_ENGINE` loads the session, `django.contrib.auth.get_user` returns its user
(by the backend of the sign-in, `is_active`, and the hash that changes with the password), `login`
creates a new session.

One module, though it is long: of a session's way each step relies on the one before.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model

from ...context import current_request
from ...errors import SessionExpired, SessionNotFound
from ...hooks import WrongResult
from ...http.cookies import Cookie, CookieOptions, cap_age
from ...http.messages import Request
from ..base import CallApp, Session
from ..framework import FrameworkSession, Match, Mode, Responded, earlier, exposed_of, session_id
from ..hosts import django_hosts, exact_hosts
from .chain import Chain
from .ends import keep_ends, now
from .project import check_apps, check_layers, check_options, cookie_attributes, engine
from .request import begin_session, cookie_of, renew_forms
from .store import database, end_of, is_in_view, is_key, is_self_contained, limit, reading
from .user import SignedIn, as_json, describe, id_of, user_by_field, user_by_id, user_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

logger = logging.getLogger("ott_middleware")

_S = TypeVar("_S", bound=Session)
_T = TypeVar("_T")


class DjangoSession(FrameworkSession):
    """The sessions of a Django project, whatever its engine and its user model.

    The cookie's name and attributes are those of the settings (`SESSION_COOKIE_…`). Make it when
    the settings are there: in `wsgi.py` or `asgi.py`, after `get_wsgi_application()`.

    In mode `"fork"` signing out at one site leaves the other signed in; a change of the password
    and a deactivated user end both, and the new session ends when the one that it comes from
    would have ended at that time, or after this site's `SESSION_COOKIE_AGE` where that is sooner.
    That end stands in the session, and holds whatever the app does to it but `flush()` (which
    `logout` calls): not `set_expiry()`, `clear()`, a later change, nor `SESSION_SAVE_EVERY_REQUEST`
    make it last longer. For that the adapter gives the project's session store class, whichever it
    is, methods that keep the end; sessions that the app creates itself are left as they are. Where
    the engine does not derive from Django's `SessionBase`, a warning says so at start, and
    `bounds_app` is False: then the app may see a session that has ended, and the adapter does not.

    Mode `"fork"` needs sessions that tell when they end. All of Django's engines do, except `cache`
    on a cache other than Redis and local memory; use `cached_db` there.

    A session's `id` is made of its key. With the engine `signed_cookies`, where the cookie is the
    session and changes whenever it does, it is made of the user and the hash of the password: it
    names all sessions of that user. `max_per_session` then counts by user, and `revoke` drops the
    tokens of all; and since nothing ends such a session on the server, only
    `revoke_on_sign_out=True` ends its tokens at sign-out.

    :param mode, expose, data, match, sources: see `FrameworkOptions`. `expose` names attributes of
        the user; dates, UUIDs and the like leave as text. A `match` by a field is a look-up in the
        user model's default manager: exactly one user, with a value that is the very text (or whole
        number) that arrived, whatever the column's collation holds for equal. The same goes for
        ids. A function may compare otherwise, regardless of case for example; it returns a saved
        user, or None.
    :param same_store: False where a `"fork"` comes from a site with the same secret and the same
        users, but a session store of its own. The session cannot be looked up then; that the user
        is active and has the same password decides.
    :param auth_backend: which of `AUTHENTICATION_BACKENDS` signs in users of other sites;
        default: the first that knows them.
    :param domain, path, secure, samesite, httponly: of the cookie; default: the settings.
        Django sets the cookie again by its settings, so better change these.
    :param max_age: of the cookie, in seconds; default, and at most: until the session ends.
    :param partitioned: see `CookieOptions`.
    :raises ConfigurationError: no settings, or a bad argument.
    """

    kind = "django"
    user_keys = (SESSION_KEY,)
    thread_sensitive = True

    def __init__(
        self,
        *,
        mode: Mode = "share",
        expose: Iterable[str] = (),
        data: Iterable[str] = (),
        match: Match | None = None,
        sources: Sequence[FrameworkSession] = (),
        same_store: bool = True,
        auth_backend: str | None = None,
        **cookie: Unpack[CookieOptions],
    ) -> None:
        super().__init__(mode=mode, expose=expose, data=data, match=match, sources=sources)
        self._store = engine()
        check_options(
            self._store, mode, self._data, same_store=same_store, auth_backend=auth_backend
        )
        self.bounds_app = keep_ends(self._store)
        # Only the wrapped project's middleware is that of the current request.
        self._chain: Chain | None = None
        self._same_store = same_store
        self._auth_backend = auth_backend
        self.attributes = cookie_attributes(cookie)
        self.cookie_names = (settings.SESSION_COOKIE_NAME,)
        self.attributes.check(self.cookie_names)
        self.strict = self.attributes.strict

    @classmethod
    def of_app(cls, app: object) -> DjangoSession:
        """Return the adapter of a project, by its handler.

        :raises ConfigurationError: the project keeps no sessions, or has no users.
        """
        adapter = cls()
        check_layers()
        return adapter

    def bind(self, call_app: CallApp) -> None:
        check_apps(self._match)
        self._chain = Chain.of_project()
        if not self.bounds_app:
            logger.warning(
                "%s: the app may see sessions that a handoff created after they have ended: "
                "derive the SessionStore of SESSION_ENGINE from Django's SessionBase",
                type(self).__name__,
            )
        super().bind(call_app)

    def own_hosts(self) -> frozenset[str]:
        """Return the exact names in `ALLOWED_HOSTS`."""
        return exact_hosts(django_hosts())

    def secrets(self) -> Sequence[str | bytes]:
        """Return `SECRET_KEY`, and its fallbacks."""
        return (settings.SECRET_KEY, *getattr(settings, "SECRET_KEY_FALLBACKS", ()))

    def current(self, request: Request) -> Session | None:
        key = cookie_of(request, self.cookie_names[0])
        if key is None or not is_key(self._store, key):
            return None
        shown = reading(self._store, key)
        must_serve = not request.links
        try:
            found = self._ask(request, lambda: self._load(key), shown, must_serve=must_serve)
            # Attack: a session that was idle for too long, which a middleware of the project
            # empties before it lets the request go on. Unseen, a token would prolong it.
            is_changed = shown.accessed and found and str(shown.get(SESSION_KEY)) != found.user_id
            if is_changed and must_serve:
                raise Responded
        except Responded:
            logger.debug(
                "DjangoSession: a middleware of the project responded to the request, or signed "
                "its user out, so that it counts as signed out: let the middleware pass a request "
                "whose session is good"
            )
            return None
        return found

    def _ask(
        self,
        request: Request | None,
        function: Callable[[], _T],
        shown: Any = None,
        *,
        must_serve: bool = False,
    ) -> _T:
        """Call a function that asks the database, inside the project's middleware.

        :param request: the current one, with the cookies that the question is about.
        :param shown: the session that the middleware sees; default: that of the cookies.
        """
        with database(request):
            if self._chain is None or request is None or is_in_view(request):
                return function()
            if shown is None:
                shown = reading(self._store, cookie_of(request, self.cookie_names[0]) or None)
            return self._chain.ask(request, shown, function, must_serve=must_serve)

    def _with_key(self, request: Request | None, key: str | None) -> Request | None:
        """Return a request with another session's key or none, for the project's middleware."""
        # Attack: a Cookie header of 64 kB, which would be copied three times. Without middleware of
        # the project nothing reads the copies.
        if request is None or self._chain is None:
            return request
        return request.with_cookies({self.cookie_names[0]: key})

    def expose(self, session: Session) -> Session:
        exposed = super().expose(replace(session, token=""))
        if not session.token:
            return exposed
        more = (session.backend, session.auth_hash) if isinstance(session, SignedIn) else ("", "")
        # Attack: the token's own seal needs no secret of this site. Whoever can write to the
        # backend would put a victim's id, or a later end, beside the sealed key of a session of
        # their own. So the user and the end are sealed with the key, and digests of the data, which
        # may itself be long.
        digests = {name: _digest(name, value) for name, value in exposed.to_json()["data"].items()}
        sealed = self._seal(json.dumps([session.token, *more, digests]), exposed)
        return replace(exposed, token=sealed)

    def _open(self, session: Session) -> Session | None:
        own = super()._open(session)
        if own is None:
            return None
        token, backend, auth_hash, *more = json.loads(own.token)
        if len(more) != 1:  # of an earlier release, which left the user's id outside of the seal
            return None
        # Data counts only as it was sealed, see `expose`.
        kept = {
            name: value
            for name, value in session.data.items()
            if more[0].get(name) == _digest(name, value)
        }
        return SignedIn.of(own, token=token, data=kept, backend=backend, auth_hash=auth_hash)

    def alive(self, session: Session) -> Session | None:
        request = self._with_key(current_request(), session.token)
        if not self._same_store:
            return self._ask(request, lambda: self._alive_without_store(session))
        found = self._ask(request, lambda: self._load(session.token))
        # Another user may have signed in under the same key meanwhile.
        if found is None or found.user_id != session.user_id:
            return None
        # Two engines measure a session's age by the settings of the site that looks. The end that
        # the source saw, and sealed, holds too; this site's may be later.
        found = replace(found, expires_at=earlier(found.expires_at, session.expires_at))
        return found if self.mode == "share" else self._cap_lifetime(replace(found, token=""))

    def _alive_without_store(self, session: Session) -> Session | None:
        user = user_of(SignedIn.of(session).values)
        return None if user is None else self._begin_from(session, user)

    def run_locally(self, function: Callable[[], _T]) -> _T:
        # Attack: the session that the visitor had may be an attacker's, and choose what is asked.
        return self._ask(self._with_key(current_request(), None), function)

    def known(self, session: Session, person: Any) -> Session | None:
        if self._match == "id":
            return self._to_local_user(session, person)
        user = user_by_field(self._match, person) if isinstance(self._match, str) else person
        if user is None:
            return None
        if not isinstance(user, get_user_model()) or user.pk is None:
            raise WrongResult(
                "match= returned no saved user of this project, and not None: return a user of "
                "this site's table, or None"
            )
        return self._to_local_user(session, id_of(user))

    def share(self, session: Session, request: Request) -> list[Cookie]:
        cookie = self._cookie(session.token, session)
        if settings.CSRF_USE_SESSIONS or cookie_of(request, cookie.name) == session.token:
            return [cookie]  # the forms that go with this session stay good
        return [cookie, *renew_forms(request)]

    def discard(self, cookies: Iterable[Cookie], request: Request) -> None:
        with database(request):
            for cookie in cookies:
                if cookie.name == self.cookie_names[0]:
                    self._store(cookie.value).delete()

    def begin(self, session: Session, request: Request) -> list[Cookie]:
        alone = self._with_key(request, None)
        return self._ask(alone, lambda: self._begin(session, request))

    def _begin(self, session: Session, request: Request) -> list[Cookie]:
        own: SignedIn | None = session if isinstance(session, SignedIn) else None
        if own is None:  # a token service of the site's owner brought it
            own = self._to_local_user(session, session.user_id)
        user = None if own is None else user_of(own.values)
        if own is None or user is None:
            raise SessionNotFound  # the user was deactivated at this very moment
        own = self._cap_lifetime(own)
        end = own.expires_at
        if end is None or end - now() < timedelta(seconds=1):
            raise SessionExpired  # no cookie and no cache keeps less than a second
        # A new one: the key of the visitor's own session may be known to an attacker.
        store = self._store()
        limit(store, end, persistent=own.persistent)
        others = begin_session(request, user, store, backend=own.backend, data=own.data)
        return [self._cookie(store.session_key, own), *others]

    def _load(self, key: str) -> SignedIn | None:
        """Return the session with that key; None unless a user is signed in by it."""
        store = reading(self._store, key)
        values = dict(store.items())
        # A session may exist without a signed-in user.
        user = user_of(values) if SESSION_KEY in values else None
        if user is None:
            # A user that is gone, or may not sign in any more, is kept in the right place.
            self.keys_without_user.note(() if SESSION_KEY in values else values)
            return None
        end = end_of(store)
        if end is None:
            return None
        auth_hash = str(values.get(HASH_SESSION_KEY, ""))
        named = (id_of(user), auth_hash) if is_self_contained(self._store) else (key,)
        data = {name: as_json(value) for name, value in exposed_of(values, self._data).items()}
        return SignedIn(
            id=session_id(self.kind, *named),
            token=key,
            user_id=id_of(user),
            user=describe(user, self._exposed),
            expires_at=end,
            persistent=not store.get_expire_at_browser_close(),
            data=data,
            backend=values[BACKEND_SESSION_KEY],
            auth_hash=auth_hash,
        )

    def _to_local_user(self, session: Session, user_id: object) -> SignedIn | None:
        """Turn a session of another site into one of a local user that may sign in; else None."""
        found = user_by_id(user_id, self._auth_backend)
        if found is None:
            return None
        user, backend = found
        auth_hash = user.get_session_auth_hash()
        return self._begin_from(session, user, backend=backend, auth_hash=auth_hash)

    def _begin_from(self, session: Session, user: Any, **known: str) -> SignedIn:
        """Return a session to be created for a user of this site, from one that has arrived."""
        fields = {**(session.user or {}), **describe(user, self._exposed)}
        begun = SignedIn.of(session, token="", user_id=id_of(user), user=fields, **known)
        return self._cap_lifetime(begun)

    def _cap_lifetime(self, session: _S) -> _S:
        """Return a session that lasts no longer than this site's settings allow to a new one."""
        return replace(
            session,
            expires_at=earlier(session.expires_at, self._latest()),
            persistent=session.persistent and not settings.SESSION_EXPIRE_AT_BROWSER_CLOSE,
        )

    def _latest(self) -> datetime:
        age: int = self._store().get_session_cookie_age()
        return now() + timedelta(seconds=age)

    def _cookie(self, key: str, session: Session) -> Cookie:
        cookie = self.attributes.cookie(self.cookie_names[0], key)
        if not session.persistent or session.expires_at is None:
            return cookie
        end = min(session.expires_at, self._latest())
        return cap_age(cookie, max(1, int((end - now()).total_seconds())))


def _digest(name: str, value: Any) -> str:
    return session_id("data", name, json.dumps(value, sort_keys=True))
