"""A session that names no user: it signs nobody in where sessions are this package's own."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from harness import Members, World, person

from ott_middleware import CookieSession, MemoryBackend, SealedSession
from ott_middleware.errors import NoAccount
from ott_middleware.sessions import UserSession
from sessions.club import ClubSession


@pytest.mark.parametrize("cookie", ["sid=made-up", "sid=ott_session"])
def test_made_up_cookie_becomes_no_sealed_session(world: World, cookie: str) -> None:
    backend = MemoryBackend(clock=world.clock)
    source = world.serve(session=CookieSession("sid"), backend=backend)
    sealed = SealedSession("a secret of thirty-two characters", clock=world.clock)
    site = world.serve(session=sealed, backend=backend)
    token = source.generate({"cookie": cookie}).json()["token"]
    answer = site.verify(token)
    assert (answer.code, answer.cookies) == ("NO_ACCOUNT", {})


def refuse(session: UserSession) -> None:
    return None


async def refuse_later(session: UserSession) -> None:
    return None


def refuse_by_error(session: UserSession) -> None:
    raise NoAccount


class TestNoAccount:
    """The target has no user for the session that arrived."""

    @pytest.mark.parametrize("match", [refuse, refuse_later, refuse_by_error])
    def test_link_and_verify_respond_alike(self, world: World, match: Any) -> None:
        backend = MemoryBackend(clock=world.clock)
        source = world.serve(backend=backend)
        sealed = SealedSession("a secret of thirty-two characters", match=match, clock=world.clock)
        site = world.serve(session=sealed, backend=backend)
        tokens = [source.token() for _ in range(3)]
        said = {"message": "No account", "code": "NO_ACCOUNT"}
        for answer in (site.verify(tokens[0]), site.fetch(f"/?ott={tokens[1]}")):
            assert (answer.status, answer.json(), answer.cookies) == (400, said, {})
        page = site.open(f"/?ott={tokens[2]}")
        assert (page.status, page.cookies) == (400, {})
        for token in tokens:
            assert site.verify(token).code == "INVALID_TOKEN"

    @pytest.mark.parametrize(
        ("source", "match", "says"),
        [
            (ClubSession(secret="other"), None, "there is no match= for a session of a club site"),
            (ClubSession(secret="other"), refuse, "match= returned None for a session of a club"),
            (ClubSession(secret="other"), lambda _: "x", "no local user is the one that match="),
            (Members(person("alice")), refuse, "for a session of another kind of site"),
        ],
    )
    def test_log_says_which_match_and_which_kind(
        self, world: World, source: Any, match: Any, says: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG, "ott_middleware")
        backend = MemoryBackend(clock=world.clock)
        first = world.serve(session=source, backend=backend)
        site = world.serve(session=ClubSession(match=match), backend=backend)
        assert site.verify(first.token(person("alice", token="a.b;"))).code == "NO_ACCOUNT"
        ((word, line),) = [
            (record.ott_reason, record.getMessage())
            for record in caplog.records
            if hasattr(record, "ott_reason")
        ]
        assert word == "no_account"
        assert "ClubSession: " in line
        assert says in line
