"""`rate_limit=`: how often a client may try to redeem a token."""

from __future__ import annotations

import itertools
import logging
import sys
import threading
import time
import tracemalloc
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import redis
import redis.asyncio
import services
from freezegun import freeze_time
from harness import FETCH, SECRET, Answer, Site, World, main_lines, moment, person, run

from ott_middleware import ConfigurationError, MemoryBackend
from ott_middleware.backends import RedisBackend
from ott_middleware.flow.attempt_windows import MemoryWindows, RedisWindows, windows_of
from ott_middleware.tokens.names import SHORT

UNKNOWN = "x" * 32


def at(world: World, client: str | None) -> dict[str, Any]:
    """Arguments for a request of a client with that address."""
    if world.interface == "asgi":
        return {"carrier": {"client": client and (client, 5555)}}
    return {"carrier": {"REMOTE_ADDR": client or ""}}


def verify(site: Site, token: str, world: World, client: str | None, **headers: str) -> Answer:
    body = b'{"token": "%s"}' % token.encode()
    return site.post_verify(body, headers, **at(world, client))


def short_tokens() -> Any:
    """A `generate_token` of six digits."""
    numbers = itertools.count(100_000)
    return lambda session, context: str(next(numbers))


class TestLimit:
    def test_verify(self, world: World) -> None:
        site = world.serve(rate_limit="3/minute")
        token = site.token()
        assert [site.verify(UNKNOWN).status for _ in range(4)] == [400, 400, 400, 429]
        world.clock.forward(20)
        refused = site.verify(token)
        assert (refused.status, refused.code) == (429, "TOO_MANY_REQUESTS")
        assert refused.json()["message"] == "Too many requests"
        assert refused.header("retry-after") == "40"
        assert refused.header("cache-control") == "no-store"
        # Nothing was taken.
        world.clock.forward(40)
        assert site.verify(token).status == 200

    def test_retry_after_is_a_second_at_least(self, world: World) -> None:
        site = world.serve(rate_limit="1/minute")
        site.verify(UNKNOWN)
        world.clock.forward(59.99)
        assert site.verify(UNKNOWN).header("retry-after") == "1"

    def test_link_has_a_page(self, world: World) -> None:
        site = world.serve(rate_limit="1/minute", secret=SECRET)
        token = site.token()
        assert site.open(f"/?ott={UNKNOWN}").status == 400
        refused = site.open(f"/page?ott={token}", {"accept-language": "de"})
        assert refused.status == 429
        assert refused.header("retry-after") == "60"
        assert b"Zu viele Versuche" in refused.body
        assert token.encode() not in refused.body
        world.clock.forward(60)
        assert site.open(f"/page?ott={token}").cookies["sid"] == "alice-cookie"

    def test_call_with_a_link(self, world: World) -> None:
        site = world.serve(rate_limit="1/minute")
        assert site.fetch(f"/?ott={UNKNOWN}").status == 400
        refused = site.fetch(f"/?ott={UNKNOWN}")
        assert (refused.status, refused.code) == (429, "TOO_MANY_REQUESTS")

    def test_server_that_names_an_audience(self, world: World) -> None:
        site = world.serve(rate_limit="1/minute")
        answers = [site.verify(UNKNOWN, audience="https://b.example") for _ in range(2)]
        assert [each.status for each in answers] == [400, 429]

    def test_successes_count(self, world: World) -> None:
        site = world.serve(rate_limit="2/minute")
        tokens = [site.token() for _ in range(3)]
        assert [site.verify(token).status for token in tokens] == [200, 200, 429]

    def test_what_reaches_no_take_does_not_count(self, world: World) -> None:
        site = world.serve(rate_limit="1/minute")
        for _ in range(3):
            assert site.open("/?ott=a&ott=b").status == 400
            assert site.verify("not a token").status == 400
            assert site.verify(UNKNOWN, {"origin": "https://evil.example"}).status == 403
            assert site.open(f"/?ott={UNKNOWN}", {"sec-purpose": "prefetch"}).status == 503
            assert site.send("HEAD", f"/?ott={UNKNOWN}").status == 200
            assert site.get("/").status == 200
        assert site.verify(UNKNOWN).status == 400

    def test_several_rates(self, world: World) -> None:
        site = world.serve(rate_limit="2/minute;3/hour")
        assert [site.verify(UNKNOWN).status for _ in range(3)] == [400, 400, 429]
        world.clock.forward(60)
        assert [site.verify(UNKNOWN).status for _ in range(2)] == [400, 429]
        assert int(site.verify(UNKNOWN).header("retry-after") or 0) > 3000

    def test_off_by_default(self, world: World) -> None:
        site = world.serve()
        assert {site.verify(UNKNOWN).status for _ in range(200)} == {400}

    def test_reason(self, world: World, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG, "ott_middleware")
        heard: list[Any] = []
        site = world.serve(rate_limit="1/minute", on_event=heard.append)
        for _ in range(2):
            verify(site, UNKNOWN, world, "203.0.113.7")
        assert site.flow.services.reports.events.flush(10)
        assert [event.reason.word for event in heard] == ["unknown_token", "rate_limited"]
        assert heard[1].reason.detail == "more than 1 attempts in 60 s by one client"
        assert "203.0.113" not in caplog.text

    def test_on_invalid_does_not_see_it(self, world: World) -> None:
        site = world.serve(rate_limit="1/minute", on_invalid="continue")
        assert site.open(f"/?ott={UNKNOWN}").status == 303
        assert site.open(f"/?ott={UNKNOWN}").status == 429

    def test_page_of_the_app(self, world: World) -> None:
        pages = {"too_many": lambda page: f"<h1>{page.code} {page.status}</h1>"}
        site = world.serve(rate_limit="1/minute", pages=pages)
        site.open(f"/?ott={UNKNOWN}")
        refused = site.open(f"/?ott={UNKNOWN}")
        assert refused.body == b"<h1>TOO_MANY_REQUESTS 429</h1>"
        assert refused.header("retry-after") == "60"


class TestClients:
    def test_each_has_its_own(self, world: World) -> None:
        site = world.serve(rate_limit="1/minute")
        for client in ("203.0.113.7", "203.0.113.8", "2001:db8::1", "2001:db8:0:1::1"):
            assert verify(site, UNKNOWN, world, client).status == 400
            assert verify(site, UNKNOWN, world, client).status == 429

    @pytest.mark.parametrize(
        ("one", "two"),
        [
            ("2001:db8::1", "2001:db8::ffff:0:0:1"),
            ("203.0.113.7", "::ffff:203.0.113.7"),
            ("203.0.113.7", "203.0.113.7:4444"),
            (None, "no address"),
        ],
    )
    def test_one_network_is_one_client(self, world: World, one: str | None, two: str) -> None:
        site = world.serve(rate_limit="1/minute")
        assert verify(site, UNKNOWN, world, one).status == 400
        assert verify(site, UNKNOWN, world, two).status == 429

    def test_behind_a_proxy(self, world: World, caplog: pytest.LogCaptureFixture) -> None:
        site = world.serve(rate_limit="1/minute", trusted_proxies=["10.0.0.0/8"])
        for client in ("203.0.113.7", "203.0.113.8"):
            for status in (400, 429):
                headers = {"x-forwarded-for": f"198.51.100.{status % 7}, {client}"}
                answer = site.post_verify(
                    b'{"token": "%s"}' % UNKNOWN.encode(), headers, **at(world, "10.1.2.3")
                )
                assert answer.status == status
        assert not main_lines(caplog)

    def test_header_of_a_peer_that_is_no_proxy_does_not_count(self, world: World) -> None:
        site = world.serve(rate_limit="1/minute", trusted_proxies=["10.0.0.0/8"])
        statuses = [
            site.post_verify(
                b'{"token": "%s"}' % UNKNOWN.encode(),
                {"x-forwarded-for": f"198.51.100.{number}"},
                **at(world, "203.0.113.7"),
            ).status
            for number in range(3)
        ]
        assert statuses == [400, 429, 429]

    def test_app_sees_the_peer_as_before(self, world: World) -> None:
        site = world.serve(trusted_proxies=["127.0.0.0/8"])
        site.get("/", {"x-forwarded-for": "203.0.113.7"}, **at(world, "127.0.0.1"))
        (seen,) = site.seen
        assert "203.0.113.7" not in repr(
            seen.carrier.get("client", seen.carrier.get("REMOTE_ADDR"))
        )

    def test_networks_of_tokens_are_those_of_clients(self, world: World) -> None:
        """Tokens for cookies that no adapter can verify are counted for the client's network."""
        backend = MemoryBackend(clock=world.clock)
        owners: list[str] = []
        put = backend.put
        backend.put = lambda *a, owner, **k: (owners.append(owner), put(*a, owner=owner, **k))[1]  # type: ignore[method-assign]
        site = world.serve(session="sid", backend=backend, trusted_proxies=["10.0.0.0/8"])
        for client in ("203.0.113.7", "203.0.113.8"):
            headers = {"cookie": "sid=some-value", "x-forwarded-for": client}
            assert site.generate(headers, **at(world, "10.0.0.1")).status == 200
        assert len(set(owners)) == 2


class TestProxyThatIsNotDeclared:
    def warned(self, caplog: pytest.LogCaptureFixture) -> list[str]:
        return [r.getMessage() for r in main_lines(caplog) if "X-Forwarded-For" in r.getMessage()]

    def test_is_warned_of_once(self, world: World, caplog: pytest.LogCaptureFixture) -> None:
        site = world.serve(rate_limit="9/minute", trusted_proxies=["192.0.2.0/24"])
        for _ in range(3):
            site.open(f"/?ott={UNKNOWN}", {"x-forwarded-for": "203.0.113.7"})
        (line,) = self.warned(caplog)
        assert "trusted_proxies=" in line
        assert "203.0.113.7" not in line

    def test_layer_outside_that_told_the_client_is_not(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        site = world.serve(rate_limit="9/minute")
        headers = {"x-forwarded-for": "198.51.100.1, 203.0.113.7, 10.0.0.1"}
        site.open(f"/?ott={UNKNOWN}", headers, **at(world, "203.0.113.7"))
        assert not self.warned(caplog)

    def test_without_a_limit_is_not(self, world: World, caplog: pytest.LogCaptureFixture) -> None:
        for options in ({}, {"trusted_proxies": ["192.0.2.0/24"]}):
            site = world.serve(**options)
            site.open(f"/?ott={UNKNOWN}", {"x-forwarded-for": "203.0.113.7"})
        assert not self.warned(caplog)


class Slow(MemoryBackend):
    """Five more requests come in while it takes a token."""

    meanwhile: Callable[[], int] | None = None

    def take(self, key: str) -> bytes | None:
        ask, self.meanwhile = self.meanwhile, None
        if ask is not None:
            self.statuses: list[int] = []
            for _ in range(5):
                thread = threading.Thread(target=lambda: self.statuses.append(ask()))
                thread.start()
                thread.join()
        return super().take(key)


class TestShortTokens:
    def test_are_warned_of_once(self, world: World, caplog: pytest.LogCaptureFixture) -> None:
        site = world.serve(generate_token=short_tokens())
        alice = {"cookie": "sid=alice-cookie"}
        for _ in range(3):
            assert site.generate(alice).status == 200
        (line,) = [record.getMessage() for record in main_lines(caplog)]
        assert "6 characters" in line
        assert "pass rate_limit=" in line

    @pytest.mark.parametrize(("length", "limit"), [(SHORT, None), (SHORT - 1, "9/minute")])
    def test_of_enough_characters_or_with_a_limit_are_not(
        self, world: World, caplog: pytest.LogCaptureFixture, length: int, limit: str | None
    ) -> None:
        site = world.serve(generate_token=lambda *_: "x" * length, rate_limit=limit)
        assert site.generate({"cookie": "sid=alice-cookie"}).status == 200
        assert not main_lines(caplog)

    def guess(self, world: World, site: Site, guesses: int, *, first: int = 0) -> Counter[int]:
        """Guess once from each of so many clients."""
        return Counter(
            verify(site, str(number), world, f"198.51.{number // 250}.{number % 250}").status
            for number in range(first, first + guesses)
        )

    def test_clients_that_missed_are_held_back(self, world: World) -> None:
        site = world.serve(generate_token=short_tokens(), rate_limit="9/minute")
        token, other, late = (site.token() for _ in range(3))
        assert self.guess(world, site, 99) == {400: 99}
        # One less than the bound: a client that missed may try again.
        assert verify(site, "999", world, "198.51.0.1").status == 400
        world.clock.forward(20)
        refused = verify(site, token, world, "198.51.0.1")
        assert (refused.status, refused.header("retry-after")) == (429, "40")
        # A client without a miss is never held back, and a long token never is.
        assert verify(site, token, world, "203.0.113.7").status == 200
        assert verify(site, UNKNOWN, world, "198.51.0.1").status == 400
        # The token that was held back was not taken.
        assert verify(site, other, world, "198.51.0.2").status == 429
        assert verify(site, other, world, "203.0.113.7").status == 200
        world.clock.forward(40)
        assert verify(site, late, world, "198.51.0.1").status == 200

    def test_guesses_at_one_moment(self, world: World) -> None:
        """A client sends all guesses that its rate allows before the first one has missed."""
        backend, client = Slow(clock=world.clock), "203.0.113.7"
        site = world.serve(generate_token=short_tokens(), rate_limit="9/minute", backend=backend)
        self.guess(world, site, 100)
        backend.meanwhile = lambda: verify(site, "998", world, client).status
        assert verify(site, "999", world, client).status == 400
        assert backend.statuses == [429] * 5
        # One that is over holds back no other.
        world.clock.forward(60)
        self.guess(world, site, 100)
        assert verify(site, site.token(), world, client).status == 200

    def test_misses_of_long_tokens_do_not_count(self, world: World) -> None:
        site = world.serve(generate_token=short_tokens(), rate_limit="1000/minute")
        token = site.token()
        for _ in range(150):
            assert site.verify(UNKNOWN).status == 400
        assert site.verify(token).status == 200

    def test_token_for_another_site_is_no_miss(self, world: World) -> None:
        site = world.serve(generate_token=short_tokens(), rate_limit="1000/minute")
        for _ in range(101):
            token = site.token(audience="https://b.example")
            assert site.verify(token).status == 400
        assert site.verify(site.token()).status == 200

    def test_are_not_held_back_without_a_limit(self, world: World) -> None:
        site = world.serve(generate_token=short_tokens())
        assert {site.verify("999").status for _ in range(150)} == {400}


class Broken:
    """Windows that fail while they are told to."""

    blocks = False

    def __init__(self, windows: MemoryWindows) -> None:
        self.windows = windows
        self.fails = True

    def now(self) -> float:
        return self.windows.now()

    def acquire_entry(self, *args: Any) -> bool:
        if self.fails:
            raise ConnectionError("redis://user:password@host")
        return self.windows.acquire_entry(*args)

    def get_moving_window(self, *args: Any) -> tuple[float, int]:
        return self.windows.get_moving_window(*args)


class TestStoreThatFails:
    def broken(self, site: Site, world: World) -> Broken:
        windows = Broken(MemoryWindows(world.clock))
        site.flow.services.rate_limit._windows = windows
        return windows

    def test_long_tokens_are_redeemed(self, world: World, caplog: pytest.LogCaptureFixture) -> None:
        site = world.serve(rate_limit="1/minute")
        windows = self.broken(site, world)
        for _ in range(3):
            assert site.verify(site.token()).status == 200
        (line,) = [record.getMessage() for record in main_lines(caplog)]
        assert "ConnectionError" in line
        assert "password" not in line
        windows.fails = False
        assert [site.verify(UNKNOWN).status for _ in range(2)] == [400, 429]
        windows.fails = True
        assert site.verify(UNKNOWN).status == 400
        assert len(main_lines(caplog)) == 2

    def test_short_tokens_are_not(self, world: World, caplog: pytest.LogCaptureFixture) -> None:
        site = world.serve(generate_token=short_tokens(), rate_limit="1/minute")
        token = site.token()
        windows = self.broken(site, world)
        refused = site.verify(token)
        assert (refused.status, refused.code) == (503, "BACKEND_UNAVAILABLE")
        windows.fails = False
        assert site.verify(token).status == 200

    def test_miss_that_cannot_be_counted(self, world: World) -> None:
        site = world.serve(generate_token=short_tokens(), rate_limit="9/minute")
        windows = self.broken(site, world)
        windows.fails = False
        take = site.flow.tokens.backend.take

        def failing(key: str) -> bytes | None:
            windows.fails = True
            value: bytes | None = take(key)
            return value

        site.flow.tokens.backend.take = failing
        fresh = world.serve(
            backend=site.flow.tokens.backend, rate_limit="9/minute", session=site.members
        )
        fresh.flow.services.rate_limit._windows = windows
        assert fresh.verify("999").status == 400


class TestMemoryWindows:
    def test_size_has_a_limit(self, world: World) -> None:
        windows = MemoryWindows(world.clock, most=100)
        for number in range(1000):
            assert windows.acquire_entry(f"client {number}", 2, 60)
            assert windows.acquire_entry("busy", 10_000, 60)
        assert windows._size == sum(map(len, windows._entries.values())) <= 100

    @pytest.mark.usefixtures("untraced")
    def test_memory_of_many_clients(self, world: World) -> None:
        """A client has many addresses, and tries once from each."""
        windows = MemoryWindows(world.clock)
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            for number in range(10_000):
                windows.acquire_entry(f"{number:022}:60", 20, 60)
                if number % 1000 == 0:
                    world.clock.forward(0.001)
            each = (tracemalloc.get_traced_memory()[0] - before) / 10_000
        finally:
            tracemalloc.stop()
        assert each * windows._most < 150e6

    def test_expired_entries_make_way(self, world: World) -> None:
        windows = MemoryWindows(world.clock)
        for number in range(1000):
            windows.acquire_entry(f"client {number}", 2, 60)
        world.clock.forward(60)
        for number in range(600):
            windows.acquire_entry(f"another {number}", 2, 60)
        assert windows._size == len(windows._entries) == 600

    def test_clients_that_are_gone_are_forgotten(self, world: World) -> None:
        windows = MemoryWindows(world.clock)
        windows.acquire_entry("a", 1, 60)
        world.clock.forward(60)
        assert windows.get_moving_window("a", 1, 60) == (world.clock(), 0)
        assert (windows._size, len(windows._entries)) == (0, 0)

    def test_child_starts_with_none(self, world: World) -> None:
        windows = MemoryWindows(world.clock)
        windows.acquire_entry("a", 1, 60)
        windows.renew_after_fork()
        assert windows.acquire_entry("a", 1, 60)

    @pytest.mark.usefixtures("untraced")
    def test_threads_lose_no_count(self, world: World) -> None:
        windows = MemoryWindows(world.clock)
        won: list[bool] = []
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)

        def work() -> None:
            won.extend([windows.acquire_entry("a", 20_000, 60) for _ in range(5000)])

        threads = [threading.Thread(target=work) for _ in range(8)]
        try:
            for each in threads:
                each.start()
            for each in threads:
                each.join()
        finally:
            sys.setswitchinterval(interval)
        assert (len(won), sum(won)) == (40_000, 20_000)

    @pytest.mark.usefixtures("untraced")
    def test_fifty_threads_pass_the_limit_by_none(self, world: World) -> None:
        site = world.serve(rate_limit="20/minute")
        tokens = [site.token(person("alice")) for _ in range(10)]
        statuses: list[int] = []
        barrier = threading.Barrier(50)
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)

        def work(number: int) -> None:
            barrier.wait()
            token = tokens[number % 10] if number < 10 else UNKNOWN
            statuses.append(site.verify(token).status)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(50)]
        try:
            for each in threads:
                each.start()
            for each in threads:
                each.join()
        finally:
            sys.setswitchinterval(interval)
        assert statuses.count(429) == 30
        assert len(statuses) == 50


class TestRedis:
    """The backend's Redis counts for all workers: the limit is one over two middlewares."""

    @pytest.fixture
    def url(self) -> Iterator[str]:
        if not services.listens("Redis"):
            services.absent("there is no Redis")
        prefix = f"ott-limit-{uuid.uuid4().hex[:12]}"
        with ExitStack() as self.ends:
            yield f"{services.REDIS}?prefix={prefix}"
        client = redis.Redis.from_url(services.REDIS)
        for key in client.scan_iter(f"{{{prefix}}}*"):
            client.delete(key)
        client.close()

    def serve(self, world: World, url: str, **options: Any) -> Site:
        backend = RedisBackend(url, clock=world.clock)
        self.ends.callback(lambda: run(backend.aclose()))
        return world.serve(backend=backend, secret=SECRET, store_token="hashed", **options)

    def test_workers_count_together(self, world: World, url: str) -> None:
        one, two = (self.serve(world, url, rate_limit="3/minute") for _ in range(2))
        statuses = [site.verify(UNKNOWN).status for site in (one, two, one, two)]
        assert statuses == [400, 400, 400, 429]
        assert 55 < int(two.verify(UNKNOWN).header("retry-after") or 0) <= 60
        assert verify(two, UNKNOWN, world, "203.0.113.7").status == 400

    def test_time_passes(self, world: World, url: str) -> None:
        site = self.serve(world, url, rate_limit="1/minute")
        assert [site.verify(UNKNOWN).status for _ in range(2)] == [400, 429]
        with freeze_time(moment(time.time() + 60), ignore=["asyncio"]):
            assert site.verify(UNKNOWN).status == 400

    def test_keys_tell_no_address_and_end(self, world: World, url: str) -> None:
        site = self.serve(world, url, rate_limit="3/minute")
        verify(site, UNKNOWN, world, "203.0.113.7")
        client = redis.Redis.from_url(services.REDIS)
        prefix = url.partition("prefix=")[2]
        (key,) = client.scan_iter(f"{{{prefix}}}:limit*")
        assert b"203.0.113" not in key
        assert 0 < client.ttl(key) <= 60
        client.close()

    def test_short_tokens(self, world: World, url: str) -> None:
        site = self.serve(world, url, rate_limit="1000/minute", generate_token=short_tokens())
        for number in range(100):
            assert site.verify(str(number)).status == 400
        assert site.verify("999").status == 429
        assert verify(site, site.token(), world, "203.0.113.7").status == 200

    @pytest.mark.usefixtures("url")
    def test_that_is_gone(self, world: World, caplog: pytest.LogCaptureFixture) -> None:
        site = self.serve(world, "redis://127.0.0.1:1", rate_limit="1/minute")
        assert site.verify(UNKNOWN).code == "BACKEND_UNAVAILABLE"
        assert site.verify(UNKNOWN).code == "BACKEND_UNAVAILABLE"
        lines = [r.getMessage() for r in main_lines(caplog) if "rate_limit" in r.getMessage()]
        assert len(lines) == 1

    def test_child_has_a_pool_of_its_own(self, world: World, url: str) -> None:
        backend = RedisBackend(url)
        windows = RedisWindows(backend)
        assert windows.acquire_entry("a", 2, 60)
        first = windows._storage()
        assert windows._storage() is first
        backend._sync.renew_after_fork()  # type: ignore[union-attr]  # as in a child
        assert windows.acquire_entry("a", 2, 60)
        assert windows._storage() is not first
        assert not windows.acquire_entry("a", 2, 60)
        backend.close()

    def test_client_of_the_app(self, world: World, url: str) -> None:
        client = redis.Redis.from_url(services.REDIS, decode_responses=True)
        backend = RedisBackend(client, prefix=url.partition("prefix=")[2])
        site = world.serve(backend=backend, secret=SECRET, rate_limit="1/minute")
        assert [site.verify(UNKNOWN).status for _ in range(2)] == [400, 429]
        client.close()

    def test_async_client_alone_counts_in_memory(self) -> None:
        backend = RedisBackend(redis.asyncio.Redis())
        assert backend.pool is None
        assert isinstance(windows_of(backend, time.time), MemoryWindows)

    def test_another_backend_with_a_pool_counts_in_memory(self) -> None:
        class Pooled(MemoryBackend):
            pool = object()
            key_prefix = "shop"

        assert isinstance(windows_of(Pooled(), time.time), MemoryWindows)


class TestLibraryThatIsMissing:
    def test_error_names_the_extra(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "limits", None)
        with pytest.raises(ConfigurationError, match=r"pip install 'ott_middleware\[limits\]'"):
            world.serve(rate_limit="20/minute")
        assert world.serve().get("/", FETCH).status == 200
