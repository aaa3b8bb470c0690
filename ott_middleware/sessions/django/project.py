"""Whether a Django project is in the state that sessions need; if not, what to do about it."""

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


def engine() -> Any:
    """The project's session store, a class.

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


def check_apps(match: object) -> None:
    """See that the user model can be asked, by that field where `match` names one.

    :raises ConfigurationError: it can't.
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
    """See that the project keeps sessions, and knows users.

    :raises ConfigurationError: it doesn't.
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
