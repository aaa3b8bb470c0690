from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from harness import (
    NOW,
    ORIGIN,
    BlockingMembers,
    Clock,
    Members,
    Reply,
    Seen,
    Site,
    WaitingMembers,
    World,
    call_view,
    person,
)

from ott_middleware import ConfigurationError, MemoryBackend
from ott_middleware.concurrency import is_async
from ott_middleware.errors import (
    BackendUnavailable,
    InvalidTarget,
    SessionUnavailable,
    Unauthorized,
)
from ott_middleware.flow.handle import Handle

ALICE = person("alice")
COOKIE = {"cookie": "sid=alice-cookie"}


class Run:
    """Runs something with a request's handle, and keeps what comes of it."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function
        self.outcome: Any = None

    def __call__(self, seen: Seen) -> Any:
        if is_async(self.function):
            return self.later(seen)
        return call_view(seen, self.now, seen)

    def now(self, seen: Seen) -> Reply:
        try:
            self.outcome = self.function(seen.ott)
        except Exception as error:
            self.outcome = error
        return Reply()

    async def later(self, seen: Seen) -> Reply:
        try:
            self.outcome = await self.function(seen.ott)
        except Exception as error:
            self.outcome = error
        return Reply()


def outcome(
    world: World, function: Callable[[Any], Any], headers: Any = COOKIE, **options: Any
) -> Any:
    run = Run(function)
    world.serve(run, **options).get("/page?x=1", headers)
    return run.outcome


def query_of(link: str) -> dict[str, list[str]]:
    return parse_qs(urlsplit(link).query)


# The session.


def test_session_is_resolved_when_asked_for_and_once(world: World) -> None:
    asked: list[int] = []
    members = Members(ALICE)

    def twice(handle: Any) -> Any:
        asked.append(len(members.asked))
        session = handle.session
        asked.append(len(members.asked))
        assert handle.session is session
        asked.append(len(members.asked))
        return session

    assert outcome(world, twice, session=members) == ALICE
    assert asked == [0, 1, 1]


def test_session_that_is_none_is_resolved_once(world: World) -> None:
    members = Members()

    async def thrice(handle: Any) -> Any:
        assert handle.session is None
        assert await handle.asession() is None
        return handle.session

    assert outcome(world, thrice, session=members) is None
    assert members.asked == ["current"]


def test_session_that_is_not_asked_for_costs_nothing(world: World) -> None:
    members = Members(ALICE)
    assert outcome(world, lambda handle: handle.redeemed, session=members) is None
    assert members.asked == []


@pytest.mark.parametrize("kind", [Members, BlockingMembers, WaitingMembers])
def test_asynchronous_view_may_always_await_it(kind: type[Members]) -> None:
    async def ask(handle: Any) -> Any:
        first = await handle.asession()
        assert handle.session is first
        return first

    assert outcome(World("asgi"), ask, session=kind(ALICE)) == ALICE


@pytest.mark.parametrize("kind", [BlockingMembers, WaitingMembers])
def test_adapter_that_must_wait_says_so_on_the_loop(kind: type[Members]) -> None:
    async def ask(handle: Any) -> Any:
        return handle.session

    error = outcome(World("asgi"), ask, session=kind(ALICE))
    assert isinstance(error, RuntimeError)
    assert "await asession()" in str(error)


def test_blocking_adapter_may_block_in_a_thread() -> None:
    async def ask(handle: Any) -> Any:
        return await asyncio.to_thread(lambda: handle.session)

    assert outcome(World("asgi"), ask, session=BlockingMembers(ALICE)) == ALICE


@pytest.mark.parametrize("kind", [Members, BlockingMembers, WaitingMembers])
def test_synchronous_view_just_asks(kind: type[Members]) -> None:
    assert outcome(World("wsgi"), lambda handle: handle.session, session=kind(ALICE)) == ALICE


def test_adapter_that_fails_is_unavailable_and_asked_again(world: World) -> None:
    class Fails(Members):
        def current(self, request: Any) -> Any:
            super().current(request)
            raise LookupError("alice-cookie")

    members = Fails()

    def ask(handle: Any) -> Any:
        for _ in range(2):
            with pytest.raises(SessionUnavailable) as caught:
                _ = handle.session
            assert "alice-cookie" not in str(caught.value)
        return "asked"

    assert outcome(world, ask, session=members) == "asked"
    assert members.asked == ["current", "current"]


def test_handle_is_slotted_and_the_request_s_own(world: World) -> None:
    handles: list[Any] = []

    def look(handle: Any) -> None:
        assert isinstance(handle, Handle)
        with pytest.raises(AttributeError):
            handle.anything = 1
        handles.append(handle)

    site = world.serve(Run(look))
    site.get("/", COOKIE)
    site.get("/", {"cookie": "sid=bob-cookie"})
    assert [handle.session.user_id for handle in handles] == ["alice", "bob"]
    assert handles[0].request.headers["cookie"] == "sid=alice-cookie"
    assert handles[0].request is handles[0].request


# Generating.


def site_of(world: World, function: Callable[[Any], Any], **options: Any) -> tuple[Site, Run]:
    run = Run(function)
    return world.serve(run, **options), run


def test_generate_makes_a_token_for_who_asks(world: World) -> None:
    site, run = site_of(world, lambda handle: handle.generate())
    site.get("/", COOKIE)
    assert site.verify(run.outcome).json()["session"]["userId"] == "alice"


def test_agenerate_makes_a_token_for_who_asks(world: World) -> None:
    async def make(handle: Any) -> Any:
        return await handle.agenerate()

    site, run = site_of(world, make)
    site.get("/", COOKIE)
    assert site.verify(run.outcome).json()["session"]["userId"] == "alice"


@pytest.mark.parametrize("waits", [False, True])
def test_token_that_the_app_does_not_get_is_a_variable_that_reporters_filter(
    world: World, waits: bool
) -> None:
    """Error reporters record local variables, and leave out those that are named `token`."""

    class FailsLater(Members):
        fails = False

        def current(self, request: Any) -> Any:
            if self.fails:
                raise LookupError
            return super().current(request)

    members, token = FailsLater(ALICE), "a-live-token-of-many-characters"

    def make_token(session: Any, context: Any) -> str:
        members.fails = True
        return token

    def ask(handle: Any) -> Any:
        handle.generate()

    async def ask_later(handle: Any) -> Any:
        await handle.agenerate()

    options = {"session": members, "generate_token": make_token, "revoke_on_sign_out": True}
    error = outcome(world, ask_later if waits else ask, **options)
    assert isinstance(error, SessionUnavailable)
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    found = [(name, each) for frame in frames for name, each in frame.f_locals.items()]
    assert {name for name, each in found if each == token} == {"token"}


def test_token_for_a_session_of_one_s_choice(world: World) -> None:
    members = Members(ALICE, person("bob"))
    site, run = site_of(world, lambda handle: handle.generate(person("bob")), session=members)
    site.get("/", COOKIE)
    assert members.asked == []  # who asks does not matter
    assert site.verify(run.outcome).json()["session"]["userId"] == "bob"

    async def make(handle: Any) -> Any:
        return await handle.agenerate(person("bob"))

    site, run = site_of(world, make)
    site.get("/")
    assert site.verify(run.outcome).json()["session"]["userId"] == "bob"


def test_visitor_without_session_gets_no_token(world: World) -> None:
    async def make(handle: Any) -> Any:
        return await handle.agenerate()

    for function in (lambda handle: handle.generate(), make):
        backend = MemoryBackend(clock=Clock(NOW))
        assert isinstance(outcome(world, function, {}, backend=backend), Unauthorized)
        assert len(backend) == 0


def test_disable_client_request_is_for_clients(world: World) -> None:
    site, run = site_of(world, lambda handle: handle.generate(), disable_client_request=True)
    assert site.generate(COOKIE).code == "CLIENT_REQUESTS_DISABLED"
    site.get("/", COOKIE)
    assert site.verify(run.outcome).status == 200


def test_life_and_audience_are_handed_on(world: World) -> None:
    def make(handle: Any) -> Any:
        return [handle.generate(expires_in=1, audience=ORIGIN) for _ in range(3)]

    site, run = site_of(world, make)
    site.get("/", COOKIE)
    first, second, third = run.outcome
    assert site.verify(first).status == 200
    elsewhere = site.verify(second, {"host": "other.example"})
    assert elsewhere.code == "INVALID_TOKEN"
    world.clock.forward(60)
    assert site.verify(third).code == "INVALID_TOKEN"


def test_generate_token_is_told_of_the_request(world: World) -> None:
    contexts: list[Any] = []

    def make(session: Any, context: Any) -> str:
        contexts.append(context)
        return f"token-{len(contexts)}"

    async def agenerate(handle: Any) -> Any:
        return await handle.agenerate()

    for function in (lambda handle: handle.generate(), agenerate):
        outcome(world, function, generate_token=make)
    for context in contexts:
        assert context.request.path == "/page"
        assert context.request.query == "x=1"
        assert context.channel == "handoff"
    assert len(contexts) == 2


class Slow(MemoryBackend):
    """Says that it may wait, and is asked in a thread."""

    blocks = True


@pytest.mark.parametrize("backend", [MemoryBackend, Slow])
def test_generate_and_link_are_refused_on_a_loop(world: World, backend: type[Any]) -> None:
    async def generate(handle: Any) -> Any:
        return handle.generate()

    async def link(handle: Any) -> Any:
        return handle.link(f"{ORIGIN}/")

    for function, name in ((generate, "generate"), (link, "link")):
        store = backend(clock=Clock(NOW))
        error = outcome(world, function, backend=store)
        assert type(error) is RuntimeError
        assert str(error).startswith(f"{name}() would hold up the event loop")
        assert f"await a{name}()" in str(error)
        assert len(store) == 0


def test_backend_that_must_wait_is_awaited_or_asked_in_a_thread() -> None:
    async def in_thread(handle: Any) -> Any:
        return await asyncio.to_thread(handle.generate)

    async def awaited(handle: Any) -> Any:
        return await handle.agenerate()

    assert len(outcome(World("asgi"), in_thread, backend=Slow(clock=Clock(NOW)))) == 32
    assert len(outcome(World("asgi"), awaited, backend=Slow(clock=Clock(NOW)))) == 32
    assert len(outcome(World("wsgi"), lambda h: h.generate(), backend=Slow(clock=Clock(NOW)))) == 32


def test_adapter_that_waits_does_not_matter_where_it_is_not_asked() -> None:
    async def make(handle: Any) -> Any:
        return await asyncio.to_thread(handle.generate, ALICE)

    assert len(outcome(World("asgi"), make, session=WaitingMembers(ALICE))) == 32


def test_backend_that_fails_is_told_to_the_app(world: World) -> None:
    class Broken(MemoryBackend):
        def put(self, *args: Any, **more: Any) -> None:
            raise ConnectionError

    assert isinstance(
        outcome(world, lambda h: h.generate(), backend=Broken(clock=Clock(NOW))), BackendUnavailable
    )


# Links.


def test_link_carries_a_token_that_is_good_at_its_origin_alone(world: World) -> None:
    target = "https://b.example/welcome?a=1&ott=old&b=%20#part"
    site, run = site_of(world, lambda h: h.link(target), handoff_targets=["https://b.example"])
    for audience, status in (("https://b.example", 200), (ORIGIN, 400)):
        site.get("/", COOKIE)
        link = run.outcome
        (token,) = query_of(link)["ott"]
        assert link == f"https://b.example/welcome?a=1&b=%20&ott={token}#part"
        answer = site.verify(token, audience=audience)
        assert answer.status == status


def test_alink_is_the_same(world: World) -> None:
    async def make(handle: Any) -> Any:
        return await handle.alink("https://b.example/", expires_in=1)

    site, run = site_of(world, make, handoff_targets=["https://b.example"])
    site.get("/", COOKIE)
    (token,) = query_of(run.outcome)["ott"]
    assert site.verify(token, audience="https://b.example").status == 200


def test_own_origin_is_always_a_target(world: World) -> None:
    site, run = site_of(world, lambda h: h.link(f"{ORIGIN}/next"))
    site.get("/", COOKIE)
    opened = site.open(run.outcome.removeprefix(ORIGIN))
    assert (opened.status, opened.location) == (303, "./next")


def test_audience_of_another_origin_is_refused(world: World) -> None:
    def make(handle: Any) -> Any:
        return handle.link("https://b.example/", audience="https://c.example")

    error = outcome(world, make, handoff_targets=["https://b.example", "https://c.example"])
    assert isinstance(error, InvalidTarget)
    assert "audience" in str(error)


def test_parameter_has_the_name_that_was_chosen(world: World) -> None:
    link = outcome(world, lambda h: h.link(f"{ORIGIN}/"), query_param="key")
    assert list(query_of(link)) == ["key"]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/welcome",
        "welcome",
        "//b.example/",
        "https://evil.example/",
        "https://b.example.evil.example/",
        "https://b.example:8443/",
        "http://b.example/",
        "https://b.example@evil.example/",
        "https://user:pw@b.example/",
        "https:\\\\b.example/",
        "https://b.example\\@evil.example/",
        "https://evil.example\\@b.example/",
        "https://b.example\n/",
        "https://b.example/\r\nSet-Cookie: a=b",
        "javascript:alert(1)//https://b.example/",
        "data:text/html,https://b.example",
        " https://b.example/",
        "https://b.example\u202e/",
        "https://",
    ],
)
def test_link_points_nowhere_else(world: World, url: str) -> None:
    async def alink(handle: Any) -> Any:
        return await handle.alink(url)

    for function in (lambda handle: handle.link(url), alink):
        backend = MemoryBackend(clock=Clock(NOW))
        error = outcome(world, function, backend=backend, handoff_targets=["https://b.example"])
        assert isinstance(error, InvalidTarget)
        assert len(backend) == 0


def test_handoff_targets_stand_instead_of_trusted_origins(world: World) -> None:
    options: dict[str, Any] = {
        "trusted_origins": ["https://b.example"],
        "handoff_targets": ["https://c.example"],
    }
    error = outcome(world, lambda h: h.link("https://b.example/"), **options)
    assert isinstance(error, InvalidTarget)
    assert outcome(world, lambda h: h.link("https://c.example/"), **options).startswith("https://c")


def test_link_is_refused_where_links_are_off(world: World) -> None:
    error = outcome(world, lambda h: h.link(f"{ORIGIN}/"), query_param=None)
    assert isinstance(error, ConfigurationError)


# A request that redeemed.


def test_call_that_redeemed_knows(world: World) -> None:
    members = Members(ALICE)

    def look(handle: Any) -> Any:
        return handle.redeemed, handle.session, handle.request.cookies("sid"), handle.request.query

    site, run = site_of(world, look, session=members)
    site.fetch(f"/page?ott={site.token(ALICE)}&a=1")
    assert run.outcome == ("handoff", ALICE, ["alice-cookie"], "a=1")
    assert members.asked.count("current") == 1  # before anything was taken


def test_call_that_redeemed_can_hand_on(world: World) -> None:
    site, run = site_of(world, lambda handle: handle.generate())
    site.fetch(f"/page?ott={site.token(ALICE)}")
    assert site.verify(run.outcome).json()["session"]["userId"] == "alice"


def test_request_that_did_not_redeem_knows(world: World) -> None:
    site, run = site_of(world, lambda handle: (handle.redeemed, handle.session))
    site.get(f"/?ott={site.token(ALICE)}", {"sec-fetch-mode": "no-cors"})
    assert run.outcome == (None, None)


def test_repr_tells_no_secret(world: World) -> None:
    def show(handle: Any) -> Any:
        _ = handle.session
        return f"{handle!r} {handle.request!r} {handle.session!r}"

    shown = outcome(world, show, {**COOKIE, "authorization": "Bearer secret"})
    assert "alice-cookie" not in shown
    assert "Bearer" not in shown
