"""Builds what a middleware has against guesses and replays, from its options."""

from __future__ import annotations

from collections.abc import Sequence

from ..concurrency import Bind, Bound
from ..errors import ConfigurationError
from ..options import Options
from ..tokens.service import OneTimeTokens
from ..tokens.tombstones import Tombstones
from .attempt_windows import windows_of
from .clients import Clients
from .rate_limit import RateLimit
from .receipts import Receipts
from .replay import Replays
from .reports import Reports
from .session_guard import SessionGuard


def build_clients(options: Options) -> Clients | None:
    """Return what tells clients; None where each is the peer."""
    if not (options.proxies or options.rates):
        return None
    return Clients(options.proxies, limits=bool(options.rates))


def build_rate_limit(
    options: Options,
    own: OneTimeTokens | None,
    secrets: Sequence[bytes],
    guard: SessionGuard,
    bind: Bind,
) -> RateLimit | None:
    """Return what counts attempts; None without `rate_limit`.

    :param own: the token service, if it is one over a backend.
    :param secrets: newest first.
    """
    if not options.rates:
        return None
    windows = windows_of(None if own is None else own.backend, guard.now)
    return RateLimit(options.rates, windows, secret=secrets[0] if secrets else None, bind=bind)


def build_receipts(
    options: Options, secrets: Sequence[bytes], guard: SessionGuard
) -> Receipts | None:
    """Return what signs receipts; None without links or `secret`, and where the session tells."""
    param = options.query_param
    if param is None or not secrets or options.adapter.vouches:
        return None
    return Receipts(param, secrets, options.adapter.cookie_names, guard.now)


def build_replays(
    options: Options,
    own: OneTimeTokens | None,
    guard: SessionGuard,
    reports: Reports,
    receipts: Receipts | None,
    revoke: Bound,
    *,
    asynchronous: bool,
) -> Replays | None:
    """Return what remembers used tokens; None where no option asks for it, or there is no store.

    :param own: the token service, if it is one over a backend.
    :raises ConfigurationError: `on_replay="revoke"` without what it needs.
    """
    revokes = options.on_replay == "revoke"
    if revokes:
        _check_on_replay(own)
    if own is None or not (revokes or options.on_event):
        return None
    stones = Tombstones(own.backend, own.secrets, own.clock, asynchronous=asynchronous)
    return Replays(
        stones=stones,
        guard=guard,
        reports=reports,
        receipts=receipts,
        revoke=revoke,
        revokes=revokes,
    )


def _check_on_replay(own: OneTimeTokens | None) -> None:
    if own is None:
        raise ConfigurationError(
            "on_replay: 'revoke' needs a store for used tokens; pass a OneTimeTokens as tokens=, "
            "or leave tokens= out"
        )
    if not own.secrets:
        # Without it, a browser's own second click could not be told from a replay where the adapter
        # cannot verify sessions; and what ends a session would be sealed under the token alone.
        raise ConfigurationError("on_replay: 'revoke' needs secret=; pass 16 bytes or more")
    if not own.backend.can_revoke:
        raise ConfigurationError(
            f"on_replay: 'revoke', but {own.backend.name} can't revoke tokens; leave it out, or "
            "use another backend"
        )
