from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
import threading
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from harness import NOW, SECRET, Clock, Members

from ott_middleware import Backend, ConfigurationError, MemoryBackend, OneTimeTokens, Session
from ott_middleware.errors import (
    BackendFull,
    BackendUnavailable,
    InvalidToken,
    KeyTaken,
    NotSupported,
    SessionExpired,
    SessionNotFound,
    SessionUnavailable,
)
from ott_middleware.http.origins import SeenOrigin
from ott_middleware.tokens import GenerationContext

ALICE = Session(id="session-of-alice", token="cookie-of-alice", user_id="alice")
BOB = Session(id="session-of-bob", token="cookie-of-bob", user_id="bob")


OTHER_SECRET = "another one of thirty-four letters"


class Known(Members):
    def add(self, session: Session) -> Session:
        self.live[session.token] = session
        return session


class Dict(Backend):
    """A store that keeps whatever it is given, for ever, and shows it."""

    blocks = False

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.limits: list[int | None] = []
        self.owners: list[str] = []

    def put(
        self, key: str, value: bytes, *, expires_at: float, owner: str, limit: int | None
    ) -> None:
        if key in self.values:
            raise KeyTaken
        self.limits.append(limit)
        self.owners.append(owner)
        self.values[key] = value

    def take(self, key: str) -> bytes | None:
        return self.values.pop(key, None)


class Colour:
    """A service through one of its two colours."""

    def __init__(self, name: str, service: OneTimeTokens) -> None:
        self.name, self.service = name, service

    def __getattr__(self, name: str) -> Any:
        if self.name == "sync":
            return getattr(self.service, name)
        function = getattr(self.service, "a" + name)
        return lambda *args, **keywords: asyncio.run(function(*args, **keywords))


@pytest.fixture(params=["sync", "async"])
def colour(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def sessions() -> Known:
    known = Known()
    known.add(ALICE)
    known.add(BOB)
    return known


@pytest.fixture
def clock() -> Clock:
    return Clock(NOW)


def test_token_gives_its_session_once(colour: str, sessions: Known) -> None:
    tokens = Colour(colour, OneTimeTokens(MemoryBackend(), sessions=sessions))
    token = tokens.generate(ALICE)
    assert len(token) == 32
    assert tokens.verify(token) == ALICE
    for _ in range(2):
        with pytest.raises(InvalidToken):
            tokens.verify(token)


def test_tokens_of_sync_and_async_calls_are_the_same(sessions: Known) -> None:
    tokens = OneTimeTokens(MemoryBackend(), sessions=sessions)
    assert asyncio.run(tokens.averify(tokens.generate(ALICE))) == ALICE
    assert tokens.verify(asyncio.run(tokens.agenerate(ALICE))) == ALICE


def test_session_travels_whole(colour: str, sessions: Known) -> None:
    session = sessions.add(
        Session(
            id="s",
            token='{"a": "1", "b": "ü"}',
            user_id="7",
            user={"id": "7", "roles": ["admin"], "name": "Zoë"},
            created_at=datetime(2026, 1, 2, 3, 4, 5, 678901, timezone(timedelta(hours=2))),
            expires_at=datetime(2100, 1, 1, tzinfo=timezone.utc),
            persistent=False,
            data={"deep": {"er": [1, 2.5, None]}},
        )
    )
    carried: list[Session] = []

    class Seen(Known):
        def resolve(self, session: Session) -> Session:
            carried.append(session)
            return session

    tokens = Colour(colour, OneTimeTokens(MemoryBackend(), sessions=Seen()))
    assert tokens.verify(tokens.generate(session)) == session
    assert carried == [session]


# What is stored of a token.


def reverse(token: str) -> str:
    return token[::-1]


async def reverse_later(token: str) -> str:
    await asyncio.sleep(0)
    return token[::-1]


class Reverser:
    async def __call__(self, token: str) -> str:
        return token[::-1]


def sha(token: str) -> str:
    digest = hashlib.sha256(token.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


@pytest.mark.parametrize(
    ("store_token", "stored"),
    [
        ("plain", str),
        ("hashed", sha),
        (reverse, reverse),
        (reverse_later, reverse),
        (Reverser(), reverse),
        ({"type": "custom-hasher", "hash": reverse}, reverse),
        ({"type": "custom-hasher", "hash": reverse_later}, reverse),
    ],
)
def test_store_token_decides_the_key_and_not_the_token(
    colour: str, sessions: Known, store_token: Any, stored: Any
) -> None:
    backend = Dict()
    tokens = Colour(colour, OneTimeTokens(backend, sessions=sessions, store_token=store_token))
    token = tokens.generate(ALICE)
    assert list(backend.values) == [f"one-time-token:handoff:{stored(token)}"]
    assert tokens.verify(token) == ALICE
    assert not backend.values


def test_dump_of_a_hashed_store_holds_neither_token_nor_session(sessions: Known) -> None:
    backend = Dict()
    tokens = OneTimeTokens(backend, sessions=sessions, store_token="hashed")
    token = tokens.generate(ALICE)
    dump = repr((backend.values, backend.owners))
    for secret in (token, ALICE.token, ALICE.id, "alice"):
        assert secret not in dump


@pytest.mark.parametrize("stored", ["", "ü", "x" * 513, None, b"raw"])
def test_hasher_that_returns_no_key_is_named(colour: str, sessions: Known, stored: Any) -> None:
    service = OneTimeTokens(MemoryBackend(), sessions=sessions, store_token=lambda _: stored)
    with pytest.raises(SessionUnavailable, match="store_token"):
        Colour(colour, service).generate(ALICE)


# Hooks.


@pytest.mark.parametrize("asynchronous", [False, True])
def test_generate_token_makes_the_token_from_session_and_context(
    colour: str, sessions: Known, clock: Clock, asynchronous: bool
) -> None:
    seen: list[tuple[Session, GenerationContext]] = []

    def make(session: Session, context: GenerationContext) -> str:
        seen.append((session, context))
        return f"token-{len(seen)}"

    async def make_later(session: Session, context: GenerationContext) -> str:
        await asyncio.sleep(0)
        return make(session, context)

    tokens = Colour(
        colour,
        OneTimeTokens(
            MemoryBackend(clock=clock),
            sessions=sessions,
            generate_token=make_later if asynchronous else make,
        ),
    )
    token = tokens.generate(ALICE, expires_in=2, audience="https://b.example")
    assert token == "token-1"
    expected = GenerationContext(
        request=None,
        channel="handoff",
        audience="https://b.example",
        expires_at=clock.now + 120,
    )
    assert seen == [(ALICE, expected)]
    assert tokens.verify(token, audience="https://b.example") == ALICE


@pytest.mark.parametrize("bad", ["", "a b", "ü", "x" * 513, "a\n", None, 7, b"raw"])
def test_bad_generated_token_is_refused_and_not_shown(
    colour: str, sessions: Known, bad: Any
) -> None:
    service = OneTimeTokens(Dict(), sessions=sessions, generate_token=lambda *_: bad)
    with pytest.raises(SessionUnavailable, match="generate_token") as caught:
        Colour(colour, service).generate(ALICE)
    assert "A-Z a-z 0-9 - _" in str(caught.value)
    assert not service.backend.values  # type: ignore[attr-defined]  # the test's own backend has it


@pytest.mark.parametrize("hook", ["generate_token", "store_token"])
@pytest.mark.parametrize("error", [ValueError("my token is T"), StopIteration("my token is T")])
def test_hook_that_raises_is_named_and_its_text_is_not_repeated(
    colour: str, sessions: Known, hook: str, error: Exception
) -> None:
    def fail(*_: Any) -> str:
        raise error

    service = OneTimeTokens(MemoryBackend(), sessions=sessions, **{hook: fail})  # type: ignore[arg-type]  # one of several hooks
    with pytest.raises(
        SessionUnavailable, match=f"{hook}= raised {type(error).__name__} at test_token_service.py:"
    ) as caught:
        Colour(colour, service).generate(ALICE)
    assert "my token" not in str(caught.value)


def test_blocks_tells_whether_a_synchronous_call_may_wait(sessions: Known) -> None:
    class Slow(Dict):
        blocks = True

    assert not OneTimeTokens(MemoryBackend(), sessions=sessions, store_token="hashed").blocks
    assert OneTimeTokens(Slow(), sessions=sessions).blocks
    # A plain hook is called where it stands by who chose the synchronous method.
    assert not OneTimeTokens(MemoryBackend(), sessions=sessions, store_token=reverse).blocks
    assert OneTimeTokens(MemoryBackend(), sessions=sessions, store_token=reverse_later).blocks


def test_generate_on_a_loop_does_not_mind_an_adapter_that_waits(clock: Clock) -> None:
    class Waits(Known):
        async def resolve(self, session: Session) -> Session:  # type: ignore[override]  # in the other colour on purpose
            await asyncio.sleep(0)
            return session

    async def both() -> Session:
        tokens = OneTimeTokens(MemoryBackend(), sessions=Waits())
        token = tokens.generate(ALICE)  # asks no adapter, so that nothing has to wait
        assert tokens.revoke("somebody else") == 0
        return await tokens.averify(token)

    assert asyncio.run(both()) == ALICE


def test_synchronous_caller_may_have_an_adapter_that_waits() -> None:
    class Waits(Known):
        async def resolve(self, session: Session) -> Session:  # type: ignore[override]  # in the other colour on purpose
            await asyncio.sleep(0)
            return session

    tokens = OneTimeTokens(MemoryBackend(), sessions=Waits())
    assert tokens.verify(tokens.generate(ALICE)) == ALICE


# Where a token is good.


@pytest.mark.parametrize(
    ("bound_to", "here"),
    [
        ("https://b.example", "https://b.example"),
        ("https://B.example:443", "https://b.example"),
        ("https://b.example", SeenOrigin("http://b.example")),  # behind a proxy that ends TLS
        ("http://b.example:8080", "http://b.example:8080"),
    ],
)
def test_token_is_good_at_its_audience(
    colour: str, sessions: Known, bound_to: str, here: str
) -> None:
    tokens = Colour(colour, OneTimeTokens(MemoryBackend(), sessions=sessions))
    assert tokens.verify(tokens.generate(ALICE, audience=bound_to), audience=here) == ALICE


@pytest.mark.parametrize(
    "here",
    [
        None,
        "",
        "null",
        "https://evil.example",
        "https://b.example:8443",
        "b.example",
        "http://b.example",  # named, not seen: taken at its word
    ],
)
def test_token_that_turns_up_elsewhere_is_burnt(
    colour: str, sessions: Known, here: str | None
) -> None:
    tokens = Colour(colour, OneTimeTokens(MemoryBackend(), sessions=sessions))
    token = tokens.generate(ALICE, audience="https://b.example")
    with pytest.raises(InvalidToken):
        tokens.verify(token, audience=here)
    with pytest.raises(InvalidToken):
        tokens.verify(token, audience="https://b.example")


def test_token_meant_for_http_is_not_good_at_https(sessions: Known) -> None:
    tokens = OneTimeTokens(MemoryBackend(), sessions=sessions)
    token = tokens.generate(ALICE, audience="http://b.example")
    with pytest.raises(InvalidToken):
        tokens.verify(token, audience=SeenOrigin("https://b.example"))


def test_token_without_an_audience_is_good_anywhere(colour: str, sessions: Known) -> None:
    tokens = Colour(colour, OneTimeTokens(MemoryBackend(), sessions=sessions))
    assert tokens.verify(tokens.generate(ALICE), audience="https://b.example") == ALICE


@pytest.mark.parametrize("audience", ["", "b.example", "https://b.example/path", "null"])
def test_audience_is_an_origin(colour: str, sessions: Known, audience: str) -> None:
    tokens = Colour(colour, OneTimeTokens(MemoryBackend(), sessions=sessions))
    with pytest.raises(ValueError, match="audience"):
        tokens.generate(ALICE, audience=audience)


def test_unknown_channel_is_the_caller_s_error_or_a_dead_token(
    colour: str, sessions: Known
) -> None:
    tokens = Colour(colour, OneTimeTokens(MemoryBackend(), sessions=sessions))
    with pytest.raises(ValueError, match="channel"):
        tokens.generate(ALICE, channel="letterbox")
    token = tokens.generate(ALICE)
    with pytest.raises(InvalidToken):
        tokens.verify(token, channel="letterbox")
    assert tokens.verify(token) == ALICE  # the wrong door burns nothing


@pytest.mark.parametrize(
    "token", ["", "x" * 513, "a b", "ü", "a\n", "a\0", None, 5, b"bytes", "../k"]
)
def test_malformed_token_reaches_neither_hook_nor_backend(
    colour: str, sessions: Known, token: Any
) -> None:
    reached: list[str] = []

    class Watched(Dict):
        def take(self, key: str) -> bytes | None:
            reached.append(key)
            return None

    def hasher(token: str) -> str:
        reached.append(token)
        return "k"

    tokens = Colour(colour, OneTimeTokens(Watched(), sessions=sessions, store_token=hasher))
    with pytest.raises(InvalidToken):
        tokens.verify(token)
    assert reached == []


# Keys that are taken.


class Occupied(Dict):
    def __init__(self, times: float) -> None:
        super().__init__()
        self.times, self.tries = times, 0

    def put(self, key: str, value: bytes, **more: Any) -> None:
        self.tries += 1
        if self.tries <= self.times:
            raise KeyTaken
        super().put(key, value, **more)


def test_taken_key_means_another_token(colour: str, sessions: Known) -> None:
    backend = Occupied(times=4)
    tokens = Colour(colour, OneTimeTokens(backend, sessions=sessions))
    token = tokens.generate(ALICE)
    assert backend.tries == 5
    assert tokens.verify(token) == ALICE


def test_generation_gives_up_after_a_few_tries(colour: str, sessions: Known) -> None:
    backend = Occupied(times=float("inf"))
    with pytest.raises(SessionUnavailable):
        Colour(colour, OneTimeTokens(backend, sessions=sessions)).generate(ALICE)
    assert backend.tries == 5


def test_generated_token_that_is_live_is_never_overwritten(colour: str, sessions: Known) -> None:
    made = 0

    def same(*_: Any) -> str:
        nonlocal made
        made += 1
        return "always-this"

    service = OneTimeTokens(MemoryBackend(), sessions=sessions, generate_token=same)
    tokens = Colour(colour, service)
    tokens.generate(ALICE)
    with pytest.raises(SessionUnavailable, match="generate_token made a token that is live"):
        tokens.generate(BOB)
    assert made == 2  # asked again, it would answer the same
    assert tokens.verify("always-this") == ALICE
    tokens.generate(BOB)
    assert tokens.verify("always-this") == BOB


# Sessions that cannot be carried.


def test_session_that_is_too_large_is_a_clear_error(colour: str, sessions: Known) -> None:
    backend = Dict()
    tokens = Colour(colour, OneTimeTokens(backend, sessions=sessions))
    with pytest.raises(SessionUnavailable, match="more than 16384: carry less"):
        tokens.generate(Session(id="s", token="t", data={"x": "y" * 16 * 1024}))
    assert not backend.values
    largest = Session(id="s", token="t", data={"x": "y" * 16_000})
    assert tokens.generate(largest)
    assert all(len(value) <= 16 * 1024 for value in backend.values.values())


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("value", [{1, 2}, float("nan"), object(), nested(100_000), b"raw"])
def test_session_that_is_no_json_is_a_clear_error(colour: str, sessions: Known, value: Any) -> None:
    tokens = Colour(colour, OneTimeTokens(MemoryBackend(), sessions=sessions))
    with pytest.raises(SessionUnavailable, match="JSON"):
        tokens.generate(Session(id="s", token="t", data={"x": value}))


# Time.


@pytest.mark.parametrize(
    ("option", "call", "seconds"),
    [(3, None, 180), (0.5, None, 30), (timedelta(seconds=7), None, 7), (3, 1, 60)],
)
def test_token_lives_as_long_as_it_was_told(
    colour: str, sessions: Known, clock: Clock, option: Any, call: Any, seconds: int
) -> None:
    service = OneTimeTokens(MemoryBackend(clock=clock), sessions=sessions, expires_in=option)
    tokens = Colour(colour, service)
    early, late = (tokens.generate(ALICE, expires_in=call) for _ in range(2))
    clock.now += seconds - 1
    assert tokens.verify(early) == ALICE
    clock.now += 1
    with pytest.raises(InvalidToken):
        tokens.verify(late)


@pytest.mark.parametrize("bad", [0, -1, True, "3", float("inf"), timedelta(0)])
def test_life_is_positive(colour: str, sessions: Known, bad: Any) -> None:
    tokens = Colour(colour, OneTimeTokens(MemoryBackend(), sessions=sessions))
    with pytest.raises(ConfigurationError, match="expires_in"):
        tokens.generate(ALICE, expires_in=bad)
    with pytest.raises(ConfigurationError, match="expires_in"):
        OneTimeTokens(MemoryBackend(), sessions=sessions, expires_in=bad)


def test_seal_expires_where_a_store_forgets_to(colour: str, sessions: Known, clock: Clock) -> None:
    tokens = Colour(colour, OneTimeTokens(Dict(), sessions=sessions, clock=clock))
    token = tokens.generate(ALICE)
    clock.now += 180
    with pytest.raises(InvalidToken):
        tokens.verify(token)


def test_store_cannot_prolong_a_token_nor_move_it(sessions: Known, clock: Clock) -> None:
    backend = Dict()
    tokens = OneTimeTokens(backend, sessions=sessions, clock=clock)
    first, second = tokens.generate(ALICE), tokens.generate(BOB)
    one, two = backend.values
    backend.values[one], backend.values[two] = backend.values[two], backend.values[one]
    with pytest.raises(InvalidToken):
        tokens.verify(first)
    with pytest.raises(InvalidToken):
        tokens.verify(second)

    token = tokens.generate(ALICE)
    ((key, value),) = backend.values.items()
    later = int((clock.now + 10_000) * 1000).to_bytes(8, "big")
    backend.values[key] = value[:5] + later + value[13:]
    with pytest.raises(InvalidToken):
        tokens.verify(token)


# Secrets.


def test_rotated_secret_still_opens(colour: str, sessions: Known) -> None:
    backend = MemoryBackend()
    before = OneTimeTokens(backend, sessions=sessions, secret=OTHER_SECRET)
    after = OneTimeTokens(backend, sessions=sessions, secret=[SECRET, OTHER_SECRET])
    token = before.generate(ALICE)
    assert Colour(colour, after).verify(token) == ALICE


@pytest.mark.parametrize(
    ("seals", "opens"), [(SECRET, OTHER_SECRET), (SECRET, None), (None, SECRET)]
)
def test_wrong_secret_is_an_invalid_token_and_one_log_line(
    colour: str,
    sessions: Known,
    caplog: pytest.LogCaptureFixture,
    seals: str | None,
    opens: str | None,
) -> None:
    backend = MemoryBackend()
    token = OneTimeTokens(backend, sessions=sessions, secret=seals).generate(ALICE)
    here = Colour(colour, OneTimeTokens(backend, sessions=sessions, secret=opens))
    with caplog.at_level(logging.DEBUG, logger="ott_middleware"), pytest.raises(InvalidToken):
        here.verify(token)
    (record,) = [r for r in caplog.records if r.name == "ott_middleware"]
    assert record.levelname == "ERROR"
    assert "same secret" in record.message
    for secret in (token, SECRET, OTHER_SECRET, ALICE.token, ALICE.id):
        assert secret not in record.message
    assert len(backend) == 0


@pytest.mark.parametrize("stored", [b"", b"\1" * 40, b"\xff" * 200])
def test_garbage_in_the_store_is_an_invalid_token(
    colour: str, sessions: Known, stored: bytes
) -> None:
    backend = Dict()
    tokens = Colour(colour, OneTimeTokens(backend, sessions=sessions, secret=SECRET))
    token = tokens.generate(ALICE)
    backend.values = dict.fromkeys(backend.values, stored)
    with pytest.raises(InvalidToken):
        tokens.verify(token)


# Revoking.


def test_revoke_drops_the_tokens_of_one_session(colour: str, sessions: Known) -> None:
    tokens = Colour(colour, OneTimeTokens(MemoryBackend(), sessions=sessions, secret=SECRET))
    dropped = [tokens.generate(ALICE) for _ in range(3)]
    kept = tokens.generate(BOB)
    assert tokens.revoke(ALICE.id) == 3
    assert tokens.revoke(ALICE.id) == 0
    for token in dropped:
        with pytest.raises(InvalidToken):
            tokens.verify(token)
    assert tokens.verify(kept) == BOB


def test_revoke_reaches_tokens_from_before_a_rotation(colour: str, sessions: Known) -> None:
    backend = MemoryBackend()
    before = OneTimeTokens(backend, sessions=sessions, secret=OTHER_SECRET)
    after = OneTimeTokens(backend, sessions=sessions, secret=[SECRET, OTHER_SECRET])
    tokens = [before.generate(ALICE), after.generate(ALICE)]
    assert Colour(colour, after).revoke(ALICE.id) == 2
    for token in tokens:
        with pytest.raises(InvalidToken):
            after.verify(token)


def test_revoke_on_a_backend_that_cannot(colour: str, sessions: Known) -> None:
    with pytest.raises(NotSupported, match=r"Dict has no revoke\(\)"):
        Colour(colour, OneTimeTokens(Dict(), sessions=sessions)).revoke(ALICE.id)


def test_cap_retires_the_oldest(colour: str, sessions: Known) -> None:
    service = OneTimeTokens(MemoryBackend(), sessions=sessions, max_per_session=2)
    tokens = Colour(colour, service)
    others = tokens.generate(BOB)
    first, second, third = (tokens.generate(ALICE) for _ in range(3))
    with pytest.raises(InvalidToken):
        tokens.verify(first)
    for token, session in ((second, ALICE), (third, ALICE), (others, BOB)):
        assert tokens.verify(token) == session


@pytest.mark.parametrize("cap", [1, 10, None])
def test_cap_is_handed_to_the_backend(sessions: Known, cap: int | None) -> None:
    backend = Dict()
    OneTimeTokens(backend, sessions=sessions, max_per_session=cap).generate(ALICE)
    assert backend.limits == [cap]


# The session at redemption.


def test_session_that_ended_is_not_found_and_the_token_burnt(colour: str, sessions: Known) -> None:
    tokens = Colour(colour, OneTimeTokens(MemoryBackend(), sessions=sessions))
    token = tokens.generate(ALICE)
    del sessions.live[ALICE.token]
    with pytest.raises(SessionNotFound):
        tokens.verify(token)
    sessions.add(ALICE)
    with pytest.raises(InvalidToken):
        tokens.verify(token)


def test_session_that_expired_is_expired_and_the_token_burnt(
    colour: str, sessions: Known, clock: Clock
) -> None:
    end = datetime.fromtimestamp(clock.now + 60, timezone.utc)
    short = sessions.add(Session(id="short", token="short", expires_at=end))
    tokens = Colour(colour, OneTimeTokens(MemoryBackend(clock=clock), sessions=sessions))
    good, token = tokens.generate(short), tokens.generate(short)
    clock.now += 59
    assert tokens.verify(good) == short
    clock.now += 1
    with pytest.raises(SessionExpired):
        tokens.verify(token)
    clock.now -= 30
    with pytest.raises(InvalidToken):
        tokens.verify(token)


def test_resolve_decides_at_redemption(colour: str, sessions: Known) -> None:
    tokens = Colour(colour, OneTimeTokens(MemoryBackend(), sessions=sessions))
    token = tokens.generate(ALICE)
    renewed = sessions.live[ALICE.token] = Session(id=ALICE.id, token="renewed", user_id="alice")
    assert tokens.verify(token) is renewed


def test_resolve_that_fails_or_lies_is_unavailable(colour: str) -> None:
    class Fails(Known):
        def resolve(self, session: Session) -> Any:
            raise LookupError(f"no row for {session.token}")

    class Lies(Known):
        def resolve(self, session: Session) -> Any:
            return {"id": "alice"}

    for adapter, text in (
        (Fails(), "Fails.resolve raised LookupError at test_token_service"),
        (Lies(), "a dict"),
    ):
        tokens = Colour(colour, OneTimeTokens(MemoryBackend(), sessions=adapter))
        token = tokens.generate(ALICE)
        with pytest.raises(SessionUnavailable, match=text) as caught:
            tokens.verify(token)
        assert ALICE.token not in str(caught.value)
        with pytest.raises(InvalidToken):
            tokens.verify(token)


# A backend that fails.


class Broken(Backend):
    blocks = False

    def put(self, *args: Any, **more: Any) -> None:
        raise ConnectionError("redis://user:password@host")

    def take(self, key: str) -> bytes:
        raise ConnectionError(f"could not read {key}")

    def revoke(self, owner: str) -> int:
        raise TimeoutError(owner)


def test_backend_that_raises_is_unavailable_and_its_text_is_not_repeated(
    colour: str, sessions: Known
) -> None:
    tokens = Colour(colour, OneTimeTokens(Broken(), sessions=sessions))
    for call in (
        lambda: tokens.generate(ALICE),
        lambda: tokens.verify("some-token"),
        lambda: tokens.revoke("some-session"),
    ):
        with pytest.raises(BackendUnavailable) as caught:
            call()
        for secret in ("password", "some-token", "some-session"):
            assert secret not in str(caught.value)


def test_full_backend_says_so(colour: str, sessions: Known) -> None:
    tokens = Colour(colour, OneTimeTokens(MemoryBackend(maxsize=1), sessions=sessions))
    tokens.generate(ALICE)
    with pytest.raises(BackendFull):
        tokens.generate(BOB)


@pytest.mark.parametrize("value", ["text", 5, ["list"], object()])
def test_backend_that_returns_no_bytes_is_unavailable(
    colour: str, sessions: Known, value: Any
) -> None:
    class Odd(Dict):
        def take(self, key: str) -> Any:
            return value

    with pytest.raises(BackendUnavailable, match="not bytes"):
        Colour(colour, OneTimeTokens(Odd(), sessions=sessions)).verify("token")


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_backend_may_return_other_bytes(colour: str, sessions: Known, kind: Any) -> None:
    class Views(Dict):
        def take(self, key: str) -> Any:
            return kind(self.values.pop(key))

    tokens = Colour(colour, OneTimeTokens(Views(), sessions=sessions))
    assert tokens.verify(tokens.generate(ALICE)) == ALICE


def test_cancelled_during_take_means_taken(sessions: Known) -> None:
    reached, go_on, taken = threading.Event(), threading.Event(), threading.Event()

    class Slow(Dict):
        blocks = True

        def take(self, key: str) -> bytes | None:
            reached.set()
            assert go_on.wait(10)
            try:
                return super().take(key)
            finally:
                taken.set()

    async def cancel() -> None:
        tokens = OneTimeTokens(Slow(), sessions=sessions)
        token = await tokens.agenerate(ALICE)
        task = asyncio.create_task(tokens.averify(token))
        assert await asyncio.to_thread(reached.wait, 10)
        task.cancel()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        # The thread runs to its end, whoever still waits for it.
        assert await asyncio.to_thread(taken.wait, 10)
        with pytest.raises(InvalidToken):
            await tokens.averify(token)

    asyncio.run(cancel())


def test_blocking_backend_does_not_hold_up_the_loop(sessions: Known) -> None:
    threads: set[int] = set()

    class Slow(Dict):
        blocks = True

        def put(self, key: str, value: bytes, **more: Any) -> None:
            threads.add(threading.get_ident())
            super().put(key, value, **more)

    asyncio.run(OneTimeTokens(Slow(), sessions=sessions).agenerate(ALICE))
    assert threads
    assert threading.get_ident() not in threads


@pytest.mark.parametrize(
    "options",
    [
        {"secret": "short"},
        {"store_token": "md5"},
        {"generate_token": "not a function"},
        {"max_per_session": 0},
    ],
)
def test_bad_options_are_refused(sessions: Known, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        OneTimeTokens(MemoryBackend(), sessions=sessions, **options)


def test_backend_that_defines_nothing_says_what_is_missing() -> None:
    class Empty(Backend):
        pass

    empty = Empty()
    with pytest.raises(NotSupported, match=r"Empty has no put\(\)"):
        empty.put("k", b"v", expires_at=1, owner="o", limit=None)
    with pytest.raises(NotSupported, match=r"Empty has no take\(\)"):
        empty.take("k")
    empty.close()
    asyncio.run(empty.aclose())
