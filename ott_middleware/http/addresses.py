"""Parses clients' addresses: their networks, and the client that trusted proxies tell of."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigurationError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# No address with a scope and a port is as long.
_LONGEST_ADDRESS = 64
# More proxies than any chain has; the entries of a longer one are not read.
_MOST_PROXIES = 32
_WITH_PORT = re.compile(r"\[(?P<v6>[^\[\]]*)\](?::[0-9]{1,5})?|(?P<v4>[0-9.]+):[0-9]{1,5}")
_UNIX = "unix"


def parse_address(text: str | None) -> Address | None:
    """Return the address in a text, or None if the text is not exactly one address.

    An IPv4 address that is mapped into IPv6 counts as IPv4; a port or a scope id does not count.
    """
    if text is None or len(text) > _LONGEST_ADDRESS:
        return None
    text = text.strip()
    with_port = _WITH_PORT.fullmatch(text)
    alone: str = text if with_port is None else with_port["v6"] or with_port["v4"] or ""
    try:
        address = ipaddress.ip_address(alone)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        return address.ipv4_mapped or ipaddress.IPv6Address(int(address))  # without a scope id
    return address


def network_of(client: str | None, bits: int = 56) -> str:
    """Return the network of a client's address: /32 for IPv4, /56 for IPv6, else `"unknown"`.

    :param bits: of an IPv6 network.
    """
    # Attack: a layer outside of the middleware lets a client write any text here. Text that is not
    # exactly one address (a list, a name, a socket's path) is the one network "unknown"; else the
    # client would have any number of networks.
    address = parse_address(client)
    if address is None:
        return "unknown"
    if isinstance(address, ipaddress.IPv4Address):
        return f"{address}/32"
    # Attack: a subscriber has a /56 and chooses the other bits at will. They are cut off; else one
    # client would be any number of networks.
    rest = 128 - bits
    return f"{ipaddress.IPv6Address(int(address) >> rest << rest)}/{bits}"


@dataclass(frozen=True, slots=True)
class TrustedProxies:
    """The proxies that tell the client by their `X-Forwarded-For`.

    :ivar networks: of their addresses.
    :ivar unix: whether a peer without an address is one: a proxy at a Unix socket.
    """

    networks: tuple[Network, ...] = ()
    unix: bool = False

    @classmethod
    def parse(cls, given: Any) -> TrustedProxies:
        """Return what the option `trusted_proxies` names.

        :raises ConfigurationError: no list of networks, or a network that holds every client.
        """
        # A text is a list as well, of one letter each.
        if isinstance(given, (str, bytes)) or not hasattr(given, "__iter__"):
            raise ConfigurationError(
                f"trusted_proxies: {given!r}; pass a list of networks, as ['10.0.0.0/8']"
            )
        listed = list(given)
        return cls(tuple(_parse_network(each) for each in listed if each != _UNIX), _UNIX in listed)

    def __bool__(self) -> bool:
        return self.unix or bool(self.networks)

    def trusts(self, text: str | None) -> bool:
        """Return whether a peer is one of the proxies."""
        address = parse_address(text)
        return self.unix if address is None else self._holds(address)

    def client_of(self, peer: str | None, forwarded: str | None) -> str | None:
        """Return the client's address: the rightmost that is no trusted proxy, else the peer.

        :param forwarded: the `X-Forwarded-For` of the request.
        """
        if forwarded is None or not self.trusts(peer):
            return peer
        # Attack: a client sends an `X-Forwarded-For` of its own, and the proxy adds the client's
        # address at the right. Read from the right, the first address that is no proxy was written
        # by a proxy; read from the left, each request could name another client.
        client: Address | None = None
        for text in reversed(forwarded.rsplit(",", _MOST_PROXIES)[-_MOST_PROXIES:]):
            client = parse_address(text)
            if client is None:
                return peer
            if not self._holds(client):
                break
        return str(client)

    def _holds(self, address: Address) -> bool:
        return any(address in network for network in self.networks)


def _parse_network(given: Any) -> Network:
    try:
        # Numbers are addresses to the library.
        network = ipaddress.ip_network(given) if not isinstance(given, (int, bytes)) else None
    except ValueError:
        network = None
    if network is None:
        raise ConfigurationError(
            f"trusted_proxies: {given!r}; use a network or an address, as '10.0.0.0/8' (with no "
            "bits set beside the network's) or '203.0.113.7', or 'unix' for a proxy at a Unix "
            "socket"
        )
    mapped = network.version == 6 and network.network_address.ipv4_mapped
    if mapped and network.prefixlen >= 96:
        network = ipaddress.ip_network(f"{mapped}/{network.prefixlen - 96}")
    # Attack: with every address trusted, the leftmost one counts, which the client chooses. Such a
    # network is refused; else one client would be any number of clients.
    if network.prefixlen == 0:
        raise ConfigurationError(
            f"trusted_proxies: {given!r} holds every client; name the networks of the proxies "
            "alone, as '10.0.0.0/8'"
        )
    return network
