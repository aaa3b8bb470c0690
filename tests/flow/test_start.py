"""What is logged when an app is wrapped, and of tokens that cannot arrive."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

import pytest
from harness import SECRET, World

from ott_middleware import Backend, MemoryBackend, OneTimeTokens, SQLiteBackend
from ott_middleware.backends import MappingBackend, private_store

TARGET = "https://b.example"
MADE_UP = "A" * 32


@pytest.fixture(autouse=True)
def _nothing_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(private_store, "_unknown_seen", [])


def lines(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno == level]


class Slow(Backend):
    """A store of this process that is no `MemoryBackend`, and cannot be hashed."""

    shared = False
    __hash__ = None  # type: ignore[assignment]  # that is what is tested

    def put(self, key: str, value: bytes, **keywords: Any) -> None: ...

    def take(self, key: str) -> bytes | None: ...

    def __eq__(self, other: object) -> bool:
        return True


class TestStartLine:
    def test_names_fingerprint_adapter_and_backend(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.INFO, "ott_middleware"):
            site = world.serve(secret=SECRET, store_token="hashed")
        (line,) = lines(caplog, logging.INFO)
        assert site.flow.tokens.fingerprint in line
        assert "session adapter Members, MemoryBackend" in line
        assert SECRET not in line

    def test_of_two_sites_is_equal(
        self, world: World, caplog: pytest.LogCaptureFixture, tmp_path: Path
    ) -> None:
        with caplog.at_level(logging.INFO, "ott_middleware"):
            world.serve(secret=SECRET)
            world.serve(secret=[SECRET], backend=SQLiteBackend(tmp_path / "tokens.db"))
        one, other = (line.split(",")[0] for line in lines(caplog, logging.INFO))
        assert one == other

    def test_shows_no_url(
        self, world: World, caplog: pytest.LogCaptureFixture, tmp_path: Path
    ) -> None:
        with caplog.at_level(logging.DEBUG, "ott_middleware"):
            world.serve(
                backend=f"sqlite:///{tmp_path}/private.db",
                public_origin="https://ada.example",
                login_url="https://id.example/in",
            )
        assert lines(caplog, logging.INFO)
        for shown in ("private.db", "ada.example", "id.example"):
            assert shown not in caplog.text

    def test_own_token_service(self, world: World, caplog: pytest.LogCaptureFixture) -> None:
        class Service:
            generate = agenerate = verify = averify = revoke = arevoke = lambda self: None

        with caplog.at_level(logging.INFO, "ott_middleware"):
            world.serve(tokens=Service(), handoff_targets=[TARGET], on_switch="keep")
        assert lines(caplog, logging.INFO) == [
            "ready: session adapter Members, a token service of the app's own"
        ]
        assert lines(caplog, logging.WARNING) == []


class TestOtherSiteAndMemory:
    @pytest.mark.parametrize(
        "values",
        [
            {"backend": None},
            {"backend": "memory://"},
            {"backend": MemoryBackend()},
            {"backend": MappingBackend({}, threading.Lock())},
            {"backend": Slow()},
        ],
        ids=["default", "url", "MemoryBackend", "a dict", "own"],
    )
    @pytest.mark.parametrize("target", [TARGET, "https://*.b.example", "http://localhost:8001"])
    def test_warns(
        self, world: World, caplog: pytest.LogCaptureFixture, values: dict[str, Any], target: str
    ) -> None:
        private_store._warned.clear()
        world.serve(handoff_targets=[target], **values)
        (line,) = lines(caplog, logging.WARNING)
        assert line.startswith(f"handoff_targets: {target}: ")
        assert "pass one backend= that both sites reach, and the same secret=" in line

    def test_of_a_ready_service_warns(self, world: World, caplog: pytest.LogCaptureFixture) -> None:
        members = world.serve().members
        tokens = OneTimeTokens(MemoryBackend(), sessions=members)
        world.serve(session=members, tokens=tokens, handoff_targets=[TARGET])
        assert len(lines(caplog, logging.WARNING)) == 1

    def test_two_sites_with_one_backend_warn_once(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        backend = MemoryBackend()
        world.serve(backend=backend, handoff_targets=[TARGET])
        world.serve(backend=backend, handoff_targets=["https://a.example"])
        assert len(lines(caplog, logging.WARNING)) == 1

    def test_no_target_is_no_reason(self, world: World, caplog: pytest.LogCaptureFixture) -> None:
        world.serve(trusted_origins=["https://front.example"], public_origin="https://a.example")
        assert lines(caplog, logging.WARNING) == []

    def test_shared_store_is_no_reason(
        self, world: World, caplog: pytest.LogCaptureFixture, tmp_path: Path
    ) -> None:
        store = SQLiteBackend(tmp_path / "tokens.db")
        world.serve(backend=store, secret=SECRET, handoff_targets=[TARGET])
        assert lines(caplog, logging.WARNING) == []


class TestUnknownTokenAndMemory:
    def test_warns_once_a_process(self, world: World, caplog: pytest.LogCaptureFixture) -> None:
        for site in (world.serve(), world.serve()):
            for _ in range(2):
                assert site.open(f"/?ott={MADE_UP}").status == 400
                assert site.verify(MADE_UP).code == "INVALID_TOKEN"
        (line,) = lines(caplog, logging.WARNING)
        assert "made by another site or worker" in line
        assert "pass one backend= that both sites reach" in line
        assert MADE_UP not in caplog.text

    def test_text_of_another_form_is_no_reason(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        site = world.serve()
        for text in ("", "a%20b", "A" * 513):
            assert site.open(f"/?ott={text}").status == 400
        assert lines(caplog, logging.WARNING) == []

    def test_redeemed_token_is_no_reason(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        site = world.serve()
        assert site.open(f"/?ott={site.token()}").status == 303
        assert lines(caplog, logging.WARNING) == []

    def test_shared_store_is_no_reason(
        self, world: World, caplog: pytest.LogCaptureFixture, tmp_path: Path
    ) -> None:
        site = world.serve(backend=SQLiteBackend(tmp_path / "tokens.db"), secret=SECRET)
        assert site.open(f"/?ott={MADE_UP}").status == 400
        assert lines(caplog, logging.WARNING) == []
