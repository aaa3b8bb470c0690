"""Owners: what a dump of the store tells of the sessions that its tokens belong to."""

from __future__ import annotations

import pytest
from harness import SECRET, Members, person
from owners import owner_of

from ott_middleware import MemoryBackend, OneTimeTokens
from ott_middleware.sessions.base import session_id

# Ids that an attacker can list: user ids, or what is derived from them without a secret.
GUESSES = [str(number) for number in range(10_000)]
HIDDEN = "7431"


class Dumped(MemoryBackend):
    """Shows the owners, as a dump of the store does."""

    def __init__(self) -> None:
        super().__init__()
        self.owners: list[str] = []

    def put(
        self, key: str, value: bytes, *, expires_at: float, owner: str, limit: int | None
    ) -> None:
        self.owners.append(owner)
        super().put(key, value, expires_at=expires_at, owner=owner, limit=limit)


def found_in_a_dump(secret: str | None, *, derived: bool) -> list[str]:
    """The ids that trying all of them finds, by an attacker who knows this package's source."""
    backend = Dumped()
    tokens = OneTimeTokens(backend, sessions=Members(), secret=secret, expires_in=60)

    def id_of(guess: str) -> str:
        return session_id("flask", guess) if derived else guess

    tokens.generate(person("alice", id=id_of(HIDDEN), expires_at=None))
    return [g for g in GUESSES if owner_of("handoff", id_of(g), None) in backend.owners]


@pytest.mark.parametrize("derived", [False, True])
def test_owner_of_a_guessable_id_without_a_secret(derived: bool) -> None:
    """A known limit, which the docs of `secret` state."""
    assert found_in_a_dump(None, derived=derived) == [HIDDEN]


@pytest.mark.parametrize("derived", [False, True])
def test_owner_with_a_secret_hides_any_id(derived: bool) -> None:
    assert found_in_a_dump(SECRET, derived=derived) == []


def test_owner_differs_by_secret_channel_and_id() -> None:
    owners = {
        owner_of(channel, each, secret)
        for channel in ("handoff", "confirm")
        for each in ("7431", "7432")
        for secret in (None, b"0" * 32, b"1" * 32)
    }
    assert len(owners) == 12
    assert not any("7431" in owner for owner in owners)
