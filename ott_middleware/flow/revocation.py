"""Revokes the live tokens of a session that ended."""

from __future__ import annotations

import logging

from ..concurrency import Bound, call_backend
from ..errors import OTTError
from ..tokens.revocations import revocations
from .reports import Reports

logger = logging.getLogger("ott_middleware")


async def revoke_tokens(session_id: str, revoke: Bound, reports: Reports, *, why: str) -> None:
    """Revoke the live tokens of a session; a failure is logged.

    :param revoke: of the token service, bound.
    :param why: completes "tokens not revoked ..." in the log.
    """
    # Before the backend is asked: a token that is put after this line is seen and taken back.
    revocations.note_ended(session_id)
    try:
        await call_backend(revoke(session_id))
    except OTTError as error:
        logger.error("tokens not revoked %s: %s: %s", why, type(error).__name__, error)
    else:
        reports.note_revocation(session_id)
