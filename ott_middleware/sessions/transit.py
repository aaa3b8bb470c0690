"""The seal round a framework's session on its way: only a site with the same secret opens it.

The token's own seal needs no secret of the site's. Under this one stand the cookie's value, and
what decides which user signs in and until when.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..context import token_bounds
from ..crypto import CookieSeal
from ..http.encoding import to_json
from .base import Session

# The fields that decide which user signs in, and until when: read from inside of the seal.
_SEALED = ("id", "user_id", "user", "created_at", "expires_at", "persistent")


def seal_session(
    cookie: str, session: Session | None, *, kind: str, secrets: Sequence[str | bytes]
) -> str:
    """Return a cookie's value, sealed, as the token of a session that leaves the site.

    :param session: what leaves with the value: its user and its end are sealed as well. None for an
        adapter that seals these within `cookie`.
    :param kind: the framework.
    :param secrets: of the site, newest first.
    """
    bounds = token_bounds()
    # What a site is given with a token is of use for that token alone: bound to the token's
    # end and origin, it can't be brought back in another as long as the session lives.
    plain: list[Any] = [cookie, bounds and bounds.audience, bounds and bounds.moment]
    if session is not None:
        # Attack: with an account, and write access to the backend, an attacker puts a victim's id
        # or address, or a later end, beside the sealed cookie of the attacker's own session. What
        # stands under the seal is sealed with the site's secret, which the attacker lacks; else the
        # link would sign in as the victim.
        values = session.to_json()
        plain.append({name: values[name] for name in _SEALED})
    sealed = _seal_of(kind, secrets[:1]).seal(to_json(plain))
    # No cookie can hold a semicolon: an adapter that would set this as one fails.
    return f"{kind}.{sealed};"


def unseal_session(
    session: Session, *, kind: str, secrets: Sequence[str | bytes]
) -> Session | None:
    """Return a session that arrived with its cookie's value, or None without one of these secrets.

    None as well where the seal was made for another token than the one that is being redeemed.
    """
    sealed_kind, _, sealed = session.token.rpartition(".")
    if sealed_kind != kind or not sealed.endswith(";"):
        return None
    plain = _seal_of(kind, secrets).open(sealed[:-1])
    if plain is None:
        return None
    cookie, audience, until, *inside = json.loads(plain)
    bounds = token_bounds()
    # Without bounds `resolve()` was called outside of a redemption: nothing to compare with.
    if (bounds is not None and until is not None) and (
        audience != bounds.audience or until <= bounds.moment
    ):
        return None
    if not inside:  # an adapter that seals these values in a way of its own
        return replace(session, token=cookie)
    # What stands outside of the seal is ignored, see `seal_session`.
    return Session.from_json({**session.to_json(), **inside[0], "token": cookie})


def _seal_of(kind: str, secrets: Sequence[str | bytes]) -> CookieSeal:
    # Hashed, since a framework's secret may be of any length.
    raw = (secret.encode() if isinstance(secret, str) else secret for secret in secrets)
    keys = [hashlib.sha256(b"ott_middleware transit " + each).digest() for each in raw]
    return CookieSeal(f"{kind} session in transit", keys)
