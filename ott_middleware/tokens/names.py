"""Names tokens in a backend: their syntax, channels, keys and owners."""

from __future__ import annotations

import hashlib
import re

from ..crypto import base64url, hmac_under
from ..errors import InvalidToken
from ..http.urls import CONFIRM

NAMESPACE = "one-time-token"
#: What a token is for: a link or a call, a link with a page to confirm, a WebSocket. The channel is
#: part of the backend's key: a token that is presented for another channel is not found, and stays.
CHANNELS = ("handoff", "confirm", "websocket")
#: What a session's tokens are counted by: their channel, or one of these. Any page can have a
#: visitor's browser ask for tokens of navigation handoffs. A token of a switch is one that the
#: middleware makes of another one, to ask the visitor first. Neither may retire a link of the app.
NAVIGATION, SWITCH = "navigation", "switch"
COUNTED = (*CHANNELS, NAVIGATION, SWITCH)

#: Characters; 22 hold 132 bits. A token with fewer may be found by guessing.
SHORT = 22

_BEGUN = hashlib.sha256()
_SYNTAX = re.compile(r"[A-Za-z0-9_-]{1,512}")


def is_token(value: object) -> bool:
    """Return whether a value has the form of a token: 1 to 512 characters of A-Z a-z 0-9 - _."""
    return isinstance(value, str) and _SYNTAX.fullmatch(value) is not None


def link_value(channel: str, token: str) -> str:
    """Return the value of the link parameter for a token of a channel."""
    return f"{CONFIRM}{token}" if channel == "confirm" else token


def parse_link_value(value: object) -> tuple[str, str] | None:
    """Return the channel and the token that the value of a link parameter names, or None."""
    if is_token(value):
        return "handoff", str(value)
    # A token has no dot: `confirm.confirm.T` is none.
    token = value.removeprefix(CONFIRM) if isinstance(value, str) else ""
    return ("confirm", token) if is_token(token) else None


def malformed_token(value: object) -> InvalidToken:
    """Return the error for a value that has not the form of a token."""
    if parse_link_value(value) is not None:
        why = "a confirm link: it signs in by the form of its own page, and in no other way"
        return InvalidToken(why=why, word="other_channel")
    why = "the value has not the form of a token: 1 to 512 characters of A-Z a-z 0-9 - _"
    return InvalidToken(why=why, word="malformed_token")


def hash_token(token: str) -> str:
    """Return the unpadded base64url of a token's SHA-256, for `store_token="hashed"`.

    There is no salt, since a token is no password: 192 random bits cannot be guessed.
    """
    # A copy: to begin a hash anew takes OpenSSL longer than to hash a token.
    each = _BEGUN.copy()
    each.update(token.encode("ascii"))
    return base64url(each.digest())


def backend_key(channel: str, stored: str) -> str:
    """Return the backend's key of a token; a token of another channel has another key."""
    return f"{NAMESPACE}:{channel}:{stored}"


class Owners:
    """Names the owners that a backend counts tokens for: HMACs, never the ids themselves.

    With a secret, a dump of the store does not tell which session or user a token belongs to.
    Without one, the HMAC's key is a constant of this package: an id that can be guessed (a user id
    of a few digits, an e-mail address) is found in a dump by trying all of them.
    """

    def __init__(self, secret: bytes | None) -> None:
        self._hmac = hmac_under(secret or NAMESPACE.encode())

    def of_session(self, channel: str, session_id: str) -> str:
        """Return the owner of a session's tokens."""
        return self._name(f"{NAMESPACE}\0{channel}\0{session_id}")

    def of_network(self, channel: str, network: str) -> str:
        """Return the owner of a network's tokens."""
        # Attack: a client chooses its cookies, and may so choose session ids. HMAC messages of
        # sessions begin with the namespace and a zero byte, those of networks do not. Else an id
        # could name a network's owner, and the tokens of all clients of the network be revoked or
        # retired.
        return self._name(f"{NAMESPACE} network\0{channel}\0{network}")

    def _name(self, message: str) -> str:
        return base64url(self._hmac(message.encode("utf-8", "surrogatepass")))
