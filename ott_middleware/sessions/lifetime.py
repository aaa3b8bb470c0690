"""The end of a session: caps the Max-Age of its cookie, and is kept where a framework keeps none.

Flask's and Starlette's sessions end by the date of the cookie's signature, or by the store's: both
are renewed whenever the app writes to the session. A session that a handoff made has to end with
the session that it was copied from, so its end is kept under a reserved key.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import SessionExpired
from ..http.cookies import Cookie
from .base import Session

if TYPE_CHECKING:
    from itsdangerous import TimestampSigner

#: The key of a session's end, in Unix seconds.
END_KEY = "_ott_expires_at"
#: The key of the moment until which the store keeps a session, in Unix seconds. The app's saving
#: moves it, so that it ends what a handoff makes of the session, and not the session.
KEPT_KEY = "_ott_kept_until"
RESERVED_KEYS = frozenset((END_KEY, KEPT_KEY))

_End = TypeVar("_End", datetime, int)

# The first second of the year 9999: a later one may be none that a datetime can express.
_LATEST = 253370764800


def cap_max_age(cookie: Cookie, session: Session, now: float, *, https: bool) -> Cookie:
    """Return a cookie that signs in, with a Max-Age that ends no later than its session.

    :param now: Unix seconds.
    :param https: whether the request came over https.
    :raises SessionExpired: less than a second is left.
    """
    max_age = cookie.max_age
    if max_age == 0:
        pass  # a deletion
    elif not session.persistent:
        max_age = None  # a session that ends with the browser at its source does so here
    elif max_age is not None and session.expires_at is not None:
        left = int(session.expires_at.timestamp() - now)
        if left < 1:
            # No cookie lives for less than a second: an age of 0 would delete it instead.
            raise SessionExpired
        max_age = min(max_age, left)
    return cookie.limited(max_age, https=https)


def seconds_in(values: Mapping[str, Any], key: str) -> int | None:
    """Return the Unix seconds under a reserved key, or None if the key is missing."""
    if key not in values:
        return None
    value = values[key]
    if isinstance(value, bool) or not isinstance(value, int):
        # Only this package writes the key. A value that it did not write counts as an end that has
        # passed: to ignore it would lift the session's limit.
        return 0
    return max(0, min(value, _LATEST))


def seconds_of(moment: datetime | None) -> int | None:
    """Return a moment in whole Unix seconds, never later than the moment itself."""
    return None if moment is None else int(moment.timestamp())


def moment_of(seconds: float | None) -> datetime | None:
    """Return Unix seconds as an aware datetime, in the year 9999 at the latest."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(min(seconds, _LATEST), timezone.utc)


def earlier(one: _End | None, other: _End | None) -> _End | None:
    """Return the earlier of two ends, either of which may be unknown (None)."""
    return min((end for end in (one, other) if end is not None), default=None)


def add_end(values: Mapping[str, Any], expires_at: datetime | None) -> dict[str, Any] | None:
    """Return a session's values with its end among them; None if they hold that end already."""
    end = earlier(seconds_of(expires_at), seconds_in(values, END_KEY))
    return None if end == values.get(END_KEY) else {**values, END_KEY: end}


def put_quietly(values: MutableMapping[str, Any], added: Mapping[str, int]) -> None:
    """Put values into a session that does not notice: it stays as modified as it was."""
    _call_quietly(values, "update", added)


def take_quietly(values: MutableMapping[str, Any], keys: Iterable[str]) -> None:
    """Take values out of a session that does not notice."""
    for key in keys:
        _call_quietly(values, "pop", key, None)


@contextmanager
def holding_quietly(values: MutableMapping[str, Any], added: Mapping[str, int]) -> Iterator[None]:
    """Within, a session holds some more values, and does not notice."""
    put_quietly(values, added)
    try:
        yield
    finally:
        take_quietly(values, added)


def _call_quietly(values: Any, method: str, *args: Any) -> None:
    if isinstance(values, dict):
        getattr(dict, method)(values, *args)  # a dict's own methods call none of the session's
        return
    modified = getattr(values, "modified", None)
    getattr(values, method)(*args)
    if modified is not None:
        values.modified = modified


def sign_at(signer: TimestampSigner, payload: bytes, seconds: int) -> str:
    """Sign a payload with a date of its own.

    :param seconds: the Unix seconds of the date.
    """
    signer = copy.copy(signer)
    signer.get_timestamp = lambda: seconds  # type: ignore[method-assign]  # it has no other way to be told
    return signer.sign(payload).decode("ascii")
