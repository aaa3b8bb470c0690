"""A session that names no user: it signs nobody in where sessions are this package's own."""

from __future__ import annotations

import pytest
from harness import World

from ott_middleware import CookieSession, MemoryBackend, SealedSession


@pytest.mark.parametrize("cookie", ["sid=made-up", "sid=ott_session"])
def test_made_up_cookie_becomes_no_sealed_session(world: World, cookie: str) -> None:
    backend = MemoryBackend(clock=world.clock)
    source = world.serve(session=CookieSession("sid"), backend=backend)
    sealed = SealedSession("a secret of thirty-two characters", clock=world.clock)
    site = world.serve(session=sealed, backend=backend)
    token = source.generate({"cookie": cookie}).json()["token"]
    answer = site.verify(token)
    assert (answer.code, answer.cookies) == ("SESSION_NOT_FOUND", {})
