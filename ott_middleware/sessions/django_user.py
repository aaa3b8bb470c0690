"""Django's users: whose a session is, who somebody is here, and what may be told about them."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from django.conf import settings
from django.contrib.auth import (
    BACKEND_SESSION_KEY,
    HASH_SESSION_KEY,
    SESSION_KEY,
    get_user,
    get_user_model,
    load_backend,
)
from django.core.exceptions import ValidationError
from django.http import HttpRequest

from .base import Session

logger = logging.getLogger("ott_middleware")


@dataclass(frozen=True, slots=True)
class SignedIn(Session):
    """A session, with what Django alone needs to know of it."""

    backend: str = ""
    auth_hash: str = field(default="", repr=False)

    @property
    def values(self) -> dict[str, Any]:
        """What stands in it, of what says who is signed in."""
        return {
            SESSION_KEY: self.user_id,
            BACKEND_SESSION_KEY: self.backend,
            HASH_SESSION_KEY: self.auth_hash,
        }

    @classmethod
    def of(cls, session: Session, **known: Any) -> SignedIn:
        """A session of whatever kind, with what is known of it beside."""
        values = {each.name: getattr(session, each.name) for each in fields(session)}
        return cls(**{**values, **known})


class _Glimpse(dict[str, Any]):
    """A session's values, for `get_user`, which would renew or end an outdated session.

    The app does that when it is asked itself. Somebody else's question changes nothing.
    """

    def cycle_key(self) -> None:
        """The key stays."""

    def flush(self) -> None:
        """The session stays."""


def user_of(values: Mapping[str, Any]) -> Any:
    """The user whose session has those values, or None: by Django's own rules.

    The backend must still be in use and know the user (which is active, to Django's own); the hash
    must be that of the user's password, under the secret key or a fallback.
    """
    request = HttpRequest()
    request.session = _Glimpse(values)
    try:
        user = get_user(request)
    except ValidationError:  # an id that is none to this user model, from before it was changed
        return None
    return user if user.is_authenticated else None


def user_by_id(user_id: object, backend: str | None) -> tuple[Any, str] | None:
    """A user, and the authentication backend that lets them in; None if none does.

    :param backend: the only one to be asked; default: all of the project's, in order.
    """
    paths = [backend] if backend else settings.AUTHENTICATION_BACKENDS
    try:
        key = get_user_model()._meta.pk.to_python(user_id)
        if key is None:
            return None
        # The backend, not the table: it is what turns down who is no longer active.
        found = ((load_backend(path).get_user(key), path) for path in paths)
        return next((one for one in found if one[0] is not None), None)
    except (OverflowError, ValidationError):  # no id of this user model
        return None


def user_by_field(name: str, value: object) -> Any:
    """The one user with that value in a field, or None."""
    # What comes in a token is JSON: nothing else than a plain value is looked up.
    if not isinstance(value, (str, int)):
        return None
    try:
        found = list(get_user_model()._default_manager.filter(**{name: value})[:2])
    except (OverflowError, ValueError, ValidationError):  # no value of that field
        return None
    if len(found) > 1:
        # Whoever it is, it may be the other one: nobody is safer than either.
        logger.error("match: several users have the same %s; nobody is signed in", name)
    return found[0] if len(found) == 1 else None


def id_of(user: Any) -> str:
    """A user's id as Django writes it into sessions."""
    return str(user._meta.pk.value_to_string(user))


def described(user: Any, names: Iterable[str]) -> dict[str, Any]:
    """The named attributes of a user, as JSON values, and the id."""
    values = {name: getattr(user, name, described) for name in names}
    # A method is no value, and neither is what is not there.
    told = {name: as_json(value) for name, value in values.items() if not callable(value)}
    return {**told, "id": id_of(user)}


def as_json(value: Any) -> Any:
    """A value as a JSON value: dates, UUIDs, decimals and whatever else as text."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, Mapping):
        return {str(key): as_json(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(each) for each in value]
    return str(value)
