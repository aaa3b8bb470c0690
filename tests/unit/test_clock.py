"""The default clock: a test that freezes the time freezes this package as well."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from freezegun import freeze_time
from public import public

from ott_middleware import CookieSession, MemoryBackend, OneTimeTokens, SealedSession, Session
from ott_middleware.clock import system_clock
from ott_middleware.errors import InvalidToken

WITH_A_CLOCK = {
    name: thing
    for name, thing in public().items()
    if inspect.isclass(thing)
    and not issubclass(thing, Exception)
    and "clock" in inspect.signature(thing).parameters
}


class TestSystemClock:
    @pytest.mark.parametrize("thing", WITH_A_CLOCK.values(), ids=WITH_A_CLOCK)
    def test_is_the_default(self, thing: Callable[..., Any]) -> None:
        # The service takes the backend's clock.
        assert inspect.signature(thing).parameters["clock"].default in (system_clock, None)

    def test_has_classes_to_look_at(self) -> None:
        assert len(WITH_A_CLOCK) > 6

    def test_frozen_time_ends_a_token(self) -> None:
        tokens = OneTimeTokens(MemoryBackend(), sessions=CookieSession("sid", renews_key=True))
        with freeze_time("2026-11-23 09:31:57") as frozen:
            kept, lost = (tokens.generate(Session("s", "value")) for _ in range(2))
            frozen.tick(timedelta(seconds=179))
            assert tokens.verify(kept).token == "value"
            frozen.tick(timedelta(seconds=2))
            with pytest.raises(InvalidToken):
                tokens.verify(lost)

    def test_frozen_time_ends_a_sealed_session(self) -> None:
        adapter = SealedSession("at least 16 bytes for a test", lifetime=60)
        with freeze_time("2026-11-23 09:31:57") as frozen:
            session = adapter.start("ada", remember=True)
            assert not session.expired(system_clock())
            frozen.tick(timedelta(seconds=61))
            assert session.expired(system_clock())
