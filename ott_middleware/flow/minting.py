"""Generates tokens for requests of clients: for the generate path, and for navigation handoffs."""

from __future__ import annotations

from ..errors import Unauthorized
from ..http.messages import Request
from ..sessions.base import Session
from ..tokens.revocations import revocations
from .services import Services


async def require_session(services: Services, request: Request) -> Session:
    """Return the session that a request carries.

    :raises Unauthorized: there is none.
    :raises SessionUnavailable: the adapter failed.
    """
    session = await services.guard.current(request)
    if session is None:
        services.guard.warn_of_missing_user(request)
        raise Unauthorized(why=services.guard.why_no_session(request))
    return session


async def mint(
    services: Services,
    request: Request,
    session: Session,
    *,
    audience: str | None,
    channel: str = "handoff",
    **code_challenge: str,
) -> str:
    """Return a new token for the session of a request, and report it.

    :raises Unauthorized: the session ended, or its tokens were revoked, during the request.
    :raises Unavailable: the backend or the adapter failed.
    """
    # A call of `revoke` may have revoked the session's tokens while the adapter was asked.
    if revocations.revoked_since(session.id, request.began or 0):
        raise Unauthorized(why="the session's tokens were revoked during the request")
    token: str = await services.generate(
        session, expires_in=None, audience=audience, channel=channel, **code_challenge
    )
    await services.confirm(session, request)
    services.reports.note_generation(token, session, audience, channel)
    return token
