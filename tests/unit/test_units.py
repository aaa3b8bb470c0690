"""Numbers whose unit was hardly meant: minutes of a token, seconds of a session."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import pytest
from harness import Members, World, person

from ott_middleware import MemoryBackend, OneTimeTokens, SealedSession

SECRET = "a secret of thirty-two characters"


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]


class TestExpiresIn:
    @pytest.mark.parametrize(
        ("expires_in", "said"),
        [
            (180, "live for 3:00:00 (h:mm:ss): all that time, a link is as good as a password."),
            (60.5, "live for 1:00:30"),
            (300, "for seconds timedelta(seconds=300)"),
            (86400, "live for 60 days, 0:00:00"),
            (0.5, "live for 0:00:30 (h:mm:ss): many visitors will be too late."),
            (0.05, "write timedelta(minutes=0.05)"),
        ],
    )
    def test_warns_once(
        self, world: World, caplog: pytest.LogCaptureFixture, expires_in: float, said: str
    ) -> None:
        world.serve(expires_in=expires_in)
        (line,) = warnings_of(caplog)
        assert line.startswith(f"expires_in: {expires_in} is a number of minutes")
        assert said in line

    @pytest.mark.parametrize(
        "expires_in", [1, 3, 1.5, 60, timedelta(seconds=30), timedelta(hours=3)]
    )
    def test_usual_or_with_its_unit(
        self, world: World, caplog: pytest.LogCaptureFixture, expires_in: Any
    ) -> None:
        site = world.serve(expires_in=expires_in)
        # Not where a token is made: the app may have its reasons for one.
        site.token(expires_in=180)
        assert warnings_of(caplog) == []

    def test_service_warns(self, caplog: pytest.LogCaptureFixture) -> None:
        OneTimeTokens(MemoryBackend(), sessions=Members(person("alice")), expires_in=180)
        assert len(warnings_of(caplog)) == 1


class TestLifetime:
    def test_warns(self, caplog: pytest.LogCaptureFixture) -> None:
        SealedSession(SECRET, lifetime=14)
        (line,) = warnings_of(caplog)
        assert line.startswith("lifetime: 14 is a number of seconds")
        assert "for days timedelta(days=14)" in line

    @pytest.mark.parametrize("lifetime", [60, 3600, timedelta(seconds=14), timedelta(days=14)])
    def test_usual_or_with_its_unit(self, caplog: pytest.LogCaptureFixture, lifetime: Any) -> None:
        SealedSession(SECRET, lifetime=lifetime)
        assert warnings_of(caplog) == []
