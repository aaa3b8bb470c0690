"""Why a request was refused: a word of a fixed list, and a sentence for the developer.

A reason goes to the log (at DEBUG) and to `on_event`, never to a client: an attacker could
otherwise tell a used token from an unknown one, and learn that it was a token.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Word = Literal[
    # The token.
    "malformed_token",
    "unknown_token",
    "used_token",
    "expired_token",
    "other_channel",
    "other_audience",
    "other_browser",
    "other_path",
    "no_challenge",
    "unreadable_token",
    # Its session, and the user.
    "no_account",
    "session_ended",
    "session_expired",
    "other_user",
    "no_session",
    # The request.
    "untrusted_origin",
    "missing_origin",
    "method",
    "body",
    "body_size",
    "content_type",
    "target",
    "links_disabled",
    "client_requests_disabled",
    "rate_limited",
    "prefetch",
    "not_opened",
    "cookies_blocked",
    "other_page",
    "handoff_loop",
    "no_cookies",
    # This site.
    "backend_full",
    "backend_failed",
    "hook_failed",
]


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a request was refused.

    :ivar word: one of the fixed list `Word`, for metrics and for code.
    :ivar detail: for the developer; its wording may change. It holds no token, cookie, secret or
        personal data.
    """

    word: Word
    detail: str


_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9!#$&+./_-]{0,63}")


def quote(text: str) -> str:
    """Return a client's word (a method, a media type) as a reason may show it.

    What is no plain word is not shown: a client could write lines of its own into the log.
    """
    return repr(text) if _PLAIN.fullmatch(text) else "another text"
