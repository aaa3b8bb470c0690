"""What a backend counts the tokens of a session or of a network by, in one call."""

from __future__ import annotations

from ott_middleware.tokens.names import Owners


def owner_of(channel: str, session_id: str, secret: bytes | None) -> str:
    """The owner of a session's tokens."""
    return Owners(secret).of_session(channel, session_id)


def network_owner_of(channel: str, network: str, secret: bytes | None) -> str:
    """The owner of a network's tokens."""
    return Owners(secret).of_network(channel, network)
