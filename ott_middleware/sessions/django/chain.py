"""Asks the adapter's questions as a view would: inside the project's own `MIDDLEWARE`.

A project may choose a tenant there, by the host or a header: a database, a schema, a site. Asked
outside, its router would respond for the last tenant that this thread had. So the middleware of the
project and of its libraries is called around a small view of this package's own, in its order,
sync or async. Django's own classes are left out but for those that look (at the user, the language,
the site); a project that has no others is asked directly.

Left out, too, are the classes that would act on what is no request of a browser: the caches, which
would serve or store the small view's response, and the sign-in by `REMOTE_USER`. The session is one
that cannot be saved. `process_view`, and what comes with a view, is not called.

A middleware may respond in place of the view: to strangers, or while the site is down. What that
means depends on the question.

- "Which session may be handed on?": none. The project would not serve that user. The same holds
  where a middleware signs the user out before it lets the request go on.
- "Is a session alive, for which user?" at redemption, and "Which session must a link not replace?":
  that middleware is passed over, and the others stay in force. The project asks it again before
  each view, and an attacker chooses the path of a link.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from django.conf import settings
from django.core.exceptions import MiddlewareNotUsed, PermissionDenied, SuspiciousOperation
from django.http import Http404, HttpResponse
from django.urls import set_urlconf
from django.utils.module_loading import import_string

from ...concurrency import Waiting, on_loop, run_on_own_loop
from ...http.messages import Request
from ..framework import Responded
from ..layers import class_names
from .request import django_request

T = TypeVar("T")
Handler = Callable[[Any], Any]

# By name: their modules cannot be imported before the project's apps are loaded.
_LOOKING = {
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.contrib.sites.middleware.CurrentSiteMiddleware",
    "django.middleware.locale.LocaleMiddleware",
}
_ACTING = {
    "django.contrib.auth.middleware.RemoteUserMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.cache.CacheMiddleware",
    "django.middleware.cache.FetchFromCacheMiddleware",
    "django.middleware.cache.UpdateCacheMiddleware",
}
# What Django turns into a response of a status below 500.
_RESPONSES = (Http404, PermissionDenied, SuspiciousOperation)

_entered: ContextVar[bool] = ContextVar("ott_django_chain", default=False)


class _Question:
    """What is asked in the small view, and its outcome."""

    def __init__(self, function: Callable[[], Any], stranger: Any, *, must_serve: bool) -> None:
        #: The anonymous user that the request begins with.
        self.stranger = stranger
        self.must_serve = must_serve
        self.asked = False
        self._function = function
        self._result: Any = None
        self._error: Exception | None = None

    def ask(self) -> None:
        self.asked = True
        reset = _entered.set(True)
        try:
            self._result = self._function()
        except Exception as error:
            # Kept: a middleware sees the exceptions of views as responses, and may not clean up
            # after any other.
            self._error = error
        finally:
            _entered.reset(reset)

    def result(self) -> Any:
        if self._error is not None:
            raise self._error
        if not self.asked:
            raise Responded
        return self._result


class Chain:
    """The middleware of the project, around a view that asks a question.

    :param handler: the outermost of it, around `_view`.
    """

    def __init__(self, handler: Handler) -> None:
        self._handler = handler

    @classmethod
    def of_project(cls) -> Chain | None:
        """Return the chain of the settings; None where Django's own classes are all there is."""
        factories = [each for each in map(import_string, settings.MIDDLEWARE) if _is_kept(each)]
        if all(map(_is_djangos, factories)):
            return None
        handler: Handler = _view
        for factory in reversed(factories):
            with suppress(MiddlewareNotUsed):
                handler = _layer(_instance(factory, handler), handler)
        return cls(handler)

    def ask(
        self, request: Request, session: Any, function: Callable[[], T], *, must_serve: bool
    ) -> T:
        """Call a function inside the middleware, and return its result.

        :param request: the current one, with the cookies that the question is about.
        :param session: of these cookies, for the middleware to look at.
        :param must_serve: whether a response in place of the view is an error.
        :raises Responded: there was one.
        """
        # A hook of the app may ask within a question: `match`, or a receiver of `user_logged_in`,
        # that redeems another token. Entered once more, the middleware would let go the tenant of
        # the outer question: it would find a user of another tenant, and sign that user in.
        if _entered.get():
            return function()
        if request.method not in ("GET", "HEAD"):
            # The body is the view's, and a form's protection would refuse a request without it.
            request = replace(request, method="GET")
        inner = django_request(request)
        question = _Question(function, inner.user, must_serve=must_serve)
        inner.session, inner._ott_question = session, question
        set_urlconf(settings.ROOT_URLCONF)  # another request may have left its own
        self._handler(inner)
        result: T = question.result()
        return result


def _view(request: Any) -> HttpResponse:
    question = request._ott_question
    user, stranger = getattr(request, "user", None), question.stranger
    # A middleware may have put a stranger in the user's place, and let the request go on. (That of
    # Django's own class has another type, and is looked up when it is asked.)
    is_signed_out = user is not stranger and type(user) is type(stranger)
    if not (is_signed_out and question.must_serve):
        question.ask()
    # For no cache, and with nothing to compress or to edit.
    return HttpResponse(status=204, headers={"Cache-Control": "private, no-store"})


def _layer(middleware: Handler, following: Handler) -> Handler:
    def call(request: Any) -> Any:
        response: Any = None
        try:
            response = middleware(request)
        except _RESPONSES:
            response = HttpResponse(status=403)
        question = request._ott_question
        return response if question.asked or question.must_serve else following(request)

    return call


def _instance(factory: Any, following: Handler) -> Handler:
    if getattr(factory, "sync_capable", True):
        made: Handler = factory(following)
        return made
    awaited = factory(on_loop(Waiting(following, thread_sensitive=True)))
    return lambda request: run_on_own_loop(partial(awaited, request))


def _is_kept(factory: Any) -> bool:
    # A function is the project's own.
    names = class_names(factory, of_class=True) if isinstance(factory, type) else set()
    return not names & _ACTING and (not _is_djangos(factory) or bool(names & _LOOKING))


def _is_djangos(factory: Any) -> bool:
    return str(getattr(factory, "__module__", "")).startswith("django.")
