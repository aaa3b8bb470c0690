"""Reports what becomes of requests: one line in the log for each that is refused.

Every refusal comes through `Reports.refused` or `Reports.passed`. Both write a reason (see
`reasons`), in the package's own words: the text of a foreign exception may quote a token, a cookie
or a password.
"""

from __future__ import annotations

import logging
from typing import Literal

from ..errors import RequestError, Unavailable
from ..reasons import Reason

logger = logging.getLogger("ott_middleware")

Entry = Literal["generate", "verify", "link", "on_invalid"]


class Reports:
    """Reports refusals of one middleware."""

    def refused(self, entry: Entry, error: RequestError) -> None:
        """Report a request that is responded to with an error.

        :param entry: what the request asked for.
        """
        if isinstance(error, Unavailable):
            # What broke at this site is no news for a developer alone.
            logger.error(
                "%s: %s (%s)", error.code, error, causes_of(error), extra=_extra(error.reason)
            )
        else:
            self._log(f"{entry} refused", error.reason)

    def passed(self, entry: Entry, reason: Reason) -> None:
        """Report a token that was not redeemed, though the response is no error."""
        self._log(f"{entry} not redeemed" if entry == "link" else f"{entry} refused", reason)

    def _log(self, what: str, reason: Reason) -> None:
        logger.debug("%s: %s (%s)", what, reason.detail, reason.word, extra=_extra(reason))


def _extra(reason: Reason) -> dict[str, str]:
    # An attribute of the log record, for formatters and filters.
    return {"ott_reason": reason.word}


def causes_of(error: BaseException) -> str:
    """Return the types of the exceptions that an error comes from."""
    causes: list[str] = []
    cause = error.__cause__
    # Capped at 8: an exception may be its own cause, by a chain that is a ring.
    while cause is not None and len(causes) < 8:
        causes.append(type(cause).__name__)
        cause = cause.__cause__ or cause.__context__
    return ", ".join(causes) or "no cause"
