"""Redeems a token for a browser: what a link, a form, a return path and a socket have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..context import current_attempt
from ..errors import InvalidToken
from ..http.cookies import Cookie
from ..http.fetch_metadata import classify
from ..http.messages import Request
from ..sessions.base import Session
from .forms import is_form
from .services import Services


@dataclass(frozen=True)
class SignedIn:
    """A token was redeemed.

    :ivar session: the session that it established.
    :ivar cookies: what the browser must be given.
    """

    session: Session
    cookies: tuple[Cookie, ...] = field(repr=False)


@dataclass(frozen=True)
class OtherUser:
    """A token was used up, and nothing established: another user is signed in in the browser.

    With `on_switch="ask"`, `AccountSwitch.ask` returns the page that asks the visitor; a request
    that no page can respond to is refused with `SessionSwitch`.

    :ivar session: of the token.
    :ivar present: of the signed-in user.
    """

    session: Session
    present: Session


async def sign_in(
    services: Services,
    token: str,
    request: Request,
    present: Session | None,
    *,
    channel: str = "handoff",
    code_verifiers: Sequence[str] = (),
    needs_challenge: bool = False,
    return_path: str | None = None,
) -> SignedIn | OtherUser:
    """Redeem a token, and establish its session unless `on_switch` keeps another user signed in.

    :param present: the session that the request carries, if the adapter can verify sessions.
        Ask for it first: if the adapter fails, the token is still good.
    :param channel: the one that the token was presented for.
    :param code_verifiers: secrets that the browser holds, for tokens with a code challenge.
    :param needs_challenge: whether a token without a code challenge is refused.
    :param return_path: the path of the request, where a token is good only if it was sent to
        this very path; None where a token may be sent to any.
    :raises RequestError: the token cannot be redeemed, or a service failed.
    """
    session = await services.redeem(token, request, channel=channel, code_verifiers=code_verifiers)
    if needs_challenge:
        _require_challenge()
    # Attack: an attacker begins a handoff, and has a victim's browser open the issuer's URL
    # with another path, of an app beside this one that shows its URLs to the attacker. The
    # token is good for the attacker's browser. It is refused, as RFC 6749 (section 10.6) has
    # it; without this line, the attacker would be signed in as the victim.
    if return_path is not None and current_attempt().return_path not in (None, return_path):
        raise InvalidToken(why="sent to another path than the return path", word="other_path")
    if present is not None and keeps(services, present, session):
        return OtherUser(session, present)
    return await _establish(services, token, session, request, channel)


def keeps(services: Services, present: Session, session: Session) -> bool:
    """Return whether a signed-in user stays signed in, though a token is for another user.

    :param present: a session that the adapter has verified.
    :param session: of the token.
    """
    # Attack: an attacker's own link signs the visitor in as the attacker, and what the visitor
    # enters then is the attacker's to read. Without this line it would.
    return services.on_switch != "replace" and not present.is_same_person(session)


async def sign_in_as_chosen(
    services: Services, token: str, request: Request, *, channel: str, code_verifiers: Sequence[str]
) -> SignedIn:
    """Redeem a token with a code challenge, and establish its session as the visitor chose.

    :raises RequestError: the token cannot be redeemed, or a service failed.
    """
    session = await services.redeem(token, request, channel=channel, code_verifiers=code_verifiers)
    _require_challenge()
    return await _establish(services, token, session, request, channel)


async def _establish(
    services: Services, token: str, session: Session, request: Request, channel: str
) -> SignedIn:
    cookies = await services.guard.establish(session, request)
    await services.remember_use(token, session, request, cookies)
    if services.receipts is not None and _is_shown(request, channel):
        cookies = (*cookies, services.receipts.cookie(token, request))
    return SignedIn(session, cookies)


def _require_challenge() -> None:
    """:raises InvalidToken: the token that was redeemed has no code challenge."""
    # Attack: an attacker has a victim's browser open the return path with a token of the attacker's
    # own. Made without a challenge, it would sign in any browser that holds an attempt of its own;
    # this line makes it worth nothing.
    if current_attempt().code_challenge is None:
        raise InvalidToken(
            why="the token has no code challenge, so that any browser could show it; with "
            "issuer_only=False, this site redeems such links as well",
            word="no_challenge",
        )


def _is_shown(request: Request, channel: str) -> bool:
    """Return whether the visitor sees the response: a navigation, or the form of a page."""
    return channel != "websocket" and (classify(request).is_navigation or is_form(request))
