"""The end of a session among the session's own values, for frameworks that keep no end.

Flask's and Starlette's sessions end by the date of the cookie's signature, or by the store's: both
are renewed whenever the app writes to the session. A session that a handoff made has to end with
the session that it came from, so its end is kept under a reserved key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping
from datetime import datetime, timezone
from typing import Any, TypeVar

#: The key of a session's end, in Unix seconds.
END_KEY = "_ott_expires_at"
#: The key of the moment until which the store keeps a session, in Unix seconds. The app's saving
#: moves it, so that it ends what a handoff makes of the session, and not the session.
KEPT_KEY = "_ott_kept_until"
RESERVED_KEYS = frozenset((END_KEY, KEPT_KEY))

_End = TypeVar("_End", datetime, int)

# The first second of the year 9999: a later one may be none that a datetime can express.
_LATEST = 253370764800


def seconds_in(values: Mapping[str, Any], key: str) -> int | None:
    """The Unix seconds under a reserved key; None where the key is missing."""
    if key not in values:
        return None
    value = values[key]
    if isinstance(value, bool) or not isinstance(value, int):
        # Only this package writes the key. A value that it did not write counts as an end that has
        # passed: to ignore it would lift the session's limit.
        return 0
    return max(0, min(value, _LATEST))


def seconds_of(moment: datetime | None) -> int | None:
    """A moment in whole Unix seconds, never later than the moment itself."""
    return None if moment is None else int(moment.timestamp())


def moment_of(seconds: float | None) -> datetime | None:
    """Unix seconds as an aware datetime, in the year 9999 at the latest."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(min(seconds, _LATEST), timezone.utc)


def earlier(one: _End | None, other: _End | None) -> _End | None:
    """The earlier of two ends, either of which may be unknown."""
    return min((end for end in (one, other) if end is not None), default=None)


def put_quietly(values: MutableMapping[str, Any], added: Mapping[str, int]) -> None:
    """Put values into a session that does not notice: it stays as modified as it was."""
    if isinstance(values, dict):
        for key, value in added.items():
            dict.__setitem__(values, key, value)
        return
    modified = getattr(values, "modified", None)
    values.update(added)
    _restore(values, modified)


def take_quietly(values: MutableMapping[str, Any], keys: Iterable[str]) -> None:
    """Take values out of a session that does not notice."""
    if isinstance(values, dict):
        for key in keys:
            dict.pop(values, key, None)
        return
    modified = getattr(values, "modified", None)
    for key in keys:
        values.pop(key, None)
    _restore(values, modified)


def _restore(values: Any, modified: object) -> None:
    if modified is not None:
        values.modified = modified
