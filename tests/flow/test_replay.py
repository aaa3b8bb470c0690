"""A used token is presented again: an event tells, and `on_replay="revoke"` ends its session."""

from __future__ import annotations

import logging
import uuid
from pathlib import Path
from typing import Any

import pytest
import services
from harness import NOW as START
from harness import SECRET, Members, Site, World, main_lines, moment, person, run

from ott_middleware import ConfigurationError, CookieSession, MemoryBackend, OneTimeTokens, Session
from ott_middleware.backends import Backend, RedisBackend, SQLiteBackend
from ott_middleware.errors import BackendUnavailable
from ott_middleware.events import Event
from ott_middleware.http import Cookie
from ott_middleware.tokens import tombstones
from ott_middleware.tokens.challenges import challenge_of
from ott_middleware.tokens.service import is_meant_for
from ott_middleware.tokens.tombstones import LIFETIME

SOON = 11  # seconds: a double click is over


class Forking(Members):
    """Begins a session of its own at each arrival, and can delete it."""

    def __init__(self, *sessions: Session) -> None:
        super().__init__(*sessions)
        self.begun = 0

    def resolve(self, session: Session) -> Any:
        found = super().resolve(session)
        return found and person(str(found.user_id), token="")

    def establish(self, session: Session, request: Any) -> Any:
        self.begun += 1
        value = f"new-cookie-{self.begun}-of-{session.user_id}"
        self.live[value] = person(str(session.user_id), id=f"new-session-{self.begun}", token=value)
        return [Cookie("sid", value)]

    def discard(self, cookies: Any, request: Any) -> None:
        for cookie in cookies:
            self.live.pop(cookie.value, None)


class Awaited(Backend):
    """Works on an event loop alone."""

    def __init__(self, clock: Any) -> None:
        self.clock = clock
        self.inner = MemoryBackend(clock=clock)

    async def aput(self, *args: Any, **how: Any) -> None:
        self.inner.put(*args, **how)

    async def atake(self, key: str) -> bytes | None:
        return self.inner.take(key)


class Listening:
    """A site, its events and its clock."""

    def __init__(self, world: World, **options: Any) -> None:
        self.world = world
        self.events: list[Event] = []
        options.setdefault("on_event", self.events.append)
        self.site: Site = world.serve(**{"secret": SECRET, **options})

    def kinds(self) -> list[str]:
        events = self.site.flow.services.reports.events
        assert events.flush(10)
        found = [event.kind for event in self.events]
        self.events.clear()
        return found

    def use(self, token: str | None = None, **how: Any) -> str:
        """Use a token as a browser of its own does, and wait until a double click is over."""
        token = token or self.site.token(**how)
        assert self.site.open(f"/?ott={token}", {"user-agent": "the first"}).status == 303
        self.world.clock.forward(SOON)
        self.kinds()
        return token


class TestReplayed:
    def test_link(self, world: World) -> None:
        at = Listening(world)
        token = at.use()
        assert at.site.open(f"/?ott={token}").status == 400
        assert at.site.flow.services.reports.events.flush(10)
        replayed, refused = at.events
        assert (replayed.kind, refused.kind) == ("replayed", "refused")
        assert (replayed.session_id, replayed.channel) == ("session-of-alice", "handoff")
        assert replayed.time == moment(START + SOON)
        assert replayed.reason is None
        assert replayed.fingerprint == refused.fingerprint is not None
        assert token not in repr(at.events)

    def test_verify_path_and_call(self, world: World) -> None:
        at = Listening(world)
        for first in (at.site.verify, lambda token: at.site.fetch(f"/?ott={token}")):
            token = at.site.token()
            assert first(token).status == 200
            world.clock.forward(SOON)
            at.kinds()
            assert at.site.verify(token).status == 400
            assert at.kinds() == ["replayed", "refused"]
            assert at.site.fetch(f"/?ott={token}").status == 400
            assert at.kinds() == ["replayed", "refused"]

    def test_client_that_sets_the_cookie_itself(self, world: World) -> None:
        at = Listening(world, disable_set_session_cookie=True)
        token = at.site.token()
        assert at.site.verify(token).status == 200
        world.clock.forward(SOON)
        at.kinds()
        assert at.site.verify(token).status == 400
        assert at.kinds() == ["replayed", "refused"]

    def test_server_of_another_origin(self, world: World) -> None:
        at = Listening(world)
        token = at.site.token(audience="https://b.example")
        assert at.site.verify(token, audience="https://b.example").status == 200
        world.clock.forward(SOON)
        at.kinds()
        assert at.site.verify(token, audience="https://c.example").status == 400
        assert at.site.verify(token).status == 400
        assert at.kinds() == ["refused", "refused"]
        assert at.site.verify(token, audience="https://b.example").status == 400
        assert at.kinds() == ["replayed", "refused"]

    def test_audience_is_that_of_the_first_use(self, world: World) -> None:
        at = Listening(world)
        token = at.site.token(audience="https://b.example")
        assert at.site.verify(token, audience="https://b.example").status == 200
        world.clock.forward(SOON)
        at.kinds()
        assert at.site.verify(token, audience="https://b.example").status == 400
        assert at.site.flow.services.reports.events.flush(10)
        assert [event.audience for event in at.events] == ["https://b.example", None]

    def test_each_time_and_no_longer_than_ten_minutes(self, world: World) -> None:
        at = Listening(world)
        token = at.use()
        for _ in range(3):
            at.site.verify(token)
        assert at.kinds().count("replayed") == 3
        world.clock.forward(LIFETIME - SOON - 1)
        at.site.verify(token)
        assert at.kinds() == ["replayed", "refused"]
        world.clock.forward(1)
        at.site.verify(token)
        assert at.kinds() == ["refused"]

    def test_at_another_worker(self, world: World) -> None:
        backend = MemoryBackend(clock=world.clock)
        one, two = (Listening(world, backend=backend, store_token="hashed") for _ in range(2))
        token = one.use()
        two.site.verify(token)
        assert two.kinds() == ["replayed", "refused"]

    @pytest.mark.parametrize("store", ["redis", "sqlite"])
    def test_in_a_store_of_several_hosts(self, world: World, store: str, tmp_path: Path) -> None:
        backends: list[Any] = []
        prefix = f"ott-replay-{uuid.uuid4().hex[:12]}"
        for _ in range(2):
            if store == "sqlite":
                backends.append(SQLiteBackend(tmp_path / "tokens.db", clock=world.clock))
                continue
            if not services.listens("Redis"):
                services.absent("there is no Redis")
            backends.append(RedisBackend(services.REDIS, prefix=prefix, clock=world.clock))
        one, two = (Listening(world, backend=each, store_token="hashed") for each in backends)
        token = one.use()
        for _ in range(2):
            assert two.site.verify(token).status == 400
            assert two.kinds() == ["replayed", "refused"]
        for each in backends:
            run(each.aclose()) if world.interface == "asgi" else each.close()

    def test_token_of_a_challenge_needs_its_verifier(self) -> None:
        challenge = challenge_of("a verifier")
        assert is_meant_for(None, challenge, None, ["a verifier"])
        assert not is_meant_for(None, challenge, None, ["another"])


class TestNoReplay:
    @pytest.mark.parametrize(
        "headers",
        [{"sec-purpose": "prefetch"}, {"sec-fetch-dest": "iframe"}, {"user-agent": "Slackbot 1.0"}],
    )
    def test_request_that_would_not_have_redeemed(
        self, world: World, headers: dict[str, str]
    ) -> None:
        at = Listening(world)
        token = at.use()
        at.site.open(f"/?ott={token}", headers)
        at.site.send("HEAD", f"/?ott={token}")
        at.site.verify(token, {"origin": "https://evil.example"})
        at.site.verify(f"{token}x")
        at.site.verify(f"{token} ")
        at.site.fetch(f"/?ott=confirm.{token}")
        assert set(at.kinds()) == {"refused"}

    def test_token_that_was_never_used(self, world: World) -> None:
        at = Listening(world)
        token = at.site.token()
        world.clock.forward(200)
        at.site.verify(token)
        assert at.kinds() == ["refused"]

    def test_browser_that_holds_the_session(self, world: World) -> None:
        at = Listening(world)
        token = at.use()
        alice, bob = ({"cookie": f"sid={name}-cookie"} for name in ("alice", "bob"))
        assert at.site.open(f"/?ott={token}", alice).status == 303
        assert at.kinds() == ["refused"]
        # Another user's session is no excuse.
        at.site.open(f"/?ott={token}", bob)
        assert at.kinds() == ["replayed", "refused"]

    def test_browser_that_holds_the_receipt(self, world: World) -> None:
        at = Listening(world, session=CookieSession("sid", renews_key=True))
        token = at.site.token()
        cookies = at.site.open(f"/?ott={token}").cookies
        world.clock.forward(SOON)
        receipt = {"cookie": f"ott_receipts={cookies['ott_receipts']}"}
        assert at.site.open(f"/?ott={token}", receipt).status == 400
        assert "replayed" not in at.kinds()
        at.site.open(f"/?ott={token}")
        assert "replayed" in at.kinds()

    def test_double_click(self, world: World) -> None:
        """The second half was sent before the first response brought a cookie."""
        at = Listening(world)
        browser = {"user-agent": "the same"}
        token = at.site.token()
        assert at.site.open(f"/?ott={token}", browser).status == 303
        assert at.site.open(f"/?ott={token}", browser).status == 400
        assert "replayed" not in at.kinds()
        at.site.open(f"/?ott={token}", {"user-agent": "another"})
        assert "replayed" in at.kinds()
        world.clock.forward(SOON)
        at.site.open(f"/?ott={token}", browser)
        assert "replayed" in at.kinds()

    def test_nothing_is_kept_unless_asked_for(self, world: World) -> None:
        backend = MemoryBackend(clock=world.clock)
        site = world.serve(backend=backend, secret=SECRET)
        site.verify(site.token())
        assert len(backend) == 0

    def test_service_of_the_app_keeps_nothing(self, world: World) -> None:
        class Service:
            def __init__(self) -> None:
                self.inner = OneTimeTokens(
                    MemoryBackend(clock=world.clock), sessions=Members(person("alice"))
                )

            def __getattr__(self, name: str) -> Any:
                return getattr(self.inner, name)

        site = world.serve(tokens=Service(), on_event=lambda event: None)
        assert site.flow.services.replays is None


class TestTombstone:
    def test_holds_no_secret(self, world: World) -> None:
        backend, kept = MemoryBackend(clock=world.clock), []
        put = backend.put
        backend.put = lambda *a, **k: (kept.append((a, k)), put(*a, **k))[1]  # type: ignore[method-assign]
        options = {"on_replay": "revoke", "session": Forking(person("alice"))}
        token = Listening(world, backend=backend, **options).use()
        # The token's value, and the tombstone.
        assert len(kept) == 2
        shown = repr(kept[1])
        for secret in (token, "alice", "new-cookie", "session"):
            assert secret not in shown

    def test_they_have_a_limit(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tombstones, "_MOST", 1)
        backend = MemoryBackend(clock=world.clock)
        at = Listening(world, backend=backend)
        for _ in range(300):
            at.site.verify(at.site.token())
        assert len(backend) <= 64

    def test_all_of_them_leave_room_for_tokens(self, world: World) -> None:
        """A user redeems link after link of a session whose cookie is as large as can be."""
        sizes = []
        for length in range(0, 9000, 500):
            backend, forking = MemoryBackend(clock=world.clock), Forking(person("alice"))
            establish = forking.establish
            forking.establish = lambda session, request, length=length, begun=establish: [  # type: ignore[method-assign]
                *begun(session, request),
                Cookie("big", "x" * length),
            ]
            at = Listening(world, backend=backend, session=forking, on_replay="revoke")
            at.site.verify(at.site.token())
            assert len(backend) == 1
            sizes.append(backend.held_bytes)
        assert 64 * tombstones._MOST * max(sizes) < 64 * 1024 * 1024 * 0.75

    def test_failure_breaks_no_redemption(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        backend = MemoryBackend(clock=world.clock)
        put, take, fails = backend.put, backend.take, [False]

        def failing_put(key: str, *args: Any, **more: Any) -> None:
            if fails[0] and "replay" in key:
                raise BackendUnavailable("the store is gone")
            put(key, *args, **more)

        def failing_take(key: str) -> bytes | None:
            if fails[0] and "replay" in key:
                raise OSError("redis://user:password@host")
            return take(key)

        backend.put, backend.take = failing_put, failing_take  # type: ignore[method-assign]
        at = Listening(world, backend=backend)
        fails[0] = True
        for _ in range(2):
            token = at.site.token()
            assert at.site.verify(token).status == 200
            assert at.site.verify(token).code == "INVALID_TOKEN"
        (line,) = [r.getMessage() for r in main_lines(caplog) if r.levelno == logging.ERROR]
        assert "replays go unnoticed" in line
        assert "password" not in line

    def test_that_must_be_awaited(self, world: World) -> None:
        if world.interface == "wsgi":  # refuses such a backend
            return
        at = Listening(world, backend=Awaited(world.clock))
        token = at.use(at.site.generate({"cookie": "sid=alice-cookie"}).json()["token"])
        at.site.verify(token)
        assert at.kinds() == ["replayed", "refused"]

    def test_that_no_secret_opens(self, world: World) -> None:
        backend = MemoryBackend(clock=world.clock)
        one = Listening(world, backend=backend)
        token = one.use()
        other = Listening(world, backend=backend, secret="another secret of 32 characters..")
        other.site.verify(token)
        assert other.kinds() == ["refused"]

    def test_put_back_by_two_at_once(self, world: World) -> None:
        at = Listening(world)
        token = at.use()
        replays = at.site.flow.services.replays
        stones, seen = replays.stones, []
        take = stones._take

        async def take_and_put(key: str) -> bytes | None:
            value: bytes | None = await take(key)
            if value is not None:
                seen.append(key)
                at.site.flow.tokens.backend.put(
                    key, value, expires_at=world.clock() + 60, owner="o", limit=None
                )
            return value

        stones._take = take_and_put
        at.site.verify(token)
        assert at.kinds() == ["replayed", "refused"]
        assert len(seen) == 1


class TestRevoke:
    def test_session_that_was_begun_is_ended(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        at = Listening(world, on_replay="revoke", session=Forking(person("alice")))
        token = at.site.token()
        cookie = {"cookie": f"sid={at.site.open(f'/?ott={token}').cookies['sid']}"}
        live = at.site.generate(cookie).json()["token"]
        other = at.site.generate({"cookie": "sid=alice-cookie"}).json()["token"]
        world.clock.forward(SOON)
        at.kinds()
        assert at.site.verify(token).status == 400
        assert at.kinds() == ["replayed", "revoked", "revoked", "refused"]
        (line,) = [r.getMessage() for r in main_lines(caplog) if r.levelno == logging.WARNING]
        assert "on_replay='revoke'" in line
        # Its session is gone, and so are the tokens of it and of the one that it came from.
        assert at.site.generate(cookie).status == 401
        assert at.site.verify(live).status == at.site.verify(other).status == 400
        assert at.site.generate({"cookie": "sid=alice-cookie"}).status == 200

    def test_short_token_may_have_been_guessed(self, world: World) -> None:
        """An attacker tries codes; one that a user has used just now signs no user out."""
        forking = Forking(person("alice"))
        options = {"generate_token": lambda *_: "123456", "rate_limit": "9/minute"}
        at = Listening(world, on_replay="revoke", session=forking, **options)
        token = at.site.token()
        cookie = {"cookie": f"sid={at.site.open(f'/?ott={token}').cookies['sid']}"}
        world.clock.forward(SOON)
        at.kinds()
        assert at.site.verify(token).status == 400
        assert at.kinds() == ["replayed", "refused"]
        assert at.site.generate(cookie).status == 200

    @pytest.mark.parametrize("name", ["__Host-sid", "__Secure-sid"])
    def test_session_in_a_cookie_with_a_prefix(self, world: World, name: str) -> None:
        class Prefixed(Forking):
            cookie_names = (name,)

            def establish(self, session: Session, request: Any) -> Any:
                [cookie] = super().establish(session, request)
                return [Cookie(name, cookie.value, secure=True)]

        at = Listening(world, session=Prefixed(person("alice")), on_replay="revoke")
        token = at.use()
        assert len(at.site.members.live) == 2
        assert at.site.verify(token).status == 400
        assert at.kinds() == ["replayed", "revoked", "refused"]
        assert list(at.site.members.live) == ["alice-cookie"]

    def test_second_replay_finds_nothing_to_end(self, world: World) -> None:
        at = Listening(world, on_replay="revoke", session=Forking(person("alice")))
        token = at.use()
        at.site.verify(token)
        at.kinds()
        at.site.verify(token)
        assert at.kinds() == ["replayed", "revoked", "refused"]

    def test_session_that_ended_meanwhile(self, world: World) -> None:
        forking = Forking(person("alice"))
        at = Listening(world, on_replay="revoke", session=forking)
        token = at.use()
        forking.live.clear()
        at.site.verify(token)
        assert at.kinds() == ["replayed", "revoked", "refused"]

    def test_shared_session_loses_its_tokens_alone(self, world: World) -> None:
        at = Listening(world, on_replay="revoke")
        live = at.site.token()
        token = at.use()
        at.site.verify(token)
        assert at.kinds() == ["replayed", "revoked", "refused"]
        assert at.site.verify(live).status == 400
        assert at.site.generate({"cookie": "sid=alice-cookie"}).status == 200

    def test_reload_signs_nobody_out(self, world: World) -> None:
        at = Listening(world, on_replay="revoke", session=Forking(person("alice")))
        token = at.site.token()
        cookie = {"cookie": f"sid={at.site.open(f'/?ott={token}').cookies['sid']}"}
        world.clock.forward(SOON)
        assert at.site.open(f"/?ott={token}", cookie).status == 303
        assert at.site.generate(cookie).status == 200

    def test_ignored_by_default(self, world: World) -> None:
        at = Listening(world, session=Forking(person("alice")))
        token = at.site.token()
        cookie = {"cookie": f"sid={at.site.open(f'/?ott={token}').cookies['sid']}"}
        world.clock.forward(SOON)
        at.site.verify(token)
        assert at.site.generate(cookie).status == 200

    def test_without_on_event(self, world: World) -> None:
        at = Listening(world, on_replay="revoke", on_event=None, session=Forking(person("alice")))
        token = at.site.token()
        cookie = {"cookie": f"sid={at.site.open(f'/?ott={token}').cookies['sid']}"}
        world.clock.forward(SOON)
        at.site.verify(token)
        assert at.site.generate(cookie).status == 401

    def test_adapter_that_fails_is_no_replay(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        at = Listening(world, on_replay="revoke")
        token = at.use()
        guard = at.site.flow.services.guard
        current, guard._current = guard._current, fail
        at.site.verify(token)
        assert at.kinds() == ["refused"]
        (line,) = [r.getMessage() for r in main_lines(caplog) if "replays" in r.getMessage()]
        assert "SessionUnavailable" in line
        # The next replay is noticed.
        guard._current = current
        at.site.verify(token)
        assert "replayed" in at.kinds()

    def test_large_cookies_are_not_kept(self, world: World) -> None:
        forking = Forking(person("alice"))
        at = Listening(world, on_replay="revoke", session=forking)
        establish = forking.establish
        at.site.flow.services.guard._establish = awaited(
            lambda session, request: [*establish(session, request), Cookie("big", "x" * 9000)]
        )
        token = at.use()
        at.site.verify(token)
        assert at.kinds() == ["replayed", "revoked", "refused"]
        assert "new-cookie-1-of-alice" in forking.live


async def fail(request: Any) -> Session | None:
    raise OSError


def awaited(function: Any) -> Any:
    async def call(*args: Any) -> Any:
        return function(*args)

    return call


class PutTake:
    """A store without owners."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}

    def put(self, key: str, value: bytes, *, expires_at: float) -> None:
        self.values[key] = value

    def take(self, key: str) -> bytes | None:
        return self.values.pop(key, None)


class TestOption:
    def test_needs_a_secret(self, world: World) -> None:
        with pytest.raises(ConfigurationError, match="on_replay: 'revoke' needs secret="):
            world.serve(on_replay="revoke")

    def test_needs_a_store(self, world: World) -> None:
        inner = OneTimeTokens(MemoryBackend(), sessions=Members(person("alice")))

        class Service:
            def __getattr__(self, name: str) -> Any:
                return getattr(inner, name)

        with pytest.raises(ConfigurationError, match="needs a store for used tokens"):
            world.serve(tokens=Service(), on_replay="revoke")

    def test_needs_a_backend_that_revokes(self, world: World) -> None:
        with pytest.raises(ConfigurationError, match="can't revoke tokens"):
            world.serve(backend=PutTake(), secret=SECRET, on_replay="revoke")
