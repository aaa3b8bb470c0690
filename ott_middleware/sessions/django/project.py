"""Reads the settings of a Django project, and refuses those that sessions cannot work with."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.exceptions import FieldDoesNotExist, ImproperlyConfigured
from django.utils.module_loading import import_string

from ...errors import ConfigurationError
from ...http.cookies import CookieAttributes, CookieOptions
from .store import tells_end


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


def check_store(store: Any, mode: str, *, same_store: bool) -> None:
    """Check that the sessions of a store can be shared, or forked.

    :param same_store: whether the source site uses the store as well.
    :raises ConfigurationError: the mode does not go with the store.
    """
    if not same_store and mode == "share":
        raise ConfigurationError(
            "same_store: mode 'share' needs one session store; pass mode='fork' where there are two"
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
