"""The names of tokens in a backend: their syntax, channels, keys and owners."""

from __future__ import annotations

import hashlib
import hmac
import re

from ..crypto import base64url

NAMESPACE = "one-time-token"
CHANNELS = ("handoff",)


_SYNTAX = re.compile(r"[A-Za-z0-9_-]{1,512}")


def is_token(value: object) -> bool:
    """Whether a value has the form of a token: 1 to 512 characters of A-Z a-z 0-9 - _."""
    return isinstance(value, str) and _SYNTAX.fullmatch(value) is not None


def hashed(token: str) -> str:
    """What `store_token="hashed"` keeps: the unpadded base64url of the token's SHA-256.

    Without a salt, since a token is no password: there is nothing to guess in 192 random bits.
    """
    return base64url(hashlib.sha256(token.encode("ascii")).digest())


def backend_key(channel: str, stored: str) -> str:
    """The backend's key. A token asked for through another channel's door is simply not there."""
    return f"{NAMESPACE}:{channel}:{stored}"


def owner_of(channel: str, session_id: str, secret: bytes | None) -> str:
    """The owner that a backend counts a session's tokens for: an HMAC, never the id itself.

    With a secret, a dump of the store does not tell which session or user a token belongs to.
    Without one, the HMAC's key is a constant of this package: an id that can be guessed (a user id
    of a few digits, an e-mail address) is found in a dump by trying all of them.
    """
    return _owner((NAMESPACE, channel, session_id), secret)


def network_owner_of(channel: str, network: str, secret: bytes | None) -> str:
    """The owner that a backend counts a network's tokens for; see `owner_of`."""
    # An attacker chooses cookies, and may so choose session ids. The messages of sessions begin
    # with the namespace and a zero byte, those of networks do not: no id names a network's owner,
    # by which the tokens of all its clients could be revoked or retired.
    return _owner((f"{NAMESPACE} network", channel, network), secret)


def _owner(names: tuple[str, ...], secret: bytes | None) -> str:
    message = "\0".join(names).encode("utf-8", "surrogatepass")
    return base64url(hmac.digest(secret or NAMESPACE.encode(), message, "sha256"))
