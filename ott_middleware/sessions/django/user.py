"""Finds Django users: of a session, and for a session of another site; and describes them."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
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

from ..base import Session, copy_as

logger = logging.getLogger("ott_middleware")


@dataclass(frozen=True, slots=True)
class SignedIn(Session):
    """A session with the two values of it that only Django needs."""

    backend: str = ""
    auth_hash: str = field(default="", repr=False)

    @property
    def values(self) -> dict[str, Any]:
        """Return the values of the session that name the signed-in user."""
        return {
            SESSION_KEY: self.user_id,
            BACKEND_SESSION_KEY: self.backend,
            HASH_SESSION_KEY: self.auth_hash,
        }

    @classmethod
    def of(cls, session: Session, **known: Any) -> SignedIn:
        """Return a copy of any session, with some fields changed."""
        return copy_as(cls, session, **known)


class _Glimpse(dict[str, Any]):
    """A session's values, for `get_user`, which would renew or end an outdated session.

    The app does that when it is asked itself; a look of this package changes nothing.
    """

    def cycle_key(self) -> None:
        """The key stays."""

    def flush(self) -> None:
        """The session stays."""


def user_of(values: Mapping[str, Any]) -> Any:
    """Return the user of a session with those values, or None, by Django's own rules.

    The backend must still be in use and know the user (which is active, to Django's own); the hash
    must be that of the user's password, under the secret key or a fallback.
    """
    request = HttpRequest()
    request.session = _Glimpse(values)
    try:
        user = get_user(request)
    except ValidationError:  # an id that is none to this user model, from before it was changed
        return None
    # The table may hold different ids for equal: an account that was deleted, and another one that
    # has its name in another case. The id is compared here, where equal texts are the same text;
    # without that, the session would be the other account's.
    return user if user.is_authenticated and id_of(user) == str(values[SESSION_KEY]) else None


def user_by_id(user_id: object, backend: str | None) -> tuple[Any, str] | None:
    """Return a user and the authentication backend that lets the user in; None if none does.

    :param user_id: as `id_of` writes it, or a whole number; in any other spelling it is no id.
    :param backend: the only one to be asked; default: all of the project's, in order.
    """
    text = _text_of(user_id)
    if text is None:
        return None
    for path in [backend] if backend else settings.AUTHENTICATION_BACKENDS:
        try:
            key = get_user_model()._meta.pk.to_python(text)
            # The backend, not the table, since it refuses users that are no longer active.
            user = load_backend(path).get_user(key)
        except (OverflowError, ValueError, ValidationError):  # no id of this user model
            continue
        # "ADA" finds "ada" in a column of a loose collation, and "07" or a 7 of another script is
        # read as 7. Where the id comes from, these may be other users. So the id that was found
        # must be spelled as the one that was asked for; without that, they would take over this
        # account.
        if user is not None and id_of(user) == text:
            return user, path
    return None


# So many users that the database takes for equal are compared; more are refused.
_MOST_CANDIDATES = 100


def user_by_field(name: str, value: object) -> Any:
    """Return the one user with that very value in a field, or None."""
    # A token holds JSON: only a plain value is looked up.
    text = _text_of(value)
    if text is None:
        return None
    model = get_user_model()
    field = model._meta.get_field(name)
    try:
        candidates = list(model._default_manager.filter(**{name: value})[:_MOST_CANDIDATES])
    except (OverflowError, ValueError, ValidationError):  # no value of that field
        return None
    if len(candidates) == _MOST_CANDIDATES:
        logger.error(
            "match: the database holds %d users or more for equal by their %s; no user is signed "
            "in: pass a function as match=, or give the column an exact collation",
            _MOST_CANDIDATES,
            name,
        )
        return None
    # The database's equality is the column's collation: case, accents and trailing blanks may not
    # count, so that an attacker's "adà@example.com" finds ada@example.com. Only a user
    # with this very text is the right one; without the comparison, the attacker would be signed in.
    found = [user for user in candidates if has_text(user, field, text)]
    if len(found) > 1:
        # Any of them may be the wrong one: no user is safer than either.
        logger.error("match: several users have the same %s; no user is signed in", name)
    return found[0] if len(found) == 1 else None


def has_text(user: Any, field: Any, text: str) -> bool:
    """Whether a field of a user holds the value that `text` spells, as this package spells it.

    Not its normal form: another site may tell apart "7" and "07", or a UUID in either case.
    """
    value = field.value_from_object(user)
    # As `describe` sends it, and as Django writes it.
    return value is not None and text in (str(as_json(value)), str(field.value_to_string(user)))


def _text_of(value: object) -> str | None:
    """Return a plain value from a token as text; None unless it is text or a whole number."""
    if isinstance(value, str):
        return value
    # A bool is an int to Python: True would be user 1.
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def id_of(user: Any) -> str:
    """Return a user's id as Django writes it into sessions."""
    return str(user._meta.pk.value_to_string(user))


def describe(user: Any, names: Iterable[str]) -> dict[str, Any]:
    """Return the named attributes of a user, as JSON values, and the id."""
    values = {name: getattr(user, name, describe) for name in names}
    # A method is no value, and neither is what is not there.
    known = {name: as_json(value) for name, value in values.items() if not callable(value)}
    return {**known, "id": id_of(user)}


def as_json(value: Any) -> Any:
    """Return a value as a JSON value: dates, UUIDs, decimals and all other classes as text."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, Mapping):
        return {str(key): as_json(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(each) for each in value]
    return str(value)
