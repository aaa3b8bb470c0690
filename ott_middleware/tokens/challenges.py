"""Code challenges: a token that works only in the browser that holds a secret, its verifier.

(RFC 7636, with S256 as the only method: a plain challenge would show the verifier.)
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable

from ..crypto import base64url

# A SHA-256 in unpadded base64url (RFC 7636 section 4.2): 43 characters.
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")


def is_challenge(value: object) -> bool:
    """Return whether a value has the form of a code challenge."""
    return isinstance(value, str) and _CHALLENGE.fullmatch(value) is not None


def challenge_of(verifier: str) -> str:
    """Return the code challenge of a verifier: S256 of RFC 7636 section 4.6."""
    return base64url(hashlib.sha256(verifier.encode("utf-8", "surrogatepass")).digest())


def find_verifier(challenge: str, verifiers: Iterable[str]) -> str | None:
    """Return the verifier of a challenge, or None if none of these is."""
    matching = (each for each in verifiers if hmac.compare_digest(challenge_of(each), challenge))
    return next(matching, None)
