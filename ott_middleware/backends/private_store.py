"""Warns where tokens for another site are in the memory of this process, which it cannot reach."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from weakref import WeakValueDictionary

from .base import Backend

logger = logging.getLogger("ott_middleware")

_CURE = (
    "pass one backend= that both sites reach, and the same secret=, on both: a database file or "
    "a server, as sqlite:///path, redis://host or postgresql://host/database"
)
# The backends that two middlewares of this process may share: one warning is enough.
_warned: WeakValueDictionary[int, Backend] = WeakValueDictionary()
_unknown_seen: list[str] = []


def warn_of_other_sites(backend: Backend, targets: Sequence[str]) -> None:
    """Log a warning if tokens for other sites go into a store that only this process reaches.

    :param targets: the origins in `handoff_targets`.
    """
    if not targets or backend.shared or _warned.get(id(backend)) is backend:
        return
    _warned[id(backend)] = backend
    logger.warning(
        "handoff_targets: %s: the tokens are in the memory of this process (%s), so that links "
        "to there fail unless that site runs in this process with this very backend, or its server "
        "redeems here (verify with an audience); otherwise %s",
        ", ".join(targets),
        backend.name,
        _CURE,
    )


def warn_of_unknown_token(backend: Backend) -> None:
    """Log a warning, once a process, for a token that a store of this process alone does not know.

    By its form, the token may come from another site or from another worker.
    """
    # A list's append is atomic; at worst two threads log one line each.
    if backend.shared or _unknown_seen:
        return
    _unknown_seen.append(backend.name)
    logger.warning(
        "a token is not known here, and the tokens are in the memory of this process (%s): it was "
        "used or has expired, or it was made by another site or worker; in that case %s. (Logged "
        "once a process.)",
        backend.name,
        _CURE,
    )
