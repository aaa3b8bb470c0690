"""A token that is being generated while its session ends is given to no client, and is not left."""

from __future__ import annotations

import asyncio
import functools
import os
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from harness import (
    SECRET,
    Answer,
    Members,
    Reply,
    Seen,
    Site,
    WaitingMembers,
    World,
    call_view,
    call_wsgi,
    make_environ,
    person,
    set_cookie,
)

from ott_middleware import MemoryBackend, OneTimeTokens, SealedSession, WSGIMiddleware
from ott_middleware.errors import Unauthorized
from ott_middleware.tokens.revocations import Revocations, revocations

ALICE = {"cookie": "sid=alice-cookie"}
GONE = set_cookie("sid", "", max_age=0)
TARGET = "https://b.example"
SECONDS = 20


class Gate:
    """Holds up the first call that comes to it."""

    def __init__(self) -> None:
        self.reached, self._open = threading.Event(), threading.Event()
        self._first = threading.Lock()

    def wait(self) -> None:
        if self._first.acquire(blocking=False):
            self.reached.set()
            assert self._open.wait(SECONDS)

    def open(self) -> None:
        self._open.set()


class SlowBackend(MemoryBackend):
    """Its first put waits, as on a network."""

    blocks = True

    def __init__(self, world: World, gate: Gate | None = None) -> None:
        super().__init__(clock=world.clock)
        self.gate = gate or Gate()

    def put(self, *args: Any, **how: Any) -> None:
        self.gate.wait()
        super().put(*args, **how)

    async def aput(self, *args: Any, **how: Any) -> None:
        await asyncio.to_thread(functools.partial(self.put, *args, **how))


@dataclass
class Race:
    """One request that waits at a gate while another one is answered."""

    gate: Gate
    results: list[Any] = field(default_factory=list)

    def run(self, slow: Callable[[], Any], meanwhile: Callable[[], Any]) -> Any:
        def whole() -> None:
            try:
                self.results.append(slow())
            except Exception as error:
                self.results.append(error)

        thread = threading.Thread(target=whole)
        thread.start()
        try:
            assert self.gate.reached.wait(SECONDS)
            meanwhile()
        finally:
            self.gate.open()
            thread.join(SECONDS)
        assert not thread.is_alive()
        (result,) = self.results
        return result


def minted(seen: Seen) -> Any:
    """What the app mints by its handle, in each of the ways that its interface allows."""

    async def later() -> Reply:
        if seen.path == "/link":
            return Reply(body=(await seen.ott.alink(f"{TARGET}/page")).encode())
        return Reply(body=(await seen.ott.agenerate()).encode())

    def at_once() -> Reply:
        if seen.path == "/sync-link":
            return Reply(body=seen.ott.link(f"{TARGET}/page").encode())
        return Reply(body=seen.ott.generate().encode())

    if seen.path.startswith("/sync"):
        return call_view(seen, at_once)
    return later()


def door(seen: Seen) -> Any:
    if seen.path == "/out":
        return Reply(200, [GONE])
    if seen.path == "/login":
        return Reply(200, [set_cookie("sid", "alice-cookie")])
    return guarded_mint(seen) if seen.path != "/page" else Reply()


def guarded_mint(seen: Seen) -> Any:
    """An app that handles `Unauthorized`, as the docs say."""

    async def whole(reply: Any) -> Reply:
        try:
            return await reply  # type: ignore[no-any-return]  # the coroutine of a Reply
        except Unauthorized:
            return Reply(401)

    try:
        reply = minted(seen)
    except Unauthorized:
        return Reply(401)
    return whole(reply) if asyncio.iscoroutine(reply) else reply


def serve(world: World, backend: Any, **options: Any) -> Site:
    options.setdefault("revoke_on_sign_out", True)
    return world.serve(door, backend=backend, handoff_targets=[TARGET], **options)


WAYS = ["/generate", "/link", "/sync", "/sync-link"]


class TestGenerateDuringSignOut:
    def test_generate_path(self, world: World) -> None:
        backend = SlowBackend(world)
        site = serve(world, backend)
        answer: Answer = Race(backend.gate).run(
            lambda: site.generate(ALICE), lambda: site.get("/out", ALICE)
        )
        assert (answer.status, answer.code) == (401, "UNAUTHORIZED")
        assert len(backend) == 0

    def test_generate_path_of_a_waiting_adapter(self, world: World) -> None:
        backend = SlowBackend(world)
        site = serve(world, backend, session=WaitingMembers(person("alice")))
        answer = Race(backend.gate).run(
            lambda: site.generate(ALICE), lambda: site.get("/out", ALICE)
        )
        assert (answer.status, len(backend)) == (401, 0)

    @pytest.mark.parametrize("path", WAYS)
    def test_handle(self, world: World, path: str) -> None:
        backend = SlowBackend(world)
        site = serve(world, backend)
        answer = Race(backend.gate).run(
            lambda: site.get(path, ALICE), lambda: site.get("/out", ALICE)
        )
        assert (answer.status, len(backend)) == (401, 0)

    @pytest.mark.parametrize("asks_before", [True, False])
    def test_handle_of_an_earlier_request(self, world: World, asks_before: bool) -> None:
        gate = Gate()

        async def app(seen: Seen) -> Reply:
            if seen.path == "/out":
                return Reply(200, [GONE])
            if asks_before:
                await seen.ott.asession()
            await asyncio.to_thread(gate.wait)
            with pytest.raises(Unauthorized):
                await seen.ott.agenerate()
            return Reply(401)

        backend = MemoryBackend(clock=world.clock)
        site = world.serve(app, backend=backend, revoke_on_sign_out=True)
        answer = Race(gate).run(lambda: site.get("/", ALICE), lambda: site.get("/out", ALICE))
        assert (answer.status, len(backend)) == (401, 0)

    def test_set_ott(self, world: World) -> None:
        backend = SlowBackend(world)
        site = serve(world, backend, set_ott_header_on_new_session=True)
        answer = Race(backend.gate).run(lambda: site.get("/login"), lambda: site.get("/out", ALICE))
        assert (answer.status, answer.cookies) == (200, {"sid": "alice-cookie"})
        assert answer.header("set-ott") is None
        assert len(backend) == 0

    @pytest.mark.parametrize("path", ["/one-time-token/generate", "/mint", "/early"])
    def test_sealed_sign_out(self, world: World, path: str) -> None:
        early = Gate()

        async def app(seen: Seen) -> Reply:
            await seen.ott.asession()
            if seen.path == "/out":
                seen.ott.sign_out()
                return Reply()
            if seen.path == "/early":
                await asyncio.to_thread(early.wait)
            with pytest.raises(Unauthorized):
                await seen.ott.agenerate()
            return Reply(401)

        adapter = SealedSession(SECRET, clock=world.clock)
        backend = SlowBackend(world)
        gate = backend.gate
        if path == "/early":
            backend.gate.open()
            gate = early
        site = world.serve(app, session=adapter, backend=backend)
        alice = {"cookie": f"ott_session={adapter.start('alice', remember=True).token}"}
        answer = Race(gate).run(lambda: site.get(path, alice), lambda: site.get("/out", alice))
        assert (answer.status, len(backend)) == (401, 0)

    @pytest.mark.parametrize("asynchronous", [True, False])
    def test_revoke_by_hand(self, world: World, asynchronous: bool) -> None:
        backend = SlowBackend(world)
        site = serve(world, backend, revoke_on_sign_out=False)

        def revoke() -> None:
            tokens = site.flow.tokens
            if asynchronous:
                asyncio.run(tokens.arevoke("session-of-alice"))
            else:
                tokens.revoke("session-of-alice")

        answer = Race(backend.gate).run(lambda: site.generate(ALICE), revoke)
        assert (answer.status, len(backend)) == (401, 0)

    def test_revoke_by_hand_before_the_adapter_has_told(self, world: World) -> None:
        gate = Gate()

        class Slow(Members):
            blocks = True

            def current(self, request: Any) -> Any:
                found = super().current(request)
                gate.wait()
                return found

        backend = MemoryBackend(clock=world.clock)
        site = serve(world, backend, session=Slow(person("alice")), revoke_on_sign_out=False)
        answer = Race(gate).run(
            lambda: site.generate(ALICE), lambda: site.flow.tokens.revoke("session-of-alice")
        )
        assert (answer.status, len(backend)) == (401, 0)

    @pytest.mark.parametrize("asynchronous", [True, False])
    def test_revoke_by_hand_without_a_site(self, world: World, asynchronous: bool) -> None:
        backend = SlowBackend(world)
        service = OneTimeTokens(backend, sessions=Members())
        # Another service on the same store, as an administration page has one.
        other = OneTimeTokens(backend, sessions=Members())

        def generate() -> Any:
            if asynchronous:
                return asyncio.run(service.agenerate(person("alice")))
            return service.generate(person("alice"))

        error = Race(backend.gate).run(generate, lambda: other.revoke("session-of-alice"))
        assert isinstance(error, Unauthorized)
        assert len(backend) == 0

    def test_hook_that_is_slow(self, world: World) -> None:
        gate = Gate()

        def slow(session: Any, context: Any) -> str:
            gate.wait()
            return "a-token-of-the-app"

        backend = MemoryBackend(clock=world.clock)
        site = serve(world, backend, generate_token=slow)
        answer = Race(gate).run(lambda: site.generate(ALICE), lambda: site.get("/out", ALICE))
        assert (answer.status, len(backend)) == (401, 0)

    def test_token_that_cannot_be_taken_back_is_given_to_no_client(self, world: World) -> None:
        class Broken(SlowBackend):
            def take(self, key: str) -> bytes | None:
                raise ConnectionError

            async def atake(self, key: str) -> bytes | None:
                return self.take(key)

        backend = Broken(world)
        site = serve(world, backend)
        answer = Race(backend.gate).run(
            lambda: site.generate(ALICE), lambda: site.get("/out", ALICE)
        )
        assert answer.status == 401

    # What must go on as it was.

    def test_other_sessions_tokens(self, world: World) -> None:
        backend = SlowBackend(world)
        site = serve(world, backend)
        answer = Race(backend.gate).run(
            lambda: site.generate({"cookie": "sid=bob-cookie"}), lambda: site.get("/out", ALICE)
        )
        assert site.verify(answer.json()["token"]).status == 200

    def test_page_that_signs_nobody_out(self, world: World) -> None:
        backend = SlowBackend(world)
        site = serve(world, backend)
        answer = Race(backend.gate).run(
            lambda: site.generate(ALICE), lambda: site.get("/page", ALICE)
        )
        assert site.verify(answer.json()["token"]).status == 200

    def test_request_after_the_revocation(self, world: World) -> None:
        backend = MemoryBackend(clock=world.clock)
        site = serve(world, backend)
        site.flow.tokens.revoke("session-of-alice")
        assert site.generate(ALICE).status == 200
        assert [site.get(path, ALICE).status for path in WAYS] == [200] * len(WAYS)

    def test_app_that_revokes_before_it_mints(self, world: World) -> None:
        async def app(seen: Seen) -> Reply:
            session = await seen.ott.asession()
            await site.flow.tokens.arevoke(session.id)
            return Reply(body=(await seen.ott.agenerate()).encode())

        site = world.serve(app, revoke_on_sign_out=True)
        assert site.verify(site.get("/", ALICE).body.decode()).status == 200


@pytest.fixture
def another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sign-out happens in a process whose memory this one does not see."""
    monkeypatch.setattr(Revocations, "note_revoked", lambda self, session_id: None)
    monkeypatch.setattr(Revocations, "note_ended", lambda self, session_id: None)


@pytest.mark.usefixtures("another_process")
class TestGenerateDuringSignOutElsewhere:
    """Where the server keeps the sessions, the adapter is asked again."""

    @staticmethod
    def serve(world: World, backend: Any, members: Any, **options: Any) -> Site:
        def app(seen: Seen) -> Any:
            if seen.path == "/out":
                del members.live["alice-cookie"]
            return door(seen)

        options.setdefault("revoke_on_sign_out", True)
        return world.serve(
            app, session=members, backend=backend, handoff_targets=[TARGET], **options
        )

    @pytest.mark.parametrize("kind", [Members, WaitingMembers])
    def test_generate_path(self, world: World, kind: type[Members]) -> None:
        backend = SlowBackend(world)
        site = self.serve(world, backend, kind(person("alice")))
        answer = Race(backend.gate).run(
            lambda: site.generate(ALICE), lambda: site.get("/out", ALICE)
        )
        assert (answer.status, len(backend)) == (401, 0)

    @pytest.mark.parametrize("path", WAYS)
    def test_handle(self, world: World, path: str) -> None:
        backend = SlowBackend(world)
        site = self.serve(world, backend, Members(person("alice")))
        answer = Race(backend.gate).run(
            lambda: site.get(path, ALICE), lambda: site.get("/out", ALICE)
        )
        assert (answer.status, len(backend)) == (401, 0)

    def test_set_ott(self, world: World) -> None:
        backend = SlowBackend(world)
        site = self.serve(
            world, backend, Members(person("alice")), set_ott_header_on_new_session=True
        )
        answer = Race(backend.gate).run(lambda: site.get("/login"), lambda: site.get("/out", ALICE))
        assert answer.header("set-ott") is None
        assert len(backend) == 0

    def test_backend_that_fails_then(self, world: World) -> None:
        class Broken(SlowBackend):
            def revoke(self, owner: str) -> int:
                raise ConnectionError

            async def arevoke(self, owner: str) -> int:
                return self.revoke(owner)

        for path in ("/one-time-token/generate", *WAYS):
            backend = Broken(world)
            site = self.serve(world, backend, Members(person("alice")))
            get, out = functools.partial(site.get, path, ALICE), site.get
            answer = Race(backend.gate).run(get, functools.partial(out, "/out", ALICE))
            assert answer.status == 401

    def test_adapter_is_asked_once_without_the_option(self, world: World) -> None:
        for on, times in ((False, 1), (True, 2)):
            members = Members(person("alice"))
            site = self.serve(
                world, MemoryBackend(clock=world.clock), members, revoke_on_sign_out=on
            )
            assert site.generate(ALICE).status == 200
            assert members.asked == ["current"] * times

    def test_session_of_another_user_is_not_asked_for(self, world: World) -> None:
        async def app(seen: Seen) -> Reply:
            bob = person("bob")
            tokens = [await seen.ott.agenerate(bob)]
            tokens.append(await asyncio.to_thread(seen.ott.generate, bob))
            await seen.ott.asession()
            tokens.append(await seen.ott.agenerate(bob))
            return Reply(body=" ".join(tokens).encode())

        site = world.serve(app, revoke_on_sign_out=True)
        for token in site.get("/", ALICE).body.decode().split():
            assert site.verify(token).status == 200


def test_handle_that_would_have_to_wait_says_so() -> None:
    """A sync app on a running loop, with a session that was awaited before."""

    class Waiting(WaitingMembers):
        pass

    members = Waiting(person("alice"))
    backend = MemoryBackend()

    def app(environ: Any, start_response: Any) -> Any:
        handle = environ["ott.handle"]
        assert handle.session is not None

        async def inside() -> str:
            return str(handle.generate())

        with pytest.raises(RuntimeError, match="use `await agenerate"):
            asyncio.run(inside())
        start_response("200 OK", [])
        return [b""]

    site = WSGIMiddleware(app, session=members, backend=backend, revoke_on_sign_out=True)
    alice = person("alice", expires_at=None)
    members.live["alice-cookie"] = alice
    assert call_wsgi(site, make_environ("GET", "/", ALICE)).status == 200


def test_confirmation_that_must_wait_in_a_thread_names_the_awaited_method() -> None:
    """Only an async adapter can confirm that the session did not end meanwhile."""
    texts: list[str] = []

    async def app(seen: Seen) -> Reply:
        await seen.ott.asession()
        for method, *args in ((seen.ott.generate,), (seen.ott.link, f"{TARGET}/")):
            with pytest.raises(RuntimeError) as caught:
                await asyncio.to_thread(method, *args)
            texts.append(str(caught.value))
        return Reply()

    members = WaitingMembers(person("alice"))
    options: dict[str, Any] = {"revoke_on_sign_out": True, "handoff_targets": [TARGET]}
    World("asgi").serve(app, session=members, **options).get("/", ALICE)
    assert texts == [
        "generate() must wait for the session adapter: use `await agenerate()`",
        "link() must wait for the session adapter: use `await alink()`",
    ]


class TestRevocations:
    def test_memory_of_revocations(self) -> None:
        known = Revocations()
        before = known.now()
        known.note_revoked("a")
        known.note_ended("b")
        after = known.now()
        assert known.revoked_since("a", before)
        assert known.ended_since("b", before)
        assert not known.ended_since("a", before)
        assert not known.revoked_since("b", before)
        assert not known.revoked_since("a", after)
        assert not known.ended_since("b", after)

    def test_memory_is_bounded_and_nothing_is_forgotten(self) -> None:
        known = Revocations(slots=8)
        before = known.now()
        for number in range(1000):
            known.note_ended(f"session-{number}")
        assert all(known.ended_since(f"session-{number}", before) for number in range(1000))
        assert len(known._ended) == len(known._revoked) == 8

    def test_threads(self) -> None:
        known = Revocations(slots=1)

        def note() -> None:
            for _ in range(2000):
                moment = known.now()
                known.note_revoked("a")
                assert known.revoked_since("a", moment)

        threads = [threading.Thread(target=note) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert known.now() == 8000

    def test_lock_that_is_renewed_is_free(self) -> None:
        known = Revocations()
        with known._lock:
            known.renew_after_fork()
            known.note_ended("a")
        assert known.ended_since("a", 0)

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
    def test_child_does_not_wait_for_a_lock_of_its_parent(self) -> None:
        with revocations._lock, warnings.catch_warnings():
            # Python 3.12 warns of threads, which the test runner has.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
            if pid == 0:  # pragma: no cover - in a process that measures nothing
                free = revocations._lock.acquire(timeout=5)
                os._exit(0 if free else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
