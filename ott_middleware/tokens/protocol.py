"""The contract of a token service: generate, verify, revoke, sync and async."""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol

from ..sessions.base import Session


class TokenService(Protocol):
    """What issues and redeems tokens: `OneTimeTokens`, or one of your own."""

    def generate(
        self,
        session: Session,
        *,
        expires_in: float | timedelta | None = None,
        audience: str | None = None,
        channel: str = "handoff",
    ) -> str:
        """A new token for a session."""
        ...

    def verify(
        self, token: str, *, audience: str | None = None, channel: str = "handoff"
    ) -> Session:
        """Redeem a token: the one time that it gives its session.

        A token that is bound to an origin is invalid unless `audience` is that origin.
        """
        ...

    def revoke(self, session_id: str) -> int:
        """Drop the live tokens of a session."""
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
