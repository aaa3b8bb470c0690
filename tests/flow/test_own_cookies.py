"""The middleware's own cookies: their names, their attributes, and those that a browser sent."""

from __future__ import annotations

import pytest

from ott_middleware.flow.own_cookies import own_cookie, own_cookies_sent, own_name
from ott_middleware.http import Request

ONE, TWO = "0123456789abcdef", "fedcba9876543210"


def request(cookie: str = "", scheme: str = "http") -> Request:
    return Request("GET", scheme, "/", headers={"cookie": cookie} if cookie else {})


class TestOwnCookie:
    @pytest.mark.parametrize(
        ("scheme", "expected"),
        [
            ("http", "ott_x=v; Max-Age=60; Path=/; HttpOnly; SameSite=Lax"),
            ("https", "__Host-ott_x=v; Max-Age=60; Path=/; Secure; HttpOnly; SameSite=Lax"),
        ],
    )
    def test_line(self, scheme: str, expected: str) -> None:
        name = own_name(request(scheme=scheme), "ott_x")
        assert own_cookie(name, "v", 60).header() == ("Set-Cookie", expected)

    def test_deletion(self) -> None:
        line = own_cookie("__Host-ott_x", "", 0, "Strict").header()[1]
        assert line.startswith("__Host-ott_x=; Max-Age=0; Expires=Thu, 01 Jan 1970 ")
        assert line.endswith("; Path=/; Secure; HttpOnly; SameSite=Strict")


class TestOwnCookiesSent:
    def test_in_the_order_of_the_header(self) -> None:
        header = f"ott_x_{TWO}=b; other=1;ott_x_{ONE}=a ;\tott_x_{TWO}= c\t"
        expected = [(f"ott_x_{TWO}", "b"), (f"ott_x_{ONE}", "a"), (f"ott_x_{TWO}", "c")]
        assert own_cookies_sent(request(header), "ott_x_") == expected

    @pytest.mark.parametrize("scheme", ["http", "https"])
    def test_of_the_scheme_alone(self, scheme: str) -> None:
        name = own_name(request(scheme=scheme), f"ott_x_{ONE}")
        header = f"__Host-ott_x_{ONE}=v; ott_x_{ONE}=v"
        assert own_cookies_sent(request(header, scheme), "ott_x_") == [(name, "v")]

    @pytest.mark.parametrize(
        "header",
        [
            "",
            f"ott_x_{ONE}",
            f"ott_x_{ONE}0=v",
            f"ott_x_{ONE[1:]}=v",
            f"ott_x_{ONE.upper()}=v",
            f"ott.x_{ONE}=v",
            f"a_ott_x_{ONE}=v",
            f"a=ott_x_{ONE}=v",
            f"a=b ott_x_{ONE}=v",
        ],
    )
    def test_others(self, header: str) -> None:
        assert own_cookies_sent(request(header), "ott_x_") == []
