"""Forms of the middleware's own pages: their bodies, and the nonces that they repeat."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ott_middleware.errors import BadRequest, PayloadTooLarge
from ott_middleware.flow.forms import MAX_FORM, is_form, read_form
from ott_middleware.flow.nonces import Nonces, name_for
from ott_middleware.http import Request

FORM = "application/x-www-form-urlencoded"
NONCE = "a-nonce-of-enough-letters"


def request(method: str = "POST", scheme: str = "http", **headers: str) -> Request:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request(method, scheme, "/x", headers=named)


def read(body: bytes, **headers: str) -> dict[str, str]:
    async def reader(limit: int) -> bytes:
        return body

    return asyncio.run(read_form(request(**headers), reader))


class TestForm:
    @pytest.mark.parametrize(
        ("method", "kind", "expected"),
        [
            ("POST", FORM, True),
            ("POST", f"{FORM.upper()} ;charset=utf-8", True),
            ("PUT", FORM, False),
            ("POST", "application/json", False),
            ("POST", "", False),
        ],
    )
    def test_kind_of_request(self, method: str, kind: str, expected: bool) -> None:
        assert is_form(request(method, content_type=kind)) is expected

    def test_no_content_type_is_none(self) -> None:
        assert not is_form(request())

    def test_fields(self) -> None:
        assert read(b"nonce=a%2Bb+c&empty=") == {"nonce": "a+b c", "empty": ""}

    def test_field_twice_is_left_out(self) -> None:
        assert read(b"nonce=a&nonce=b&x=1") == {"x": "1"}

    @pytest.mark.parametrize("body", [b"\xff", b"a=1&" * 9])
    def test_other_bodies_are_refused(self, body: bytes) -> None:
        with pytest.raises(BadRequest):
            read(body)

    def test_long_body_is_refused_before_it_is_read(self) -> None:
        with pytest.raises(PayloadTooLarge):
            read(b"", content_length=str(MAX_FORM + 1))


class TestNonces:
    nonces = Nonces("ott_test", lifetime=60, samesite="Strict")

    @pytest.fixture(autouse=True)
    def _same_nonces(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("ott_middleware.flow.nonces.new_nonce", lambda: NONCE)

    @pytest.mark.parametrize(("scheme", "prefix"), [("http", ""), ("https", "__Host-")])
    def test_cookie(self, scheme: str, prefix: str) -> None:
        line = self.nonces.cookie(request(scheme=scheme)).header()[1]
        secure = "Secure; " if scheme == "https" else ""
        expected = f"Max-Age=60; Path=/; {secure}HttpOnly; SameSite=Strict"
        assert line == f"{prefix}ott_test={NONCE}; {expected}"

    def test_held_nonce_is_kept(self) -> None:
        asked = request(cookie="ott_test=short; ott_test=another-one-of-them-all")
        assert self.nonces.cookie(asked).value == "another-one-of-them-all"

    def test_deletion(self) -> None:
        cookie = self.nonces.deletion(request())
        assert (cookie.name, cookie.value, cookie.max_age) == ("ott_test", "", 0)

    @pytest.mark.parametrize(
        ("given", "expected"),
        [((NONCE,), True), ((), False), ((NONCE, NONCE), False), (("",), False), (("é",), False)],
    )
    def test_page_repeats_it(self, given: Any, expected: bool) -> None:
        asked = request(cookie=f"ott_test={NONCE}")
        assert self.nonces.are_equal(asked, given) is expected

    def test_none_held_equals_none_given(self) -> None:
        assert not self.nonces.are_equal(request(), [""])

    def test_name_for_a_token_hides_it(self) -> None:
        names = {name_for("T" * 32), name_for("U" * 32)}
        assert len(names) == 2
        assert all(len(name) == 16 and name.isalnum() for name in names)
