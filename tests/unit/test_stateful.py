"""Any order of generating, redeeming, waiting and revoking, against the simplest model of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest
from examples_of_hypothesis import examples
from harness import Clock, Members, person
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from memory_owners import owners_of

from ott_middleware import MemoryBackend, OneTimeTokens
from ott_middleware.errors import BackendFull, InvalidToken, SessionNotFound

PEOPLE = ("alice", "bob", "carol")
ROOM = 6
CAP = 3


@dataclass
class Live:
    token: str
    name: str
    ends: float


class Tokens(RuleBasedStateMachine):
    """Whether the service does what a list of live tokens would."""

    @initialize(
        colour=st.sampled_from(["sync", "async"]),
        store_token=st.sampled_from(["plain", "hashed"]),
        secret=st.sampled_from([None, "a secret of thirty-two characters"]),
    )
    def begin(self, colour: str, store_token: Any, secret: Any) -> None:
        self.colour = colour
        self.clock = Clock(1_000_000.0)
        self.members = Members(*(person(name, expires_at=None) for name in PEOPLE))
        self.sessions = dict(self.members.live)
        self.backend = MemoryBackend(maxsize=ROOM, clock=self.clock)
        self.service = OneTimeTokens(
            self.backend,
            sessions=self.members,
            store_token=store_token,
            secret=secret,
            max_per_session=CAP,
        )
        self.live: list[Live] = []
        self.dead: list[str] = ["never-made"]

    def do(self, name: str, *args: Any, **keywords: Any) -> Any:
        if self.colour == "sync":
            return getattr(self.service, name)(*args, **keywords)
        return asyncio.run(getattr(self.service, "a" + name)(*args, **keywords))

    def bury(self, *gone: Live) -> None:
        for one in gone:
            self.live.remove(one)
            self.dead.append(one.token)

    def of(self, name: str) -> list[Live]:
        return [one for one in self.live if one.name == name]

    @rule(name=st.sampled_from(PEOPLE), minutes=st.integers(1, 4))
    def generate(self, name: str, minutes: int) -> None:
        session = self.sessions[f"{name}-cookie"]
        replaces = len(self.of(name)) >= CAP
        if len(self.live) >= ROOM and not replaces:
            with pytest.raises(BackendFull):
                self.do("generate", session, expires_in=minutes)
            return
        token = self.do("generate", session, expires_in=minutes)
        assert token not in self.dead
        if replaces:
            self.bury(self.of(name)[0])
        self.live.append(Live(token, name, self.clock.now + minutes * 60))

    @rule(pick=st.integers(0, 100))
    def redeem_a_live_one(self, pick: int) -> None:
        if not self.live:
            return
        one = self.live[pick % len(self.live)]
        self.bury(one)
        session = self.sessions[f"{one.name}-cookie"]
        if session.token in self.members.live:
            assert self.do("verify", one.token) == session
        else:
            with pytest.raises(SessionNotFound):
                self.do("verify", one.token)

    @rule(pick=st.integers(0, 1000))
    def redeem_a_dead_one(self, pick: int) -> None:
        with pytest.raises(InvalidToken):
            self.do("verify", self.dead[pick % len(self.dead)])

    @rule(seconds=st.sampled_from([1, 30, 60, 100, 600]))
    def wait(self, seconds: int) -> None:
        self.clock.forward(seconds)
        self.bury(*[one for one in self.live if one.ends <= self.clock.now])

    @rule(name=st.sampled_from(PEOPLE))
    def revoke(self, name: str) -> None:
        gone = self.of(name)
        assert self.do("revoke", self.sessions[f"{name}-cookie"].id) == len(gone)
        self.bury(*gone)

    @rule(name=st.sampled_from(PEOPLE))
    def sign_out_or_in(self, name: str) -> None:
        token = f"{name}-cookie"
        if self.members.live.pop(token, None) is None:
            self.members.live[token] = self.sessions[token]

    @invariant()
    def the_books_agree(self) -> None:
        backend = self.backend
        assert len(self.live) <= len(backend) <= ROOM
        assert len(backend) == sum(map(len, owners_of(backend).values()))
        assert all(owners_of(backend).values())


Tokens.TestCase.settings = settings(
    max_examples=examples(60), stateful_step_count=30, deadline=None
)
test_tokens = Tokens.TestCase
