"""The middleware's sub-protocols among those that a WebSocket's client offers."""

from __future__ import annotations

from typing import Any

import pytest

from ott_middleware.http.subprotocols import cut_protocols, read_offer


@pytest.mark.parametrize(
    ("offered", "named", "tokens"),
    [
        ([], False, ()),
        (["chat"], False, ()),
        (["ott"], True, ()),
        (["ott.T"], False, ("T",)),
        (["ott", "ott.T"], True, ("T",)),
        (["ott.T", "ott.T", "ott.U"], False, ("T", "T", "U")),
        ([" ott ", " ott.T"], True, ("T",)),
        (["ott."], False, ("",)),
        (["OTT", "otter", "ott-T", "x.ott.T"], False, ()),
    ],
)
def test_offers(offered: list[str], named: bool, tokens: tuple[str, ...]) -> None:
    assert read_offer(offered, "ott") == (named, tokens)


def test_offer_shows_no_token() -> None:
    assert repr(read_offer(["ott", "ott.T0ken"], "ott")) == "Offer(named=True)"


CUTS: list[tuple[Any, Any]] = [
    ({"subprotocols": ["ott", "ott.T"]}, {"subprotocols": []}),
    ({"subprotocols": ("ott", "v1.ott")}, {"subprotocols": ("v1.ott",)}),
    ({"subprotocols": ["otter"]}, {"subprotocols": ["otter"]}),
    ({"subprotocols": ["", "ott.T", "a", ""]}, {"subprotocols": ["", "a", ""]}),
    ({"subprotocols": [["ott"], ("ott", "b")]}, {"subprotocols": [[""], ("", "b")]}),
    ({"subprotocols": ["a,ott.T", "b"]}, {"subprotocols": ["a", "b"]}),
    ({"HTTP_SEC_WEBSOCKET_PROTOCOL": "a, ott, b,ott.T"}, {"HTTP_SEC_WEBSOCKET_PROTOCOL": "a, b"}),
    ({"HTTP_SEC_WEBSOCKET_PROTOCOL": "ott"}, {"HTTP_SEC_WEBSOCKET_PROTOCOL": ""}),
    ({"Sec-WebSocket-Protocol": "otter, a"}, {"Sec-WebSocket-Protocol": "otter, a"}),
    ({"HTTP_X": "ott, ott.T"}, {"HTTP_X": "ott, ott.T"}),
    (
        {"user": "ott", "x": {"remote_user": "ott.T"}},
        {"user": "ott", "x": {"remote_user": "ott.T"}},
    ),
]


@pytest.mark.parametrize(("before", "after"), CUTS)
def test_cuts(before: Any, after: Any) -> None:
    cut_protocols(before, "ott")
    assert before == after


@pytest.mark.parametrize(
    ("headers", "left"),
    [
        ([(b"sec-websocket-protocol", b"ott,ott.T"), (b"x", b"")], [(b"x", b"")]),
        ([(b"Sec-WebSocket-Protocol", b"ott,\ta")], [(b"Sec-WebSocket-Protocol", b"a")]),
        (
            [(b"sec-websocket-protocol", b"ott"), (b"sec-websocket-protocol", b"otter")],
            [(b"sec-websocket-protocol", b"otter")],
        ),
        ([(b"x-a", b"ott")], [(b"x-a", b"ott")]),
        (
            [(b"sec-websocket-protocol", b"a%20, %6ftt, o%74t%2ET, b%2C ott")],
            [(b"sec-websocket-protocol", b"a%20")],
        ),
        (
            [(b"sec-websocket-protocol", b"%09 %C2%a0 ott.T, ott%20, a,%0Aott%2c, %6Fttx, %41ott")],
            [(b"sec-websocket-protocol", b"a, %6Fttx, %41ott")],
        ),
    ],
)
def test_headers(headers: Any, left: Any) -> None:
    given = list(headers)
    scope = {"query_string": b"", "headers": headers}
    cut_protocols(scope, "ott")
    assert scope["headers"] == left
    assert headers == given
