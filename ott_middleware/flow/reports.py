"""Reports what becomes of requests: a line in the log for each refusal, and events.

Every refusal comes through `Reports.refused` or `Reports.passed`. Both write a reason (see
`reasons`), in the package's own words: the text of a foreign exception may quote a token, a cookie
or a password.
"""

from __future__ import annotations

import logging
from typing import Literal

from ..context import current_attempt
from ..errors import RequestError, Unavailable
from ..events import Events, Kind
from ..hooks import name_of_type
from ..reasons import Reason
from ..sessions.base import Session
from ..tokens.names import SHORT

logger = logging.getLogger("ott_middleware")

Entry = Literal["generate", "verify", "link", "return", "handoff", "websocket", "on_invalid"]


class Reports:
    """Reports what becomes of the requests and tokens of one middleware.

    :param events: sends events; None without `on_event`.
    :param limits: whether `rate_limit` is set.
    """

    def __init__(self, events: Events | None = None, *, limits: bool = True) -> None:
        self.events = events
        # The length below which a token is warned of.
        self._short = 0 if limits else SHORT

    def note_generation(
        self, token: str, session: Session, audience: str | None, channel: str
    ) -> None:
        """Report a new token, and warn of a short one, once."""
        if len(token) < self._short:
            self._short = 0
            logger.warning(
                "generate_token: it made a token of %d characters, which may be found by guessing: "
                "use %d characters and more, as secrets.token_urlsafe(24) has, or pass rate_limit=",
                len(token),
                SHORT,
            )
        if self.events is not None:
            self.events.send(
                "generated", token=token, session_id=session.id, channel=channel, audience=audience
            )

    def note_redemption(self, session: Session) -> None:
        """Report that the token of the current attempt signed a user in."""
        self._send("redeemed", session.id)

    def note_revocation(self, session_id: str) -> None:
        """Report that the tokens of a session were revoked."""
        if self.events is not None:
            self.events.send("revoked", session_id=session_id)

    def note_replay(self, session_id: str, audience: str | None) -> None:
        """Report that the token of the current attempt was used before.

        :param session_id: of the session that its first use established.
        """
        self._send("replayed", session_id, audience)

    def note_refusal(self, entry: Entry, error: RequestError) -> None:
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
        self._send("refused", reason=error.reason)

    def note_pass(self, entry: Entry, reason: Reason) -> None:
        """Report a token that was not redeemed, though the response is no error."""
        self._log(f"{entry} not redeemed" if entry == "link" else f"{entry} refused", reason)
        self._send("refused", reason=reason)

    def _send(
        self,
        kind: Kind,
        session_id: str | None = None,
        audience: str | None = None,
        reason: Reason | None = None,
    ) -> None:
        """Send an event about the token of the current attempt.

        :param session_id, audience: where the attempt does not know them, or knows others.
        """
        if self.events is not None:
            attempt = current_attempt()
            self.events.send(
                kind,
                token=attempt.token,
                session_id=session_id or attempt.session_id,
                channel=attempt.channel,
                audience=audience or attempt.audience,
                reason=reason,
            )

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
        causes.append(name_of_type(cause))
        cause = cause.__cause__ or cause.__context__
    return ", ".join(causes) or "no cause"
