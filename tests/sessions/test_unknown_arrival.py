"""A session that names no user: it signs nobody in where sessions are this package's own."""

from __future__ import annotations

from typing import Any

import pytest
from harness import World

from ott_middleware import CookieSession, MemoryBackend, SealedSession
from ott_middleware.errors import NoAccount
from ott_middleware.sessions import UserSession


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
