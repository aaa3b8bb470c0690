"""Code challenges: a token for the one browser that holds its verifier (RFC 7636)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from harness import NOW, Members, person

from ott_middleware import MemoryBackend, OneTimeTokens
from ott_middleware.context import Attempt, using_attempt
from ott_middleware.errors import InvalidToken
from ott_middleware.testing import Clock
from ott_middleware.tokens.challenges import challenge_of, find_verifier, is_challenge

ALICE = person("alice")
VERIFIER = "the verifier of this browser"


@pytest.fixture
def tokens() -> OneTimeTokens:
    clock = Clock(NOW)
    return OneTimeTokens(MemoryBackend(clock=clock), sessions=Members(ALICE), clock=clock)


class TestChallenge:
    def test_example_of_rfc_7636(self) -> None:
        # Appendix B.
        verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
        assert challenge_of(verifier) == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"

    def test_verifier_is_found_among_others(self) -> None:
        challenge = challenge_of(VERIFIER)
        assert find_verifier(challenge, ["another", VERIFIER, "a third"]) == VERIFIER
        assert find_verifier(challenge, ["another", challenge, ""]) is None

    @pytest.mark.parametrize(
        "text", ["", "a" * 42, "a" * 44, "a" * 42 + "=", "a" * 42 + "\n", None]
    )
    def test_other_texts_are_none(self, text: Any) -> None:
        assert not is_challenge(text)


class TestTokenWithChallenge:
    def test_verifier_redeems(self, tokens: OneTimeTokens) -> None:
        token = tokens.generate(ALICE, code_challenge=challenge_of(VERIFIER))
        assert tokens.verify(token, code_verifiers=["another", VERIFIER]).user_id == "alice"

    @pytest.mark.parametrize("verifiers", [(), ("another",), (challenge_of(VERIFIER),)])
    def test_without_its_verifier_used_up(
        self, tokens: OneTimeTokens, verifiers: tuple[str, ...]
    ) -> None:
        token = tokens.generate(ALICE, code_challenge=challenge_of(VERIFIER))
        with pytest.raises(InvalidToken) as refused:
            tokens.verify(token, code_verifiers=verifiers)
        assert refused.value.reason.word == "other_browser"
        # It has leaked.
        with pytest.raises(InvalidToken):
            tokens.verify(token, code_verifiers=[VERIFIER])

    def test_token_without_one_ignores_verifiers(self, tokens: OneTimeTokens) -> None:
        assert tokens.verify(tokens.generate(ALICE), code_verifiers=["x"]).user_id == "alice"

    def test_awaited_twins(self, tokens: OneTimeTokens) -> None:
        async def redeem(*verifiers: str) -> Any:
            token = await tokens.agenerate(ALICE, code_challenge=challenge_of(VERIFIER))
            return await tokens.averify(token, code_verifiers=verifiers)

        assert asyncio.run(redeem(VERIFIER)).user_id == "alice"
        with pytest.raises(InvalidToken):
            asyncio.run(redeem())

    def test_attempt_tells_what_was_shown(self, tokens: OneTimeTokens) -> None:
        token = tokens.generate(ALICE, code_challenge=challenge_of(VERIFIER), expires_in=2)
        attempt = Attempt()
        with using_attempt(attempt):
            tokens.verify(token, code_verifiers=[VERIFIER])
        assert attempt.code_challenge == challenge_of(VERIFIER)
        # The seal counts in milliseconds.
        assert attempt.expires_at == pytest.approx(tokens.clock() + 120, abs=0.001)
        assert challenge_of(VERIFIER) not in repr(attempt)

    def test_verifier_in_place_of_the_challenge_is_refused(self, tokens: OneTimeTokens) -> None:
        with pytest.raises(ValueError, match="code_challenge") as refused:
            tokens.generate(ALICE, code_challenge=VERIFIER)
        assert VERIFIER not in str(refused.value)
