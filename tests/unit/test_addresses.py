"""The client of a request, by what trusted proxies say."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ott_middleware.http.addresses import TrustedProxies, network_of, parse_address

PROXIES = TrustedProxies.parse(["10.0.0.0/8", "2001:db8:ff::/48", "192.0.2.7"])


class TestTrustedProxies:
    @pytest.mark.parametrize(
        ("peer", "forwarded", "client"),
        [
            ("10.0.0.1", "203.0.113.7", "203.0.113.7"),
            # The client sent an address of its own, and the proxy added the true one.
            ("10.0.0.1", "198.51.100.1, 203.0.113.7", "203.0.113.7"),
            ("10.0.0.1", "198.51.100.1,203.0.113.7 ,\t10.2.3.4", "203.0.113.7"),
            ("10.0.0.1", "nonsense, 203.0.113.7", "203.0.113.7"),
            ("10.0.0.1", "2001:db8::1", "2001:db8::1"),
            ("10.0.0.1", "[2001:db8::1]:443", "2001:db8::1"),
            ("10.0.0.1", "203.0.113.7:5555", "203.0.113.7"),
            ("10.0.0.1", "::ffff:203.0.113.7", "203.0.113.7"),
            ("::ffff:10.0.0.1", "203.0.113.7", "203.0.113.7"),
            ("2001:db8:ff::1%eth0", "203.0.113.7", "203.0.113.7"),
            ("192.0.2.7", "203.0.113.7, 2001:db8:ff::2", "203.0.113.7"),
            # All are proxies: a request of the proxies' own network.
            ("10.0.0.1", "10.0.0.9, 10.0.0.2", "10.0.0.9"),
            # Malformed: the peer.
            ("10.0.0.1", "", "10.0.0.1"),
            ("10.0.0.1", "203.0.113.7,", "10.0.0.1"),
            ("10.0.0.1", "203.0.113.7, unknown", "10.0.0.1"),
            ("10.0.0.1", "203.0.113.7, 10.0.0.2, _hidden", "10.0.0.1"),
            ("10.0.0.1", "9" * 64_000, "10.0.0.1"),
            # Another peer than a proxy says what it likes.
            ("203.0.113.9", "198.51.100.1", "203.0.113.9"),
            ("192.0.2.8", "198.51.100.1", "192.0.2.8"),
            (None, "198.51.100.1", None),
            ("", "198.51.100.1", ""),
            ("10.0.0.1", None, "10.0.0.1"),
        ],
    )
    def test_client(self, peer: str | None, forwarded: str | None, client: str | None) -> None:
        assert PROXIES.client_of(peer, forwarded) == client

    @pytest.mark.parametrize("peer", [None, "", "/run/app.sock", "localhost"])
    def test_unix_socket(self, peer: str | None) -> None:
        proxies = TrustedProxies.parse(["unix"])
        assert proxies.client_of(peer, "198.51.100.1, 203.0.113.7") == "203.0.113.7"
        assert proxies.client_of("203.0.113.9", "198.51.100.1") == "203.0.113.9"

    def test_networks_of_ipv4_in_ipv6(self) -> None:
        proxies = TrustedProxies.parse(["::ffff:10.0.0.0/104"])
        assert proxies.networks == (ipaddress.ip_network("10.0.0.0/8"),)

    def test_objects_of_networks(self) -> None:
        given = [ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_address("192.0.2.7")]
        assert TrustedProxies.parse(given).trusts("192.0.2.7")

    def test_none_is_false(self) -> None:
        assert not TrustedProxies.parse(())
        assert TrustedProxies.parse(["unix"])
        assert PROXIES

    def test_chain_without_end_is_read_at_its_right(self) -> None:
        chain = "198.51.100.1, " + ", ".join(["10.0.0.2"] * 5_000)
        assert PROXIES.client_of("10.0.0.1", chain) == "10.0.0.2"

    @given(st.text(), st.text() | st.lists(st.ip_addresses().map(str)).map(",".join))
    def test_any_text(self, peer: str, forwarded: str) -> None:
        assert PROXIES.client_of(peer, forwarded) == peer

    @given(
        st.text(st.characters(codec="latin-1")) | st.lists(st.ip_addresses().map(str)).map(",".join)
    )
    def test_what_a_client_sends_never_names_another(self, forged: str) -> None:
        for own in ("203.0.113.7", "2001:db8::7"):
            assert PROXIES.client_of("10.0.0.1", f"{forged}, {own}") == own
            assert PROXIES.client_of("10.0.0.1", f"{forged}, {own}, 10.1.1.1") == own

    @given(st.ip_addresses(), st.ip_addresses())
    def test_client_is_an_address_or_the_peer(self, one: Any, two: Any) -> None:
        found = PROXIES.client_of("10.0.0.1", f"{one}, {two}")
        assert found in {str(parse_address(str(each))) for each in (one, two)}


class TestNetworkOf:
    def test_ipv6_by_64_bits(self) -> None:
        assert network_of("2001:db8::1:2:3:4", 64) == "2001:db8::/64"
        assert network_of("2001:db8:0:1::1", 64) == "2001:db8:0:1::/64"
        assert network_of("203.0.113.7", 64) == network_of("::ffff:203.0.113.7", 64)
