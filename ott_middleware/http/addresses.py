"""Finds the network of a client's address, for counting the network's tokens."""

from __future__ import annotations

import ipaddress
import re

# No address with a scope and a port is as long.
_LONGEST_ADDRESS = 64
_WITH_PORT = re.compile(r"\[(?P<v6>[^\[\]]*)\](?::[0-9]{1,5})?|(?P<v4>[0-9.]+):[0-9]{1,5}")


def network_of(client: str | None) -> str:
    """Return the network of a client's address: /32 for IPv4, /56 for IPv6, else `"unknown"`.

    An IPv4 address that is mapped into IPv6 counts as IPv4; a port or a scope id does not count.
    """
    # Attack: a layer outside of the middleware lets a client write any text here. Text that is not
    # exactly one address (a list, a name, a socket's path) is the one network "unknown"; else the
    # client would have any number of networks.
    if client is None or len(client) > _LONGEST_ADDRESS:
        return "unknown"
    text = client.strip()
    if with_port := _WITH_PORT.fullmatch(text):
        text = with_port["v6"] or with_port["v4"] or ""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return "unknown"
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            # Attack: a subscriber has a /56 and chooses the other bits at will. They are cut off;
            # else one client would be any number of networks.
            return f"{ipaddress.IPv6Address(int(address) >> 72 << 72)}/56"
        address = address.ipv4_mapped
    return f"{address}/32"
