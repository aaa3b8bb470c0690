"""The warning of a backend that others can write to, where no secret is set."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ott_middleware import (
    Backend,
    CookieSession,
    MemoryBackend,
    OneTimeTokens,
    OTTMiddleware,
    RedisBackend,
    SQLAlchemyBackend,
    SQLiteBackend,
)
from ott_middleware.backends import MappingBackend

SECRET = "0123456789abcdef"


class PutTake:
    def put(self, key: str, value: bytes, *, expires_at: float) -> None: ...

    def take(self, key: str) -> bytes | None: ...


class Own(Backend):
    def put(self, key: str, value: bytes, **keywords: Any) -> None: ...

    def take(self, key: str) -> bytes | None: ...


class Shelf(dict[str, bytes]):
    """Stands for a mapping that is on a disk."""


SHARED: dict[str, Callable[[], Any]] = {
    "SQLiteBackend": lambda: SQLiteBackend("tokens.db"),
    "RedisBackend": lambda: RedisBackend("redis://127.0.0.1:1/0"),
    "SQLAlchemyBackend": lambda: SQLAlchemyBackend("sqlite:///tokens.db"),
    "MappingBackend": lambda: MappingBackend(Shelf(), threading.Lock()),
    "PutTake": PutTake,
    "Own": Own,
}
PRIVATE: dict[str, Callable[[], Any]] = {
    "MemoryBackend": MemoryBackend,
    "memory://": lambda: "memory://",
    "a dict": lambda: MappingBackend({}, threading.Lock()),
}


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    lines = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    return [line for line in lines if "secret" in line]


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


class TestSharedWithoutSecret:
    @pytest.mark.parametrize("name", SHARED)
    def test_warns_once_and_names_the_cure(
        self, name: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        OneTimeTokens(SHARED[name](), sessions=CookieSession("sid"))
        (line,) = warnings_in(caplog)
        assert line.startswith(f"{name} without secret=: ")
        assert "sign in as any user" in line
        assert "Pass secret=" in line

    @pytest.mark.parametrize("name", SHARED)
    def test_secret_is_the_cure(self, name: str, caplog: pytest.LogCaptureFixture) -> None:
        OneTimeTokens(SHARED[name](), sessions=CookieSession("sid"), secret=SECRET)
        assert warnings_in(caplog) == []

    @pytest.mark.parametrize("name", PRIVATE)
    def test_memory_of_the_process_needs_none(
        self, name: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        OneTimeTokens(PRIVATE[name](), sessions=CookieSession("sid"))
        assert warnings_in(caplog) == []

    @pytest.mark.parametrize("interface", ["asgi", "wsgi"])
    def test_middleware_warns_once(self, interface: Any, caplog: pytest.LogCaptureFixture) -> None:
        def app(*_: Any) -> Any: ...

        OTTMiddleware(app, interface=interface, session="sid", backend="sqlite:///tokens.db")
        assert len(warnings_in(caplog)) == 1
        caplog.clear()
        OTTMiddleware(
            app, interface=interface, session="sid", backend="sqlite:///tokens.db", secret=SECRET
        )
        assert warnings_in(caplog) == []
