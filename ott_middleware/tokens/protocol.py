"""Declares the contract of a token service: generate, verify, revoke, sync and async."""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol

from ..sessions.base import Session


class TokenService(Protocol):
    """Generates and redeems tokens: `OneTimeTokens`, or a class of your own."""

    def generate(
        self,
        session: Session,
        *,
        expires_in: float | timedelta | None = None,
        audience: str | None = None,
        channel: str = "handoff",
    ) -> str:
        """Return a new token for a session."""
        ...

    def verify(
        self, token: str, *, audience: str | None = None, channel: str = "handoff"
    ) -> Session:
        """Redeem a token and return its session: it works once.

        A token that is bound to an origin is invalid unless `audience` is that origin.
        """
        ...

    def revoke(self, session_id: str) -> int:
        """Delete the live tokens of a session, and return how many there were."""
        ...

    async def agenerate(
        self,
        session: Session,
        *,
        expires_in: float | timedelta | None = None,
        audience: str | None = None,
        channel: str = "handoff",
    ) -> str:
        """`generate`, awaited."""
        ...

    async def averify(
        self, token: str, *, audience: str | None = None, channel: str = "handoff"
    ) -> Session:
        """`verify`, awaited."""
        ...

    async def arevoke(self, session_id: str) -> int:
        """`revoke`, awaited."""
        ...
