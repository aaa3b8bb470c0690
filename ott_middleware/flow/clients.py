"""Tells the client of a request: the peer, or the address that a trusted proxy tells of."""

from __future__ import annotations

import logging

from ..http.addresses import TrustedProxies, parse_address
from ..http.messages import Request

logger = logging.getLogger("ott_middleware")

_MOST_READ = 32


class Clients:
    """Tells the clients of requests, by `trusted_proxies`.

    :param proxies: the proxies that are trusted.
    :param limits: whether clients are limited, so that a proxy that is not declared is warned of.
    """

    def __init__(self, proxies: TrustedProxies, *, limits: bool) -> None:
        self._proxies = proxies
        self._warns = limits

    def find(self, request: Request) -> str | None:
        """Return the address of a request's client.

        :param request: with the peer, or what a layer outside put in its place, as its client.
        """
        peer, forwarded = request.client, request.header("x-forwarded-for")
        if forwarded is None:
            return peer
        if self._warns and not self._proxies.trusts(peer) and not _names(forwarded, peer):
            self._warns = False
            logger.warning(
                "rate_limit: a request has X-Forwarded-For, and its peer is not in "
                "trusted_proxies=: if the peer is a proxy of this site, all of its clients count "
                "as one, and a few of them can lock out the others. Pass trusted_proxies= with the "
                "network of the proxy ('unix' for a Unix socket)"
            )
        return self._proxies.client_of(peer, forwarded)


def _names(forwarded: str, peer: str | None) -> bool:
    """Return whether the client was read from the header already, by a layer outside."""
    address = parse_address(peer)
    listed = forwarded.rsplit(",", _MOST_READ)[-_MOST_READ:]
    return address is not None and any(parse_address(each) == address for each in listed)
