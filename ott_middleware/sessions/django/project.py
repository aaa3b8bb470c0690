"""Reads the settings of a Django project, and refuses those that sessions cannot work with."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.exceptions import FieldDoesNotExist, ImproperlyConfigured
from django.middleware.csrf import CSRF_SESSION_KEY
from django.utils.module_loading import import_string

from ...errors import ConfigurationError
from ...http.cookies import CookieAttributes, CookieOptions
from .ends import END_KEY
from .store import tells_end

# The keys that decide the user, the end and the forms of a session: no other site may send them.
_RESERVED = {
    SESSION_KEY,
    BACKEND_SESSION_KEY,
    HASH_SESSION_KEY,
    CSRF_SESSION_KEY,
    "_session_expiry",
    END_KEY,
}


def engine() -> Any:
    """Return the session store of the project, a class.

    :raises ConfigurationError: there are no settings, or none of use.
    """
    try:
        # Asked for now: without a secret, nothing could be sealed later.
        store = settings.SECRET_KEY and import_module(settings.SESSION_ENGINE).SessionStore
    except (ImproperlyConfigured, ImportError) as error:
        raise ConfigurationError(
            "session: Django's settings are not there, or not in order; set "
            "DJANGO_SETTINGS_MODULE, and make the adapter after get_wsgi_application() or "
            "get_asgi_application()"
        ) from error
    return store


def check_options(
    store: Any, mode: str, data: Iterable[str], *, same_store: bool, auth_backend: str | None
) -> None:
    """Check the arguments of `DjangoSession` against the settings.

    :param store: the project's session store, a class.
    :raises ConfigurationError: an argument does not go with the settings, or with the mode.
    """
    if taken := _RESERVED.intersection(data):
        raise ConfigurationError(f"data: {min(taken)!r} is Django's own; leave it out")
    if not same_store and mode == "share":
        raise ConfigurationError(
            "same_store: mode 'share' needs one session store; pass mode='fork' where there are two"
        )
    if auth_backend is not None and auth_backend not in settings.AUTHENTICATION_BACKENDS:
        raise ConfigurationError(
            f"auth_backend: {auth_backend!r}; name one of settings.AUTHENTICATION_BACKENDS"
        )
    if mode == "fork" and same_store and not tells_end(store):
        raise ConfigurationError(
            "mode: 'fork', but sessions of this SESSION_ENGINE do not tell when they end, so that "
            "a new one could outlast the one that it comes from; use "
            "'django.contrib.sessions.backends.cached_db', the engine 'cache' on Redis, or "
            "mode='share'"
        )


def cookie_attributes(given: CookieOptions) -> CookieAttributes:
    """Return the attributes of the session cookie: those of the settings, but for what is given."""
    values: dict[str, Any] = {
        "domain": settings.SESSION_COOKIE_DOMAIN,
        "path": settings.SESSION_COOKIE_PATH,
        # Off in the settings is Django's default, not a wish: over https it is on.
        "secure": bool(settings.SESSION_COOKIE_SECURE) or None,
        "samesite": settings.SESSION_COOKIE_SAMESITE or "",
        "httponly": bool(settings.SESSION_COOKIE_HTTPONLY),
    }
    for name, value in given.items():
        if value is not None or name not in values:
            values[name] = value
    return CookieAttributes(**values)


def check_apps(match: object) -> None:
    """Check that users can be looked up, by the field that `match` names.

    :raises ConfigurationError: the apps are not loaded, or the user model has no such field.
    """
    if not apps.ready:
        raise ConfigurationError(
            "session: Django's apps are not loaded; call django.setup() (as "
            "get_wsgi_application() does) before the app is wrapped"
        )
    if isinstance(match, str) and match != "id":
        try:
            field = get_user_model()._meta.get_field(match)
        except FieldDoesNotExist:
            field = None
        # A relation to many rows has no value that could be compared.
        if field is None or not field.concrete or field.many_to_many:
            raise ConfigurationError(
                f"match: {match!r}; name a field of {settings.AUTH_USER_MODEL} that is a column of "
                "its table, or pass a function of the session"
            )


def check_layers() -> None:
    """Check that the project keeps sessions, and has users.

    :raises ConfigurationError: an app or a middleware is missing.
    """
    if not apps.is_installed("django.contrib.auth"):
        raise ConfigurationError(
            "session: this Django project has no users; add 'django.contrib.auth' to "
            "INSTALLED_APPS, or pass another adapter"
        )
    layers = map(import_string, settings.MIDDLEWARE)
    if not any(isinstance(one, type) and issubclass(one, SessionMiddleware) for one in layers):
        raise ConfigurationError(
            "session: this Django project keeps no sessions; add "
            "'django.contrib.sessions.middleware.SessionMiddleware' to MIDDLEWARE, or pass "
            "another adapter"
        )
