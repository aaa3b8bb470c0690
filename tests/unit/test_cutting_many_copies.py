"""Copies of a link by the thousand: each is cut, whatever its neighbours are."""

from __future__ import annotations

import pytest

from ott_middleware.http.cutting import cut_request

TOKENS = [f"{number:032d}" for number in range(12)]


@pytest.mark.parametrize("spellings", [1, 2, len(TOKENS)])
@pytest.mark.parametrize("between", ["&", "&a&", ";", "&a;b&"])
def test_many_copies_are_cut(spellings: int, between: str) -> None:
    tokens = TOKENS[:spellings]
    copies = [f"ott={token}" for token in tokens] * 100
    environ = {"QUERY_STRING": "&".join(copies), "HTTP_X": f"/p?x&{between.join(copies)}&y"}
    assert cut_request(environ, environ["QUERY_STRING"], "ott") == (tuple(tokens), ())
    assert "ott" not in environ["HTTP_X"]
    assert environ["HTTP_X"].startswith("/p?x")
    assert environ["HTTP_X"].endswith("y")
    assert environ["HTTP_X"].count("a") == (between.count("a") * (len(copies) - 1))


def test_many_copies_leave_what_follows_them() -> None:
    token = TOKENS[0]
    copies = f"&ott={token}%&ott={token},x" * 50
    environ = {"QUERY_STRING": f"ott={token}", "HTTP_X": f"/p?x{copies}"}
    cut_request(environ, environ["QUERY_STRING"], "ott")
    assert environ["HTTP_X"] == "/p?x" + "%,x" * 50
