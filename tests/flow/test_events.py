"""`on_event` hears what becomes of tokens; it can neither slow nor break a response."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import subprocess
import sys
import threading
import time
import weakref
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import pytest
from harness import (
    NOW,
    ORIGIN,
    SECRET,
    Members,
    Reply,
    Seen,
    Site,
    World,
    call_view,
    main_lines,
    moment,
    person,
)

import ott_middleware
from ott_middleware import MemoryBackend, SealedSession
from ott_middleware import events as events_module
from ott_middleware.errors import ConfigurationError
from ott_middleware.events import Event, Events

ALICE = {"cookie": "sid=alice-cookie"}


def heard(site: Site) -> list[Event]:
    """The events of a site until now, and no longer."""
    events = site.flow.services.reports.events
    assert events.flush(10)
    found: list[Event] = list(site.heard)  # type: ignore[attr-defined]  # of `listening`
    site.heard.clear()  # type: ignore[attr-defined]
    return found


def listening(world: World, app: Any = None, **options: Any) -> Site:
    """A site whose hook keeps the events."""
    events: list[Event] = []
    site = world.serve(*([app] if app else []), on_event=events.append, **options)
    site.heard = events  # type: ignore[attr-defined]
    return site


def kinds(site: Site) -> list[str]:
    return [event.kind for event in heard(site)]


def asks(seen: Seen) -> Any:
    """An app that makes a token with its handle."""
    if "type" in seen.carrier:
        return asks_later(seen)
    return Reply(body=seen.ott.generate(audience="https://b.example").encode())


async def asks_later(seen: Seen) -> Reply:
    return Reply(body=(await seen.ott.agenerate(audience="https://b.example")).encode())


class TestKinds:
    def test_generate_and_verify(self, world: World) -> None:
        site = listening(world, secret=SECRET)
        token = site.generate(ALICE).json()["token"]
        world.clock.forward(5)
        assert site.verify(token).status == 200
        generated, redeemed = heard(site)
        assert (generated.kind, redeemed.kind) == ("generated", "redeemed")
        assert generated.time == moment(NOW)
        assert redeemed.time == moment(NOW + 5)
        for event in (generated, redeemed):
            assert (event.session_id, event.channel) == ("session-of-alice", "handoff")
            assert (event.audience, event.reason) == (None, None)
            assert event.fingerprint == generated.fingerprint is not None
            assert token not in repr(event)
        with pytest.raises(FrozenInstanceError):
            generated.kind = "refused"  # type: ignore[misc]  # it is frozen

    def test_link(self, world: World) -> None:
        site = listening(world, public_origin=ORIGIN)
        for open_link in (site.open, site.fetch):
            token = site.token(audience=ORIGIN)
            open_link(f"/?ott={token}")
            (event,) = heard(site)
            assert (event.kind, event.audience) == ("redeemed", ORIGIN)

    def test_handle(self, world: World) -> None:
        site = listening(world, asks)
        assert site.get("/", ALICE).status == 200
        (event,) = heard(site)
        assert (event.kind, event.audience) == ("generated", "https://b.example")
        assert event.session_id == "session-of-alice"

    def test_handle_in_a_worker_thread(self, world: World) -> None:
        def view(seen: Seen) -> Reply:
            return Reply(body=seen.ott.generate().encode())

        site = listening(world, lambda seen: call_view(seen, view, seen))
        assert site.get("/", ALICE).status == 200
        assert kinds(site) == ["generated"]

    def test_new_session_is_offered_a_token(self, world: World) -> None:
        def signs_in(seen: Seen) -> Reply:
            return Reply(headers=[("Set-Cookie", "sid=alice-cookie")])

        site = listening(world, signs_in, set_ott_header_on_new_session=True)
        assert site.get("/").header("set-ott")
        assert kinds(site) == ["generated"]

    def test_value_of_the_cookie_for_the_client(self, world: World) -> None:
        site = listening(world, disable_set_session_cookie=True)
        assert site.verify(site.token()).json()["session"]["token"]
        assert kinds(site) == ["redeemed"]

    def test_server_of_another_origin(self, world: World) -> None:
        site = listening(world)
        token = site.token(audience="https://b.example")
        assert site.verify(token, audience="https://b.example").status == 200
        (event,) = heard(site)
        assert (event.kind, event.audience) == ("redeemed", "https://b.example")

    def test_sign_out_revokes(self, world: World) -> None:
        def door(seen: Seen) -> Reply:
            seen.ott.sign_in("alice") if seen.path == "/in" else seen.ott.sign_out()
            return Reply()

        sealed = SealedSession(SECRET, clock=world.clock)
        site = listening(world, door, session=sealed)
        cookie = site.get("/in").cookies["ott_session"]
        assert heard(site) == []
        site.get("/out", {"cookie": f"ott_session={cookie}"})
        (event,) = heard(site)
        assert (event.kind, event.channel, event.fingerprint) == ("revoked", None, None)
        assert event.session_id

    def test_refused(self, world: World) -> None:
        site = listening(world, secret=SECRET, public_origin=ORIGIN)
        site.verify("x" * 32)
        site.verify("x y")
        site.generate()
        (unknown, malformed, nobody) = heard(site)
        assert [e.reason.word for e in (unknown, malformed, nobody) if e.reason] == [
            "unknown_token",
            "malformed_token",
            "no_session",
        ]
        assert unknown.fingerprint
        assert malformed.fingerprint is nobody.fingerprint is None

    def test_refused_after_it_was_opened(self, world: World) -> None:
        site = listening(world, public_origin=ORIGIN)
        token = site.token(audience="https://b.example")
        site.verify(token)
        (event,) = heard(site)
        assert event.kind == "refused"
        assert event.reason is not None
        assert event.reason.word == "other_audience"
        assert (event.session_id, event.audience) == ("session-of-alice", "https://b.example")

    def test_refused_without_an_error(self, world: World) -> None:
        site = listening(world, on_switch="keep")
        site.open(f"/?ott={site.token()}", {"cookie": "sid=bob-cookie"})
        site.open("/?ott=x", {"sec-fetch-dest": "iframe"})
        words = [event.reason.word for event in heard(site) if event.reason]
        assert words == ["other_user", "not_opened"]

    def test_failure_is_a_refusal(self, world: World) -> None:
        class Breaks(Members):
            def establish(self, session: Any, request: Any) -> Any:
                raise OSError

        site = listening(world, session=Breaks(person("alice")))
        site.verify(site.token())
        (event,) = heard(site)
        assert (event.kind, event.reason and event.reason.word) == ("refused", "hook_failed")

    def test_requests_without_a_token_are_no_events(self, world: World) -> None:
        site = listening(world)
        site.get("/", ALICE)
        assert heard(site) == []


class TestFingerprint:
    def test_equal_at_both_sites_of_one_secret(self, world: World) -> None:
        backend = MemoryBackend(clock=world.clock)
        source = listening(world, backend=backend, secret=SECRET)
        target = listening(world, backend=backend, secret=[SECRET, SECRET[::-1]])
        other = listening(world, secret=SECRET[::-1])
        token = source.generate(ALICE).json()["token"]
        target.verify(token)
        other.verify(token)
        prints = [heard(site)[0].fingerprint for site in (source, target, other)]
        assert prints[0] == prints[1] != prints[2]

    def test_without_a_secret_it_is_of_this_process(self, world: World) -> None:
        first, second = listening(world), listening(world)
        for site in (first, second):
            site.verify("x" * 32)
        assert heard(first)[0].fingerprint == heard(second)[0].fingerprint

    @pytest.mark.parametrize("token", ["t\xf6k", "\ud800", "\0"])
    def test_token_of_another_service_may_be_any_text(self, token: str) -> None:
        seen: list[Event] = []
        events = Events(seen.append, lambda: 0.0, b"x" * 32)
        events.send("generated", token=token)
        assert events.flush(10)
        assert len(seen[0].fingerprint or "") == 16


class TestHook:
    def test_async(self, world: World) -> None:
        found: list[Any] = []

        async def hook(event: Event) -> None:
            await asyncio.sleep(0)
            found.append((event.kind, threading.current_thread() is threading.main_thread()))

        site = world.serve(on_event=hook)
        site.generate(ALICE)
        assert site.flow.services.reports.events.flush(10)
        assert found == [("generated", False)]

    def test_plain_function_that_returns_an_awaitable(self, world: World) -> None:
        found: list[str] = []

        async def later(event: Event) -> None:
            found.append(event.kind)

        site = world.serve(on_event=lambda event: later(event))
        site.generate(ALICE)
        assert site.flow.services.reports.events.flush(10)
        assert found == ["generated"]

    @pytest.mark.parametrize("kind", ["sync", "async"])
    @pytest.mark.parametrize("error", [ValueError("alice-cookie"), SystemExit(1)])
    def test_that_raises_breaks_nothing(
        self, world: World, kind: str, error: BaseException, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fail(event: Event) -> None:
            raise error

        async def fail_later(event: Event) -> None:
            raise error

        site = world.serve(on_event=fail if kind == "sync" else fail_later)
        for _ in range(2):
            assert site.generate(ALICE).status == 200
        assert site.flow.services.reports.events.flush(10)
        lines = [record.getMessage() for record in main_lines(caplog)]
        name = type(error).__name__
        assert len(lines) == 2
        assert all(line.startswith(f"on_event= raised {name} at test_events.py:") for line in lines)
        assert "Traceback" in caplog.text
        assert "alice-cookie" not in caplog.text

    def test_that_waits_holds_up_nothing(
        self, world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("ott_middleware.events.QUEUE_SIZE", 3)
        go, began = threading.Event(), threading.Event()

        def slow(event: Event) -> None:
            began.set()
            assert go.wait(30)

        site = world.serve(on_event=slow)
        events = site.flow.services.reports.events
        started = time.monotonic()
        assert site.verify("x").status == 400
        assert began.wait(10)
        for _ in range(5):
            assert site.verify("x").status == 400
        assert time.monotonic() - started < 5
        assert events.dropped == 3
        (record,) = main_lines(caplog)[-1:]
        assert (record.levelno, "on_event= is too slow" in record.getMessage()) == (
            logging.WARNING,
            True,
        )
        assert len([r for r in main_lines(caplog) if "too slow" in r.getMessage()]) == 1
        assert not events.flush(0)
        go.set()
        assert events.flush(10)

    def test_no_thread_before_the_first_event(self, world: World) -> None:
        names = {thread.name for thread in threading.enumerate()}
        site = listening(world)
        site.get("/")
        assert {thread.name for thread in threading.enumerate()} <= names
        site.verify("x")
        assert kinds(site) == ["refused"]

    def test_no_thread_can_be_started(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(self: Any) -> None:
            raise RuntimeError("can't start new thread")

        site = listening(world)
        if world.interface == "wsgi":  # the loop of ASGI has threads as well
            monkeypatch.setattr(threading.Thread, "start", refuse)
            assert site.verify("x").status == 400
            monkeypatch.undo()
            assert site.flow.services.reports.events.dropped == 1
        site.verify("x")
        assert kinds(site) == ["refused"]

    def test_thread_ends_with_the_middleware(self) -> None:
        events = Events(lambda event: None, lambda: NOW, None)
        events.send("revoked")
        assert events.flush(10)
        thread = events._worker._thread
        assert thread is not None
        gone = weakref.ref(events)
        del events
        gc.collect()
        assert gone() is None
        thread.join(10)
        assert not thread.is_alive()

    @pytest.mark.parametrize("hook", ["print", 7, True])
    def test_that_is_no_function(self, world: World, hook: Any) -> None:
        with pytest.raises(ConfigurationError, match="pass a function of the event"):
            world.serve(on_event=hook)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
def test_forked_child_has_a_thread_of_its_own() -> None:
    found: list[str] = []
    events = Events(lambda event: found.append(event.kind), lambda: NOW, None)
    events.send("revoked")
    assert events.flush(10)
    events._worker._changed.acquire()  # as another thread may hold it at the fork
    pid = os.fork()
    if pid == 0:
        events.send("generated")
        done = events.flush(10) and found == ["revoked", "generated"]
        os._exit(0 if done else 1)
    events._worker._changed.release()
    assert os.waitpid(pid, 0)[1] == 0
    assert found == ["revoked"]


def test_exit_waits_for_all_workers() -> None:
    found: list[str] = []
    kept = Events(lambda event: found.append(event.kind), lambda: NOW, None)
    kept.send("generated")
    events_module._flush_all()
    assert found == ["generated"]
    assert kept.dropped == 0


PROGRAM = """
import asyncio, sys, time
from ott_middleware.events import Events

async def later(event):
    await asyncio.sleep(0.05)
    print(event.kind, flush=True)

def now(event):
    time.sleep(0.05)
    print(event.kind, flush=True)

events = Events(later if sys.argv[1] == "async" else now, time.time, None)
for kind in ("generated", "redeemed"):
    events.send(kind)
"""


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_process_that_ends_waits_for_its_events(kind: str) -> None:
    root = str(Path(ott_middleware.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, kind],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, "PYTHONPATH": root},
    )
    assert done.stdout.split() == ["generated", "redeemed"]
    assert done.stderr == ""


def test_event_shows_no_secret() -> None:
    event = Event("generated", moment(NOW), "s", "handoff", None, "00")
    assert replace(event, kind="revoked").kind == "revoked"
