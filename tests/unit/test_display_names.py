"""How a page names a user."""

from __future__ import annotations

from typing import Any

import pytest

from ott_middleware.http.display_names import display_name


def plain(user: Any, user_id: str | None = None) -> str | None:
    """The name without the isolates around its parts."""
    name = display_name(user, user_id)
    return name and name.replace("\u2068", "").replace("\u2069", "")


class TestDisplayName:
    @pytest.mark.parametrize(
        ("user", "user_id", "expected"),
        [
            ({"name": "Ada", "email": "a@x.example", "id": 7}, "7", "Ada (a@x.example)"),
            ({"name": "Ada", "username": "ada", "id": 7}, "7", "Ada (ada)"),
            ({"name": "Ada"}, "7", "Ada (7)"),
            ({"username": "ada", "email": "a@x.example"}, "7", "ada"),
            ({"email": "a@x.example"}, "7", "a@x.example"),
            ({"id": 7}, "7", "7"),
            ({"name": "Ada"}, None, "Ada"),
            ({"name": "ada", "id": "ada"}, "ada", "ada"),
            ({"name": "", "email": None, "id": "7"}, None, "7"),
            ({"name": ["Ada"], "email": True}, "7", "7"),
            (None, "7", "7"),
            ({}, None, None),
            (None, None, None),
        ],
    )
    def test_fields(self, user: Any, user_id: str | None, expected: str | None) -> None:
        assert plain(user, user_id) == expected

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("\u202ebob\u202c", "bob"),
            ("a\u2066\u200f\u061cb\u2069", "ab"),
            ("one\r\ntwo\x00\u2028three\t four", "one two three four"),
            ("x" * 49, "x" * 47 + "…"),
            ("x" * 48, "x" * 48),
            ("e" + "\u0301" * 60 + "f", "e" + "\u0301" * 4 + "f"),
            ("\u200b\u200d \x07", "7"),
            ("\ud800a\ue000", "a"),
        ],
    )
    def test_hostile_names(self, name: str, expected: str) -> None:
        assert plain({"name": name}, "7") == (expected if expected == "7" else f"{expected} (7)")

    def test_name_cannot_push_the_unique_one_out(self) -> None:
        assert (plain({"name": "x" * 10_000, "email": "a@x.example"}) or "").endswith(
            "… (a@x.example)"
        )

    def test_parts_are_isolated(self) -> None:
        assert display_name({"name": "A", "id": "7"}, "7") == "\u2068A\u2069 (\u20687\u2069)"
