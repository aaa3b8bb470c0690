from __future__ import annotations

import re
from typing import Any

import pytest

from ott_middleware import MemoryBackend, OneTimeTokens, SealedSession
from ott_middleware.tokens import TokenOptions
from ott_middleware.tokens.fingerprint import fingerprint
from ott_middleware.tokens.names import hash_token

SECRET = "a secret of thirty-two characters"
OLD = "an older secret of many characters"


def shout(token: str) -> str:
    return token.upper()


def whisper(token: str) -> str:
    return token.lower()


def of(**values: Any) -> str:
    return fingerprint(TokenOptions(**values))


class TestFingerprint:
    def test_form(self) -> None:
        assert re.fullmatch(r"[0-9a-f]{8}", of(secret=SECRET))
        assert re.fullmatch(r"[0-9a-f]{8}", of())

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ({}, {"store_token": "plain", "expires_in": 1, "max_per_session": None}),
            ({"secret": SECRET}, {"secret": SECRET.encode()}),
            ({"secret": SECRET}, {"secret": [SECRET, OLD]}),
            ({"secret": SECRET}, {"secret": SECRET, "generate_token": lambda *args: "A" * 32}),
            ({"store_token": "hashed"}, {"store_token": hash_token}),
            ({"store_token": shout}, {"store_token": {"type": "custom-hasher", "hash": whisper}}),
        ],
    )
    def test_equal(self, one: dict[str, Any], other: dict[str, Any]) -> None:
        assert of(**one) == of(**other)

    def test_different(self) -> None:
        sites: list[dict[str, Any]] = [
            {**secret, **store}
            for secret in ({}, {"secret": SECRET}, {"secret": OLD}, {"secret": SECRET + " "})
            for store in ({}, {"store_token": "hashed"}, {"store_token": shout})
        ]
        assert len({of(**values) for values in sites}) == len(sites)

    def test_service_has_it(self) -> None:
        adapter = SealedSession(SECRET)
        service = OneTimeTokens(
            MemoryBackend(), sessions=adapter, secret=SECRET, store_token="hashed"
        )
        assert service.fingerprint == of(secret=SECRET, store_token="hashed")
