"""`revoke_on_sign_out`: an answer of the app that ends a session revokes its live tokens."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from harness import (
    NOW,
    SECRET,
    Clock,
    Members,
    Reply,
    Seen,
    Site,
    WaitingMembers,
    World,
    call_wsgi,
    main_lines,
    make_environ,
    person,
    set_cookie,
)
from sessions.club import ClubSession

from ott_middleware import (
    Backend,
    ConfigurationError,
    CookieSession,
    MemoryBackend,
    OneTimeTokens,
    SealedSession,
    Session,
    WSGIMiddleware,
)
from ott_middleware.context import PROBE
from ott_middleware.errors import NotSupported, SessionUnavailable
from ott_middleware.http import Request
from ott_middleware.sessions import FrameworkSession
from ott_middleware.sessions.framework import session_id
from ott_middleware.tokens.names import COUNTED

GONE = set_cookie("sid", "", max_age=0)


@dataclass
class House:
    """A site with a way in and out of its own kind.

    :ivar site: answers `/out` by ending the session, `/switch` by signing in Bob, all else calmly.
    :ivar alice: what the browser of somebody sends who is signed in.
    """

    site: Site
    alice: dict[str, str]

    def token(self) -> str:
        return str(self.site.generate(self.alice).json()["token"])

    def lives(self, token: str) -> bool:
        """Whether the backend still has it; whatever the session says."""
        answer = self.site.verify(token)
        return answer.status == 200 or answer.code != "INVALID_TOKEN"


def cookie_house(world: World, **options: Any) -> House:
    """An app whose sessions are in a table, deleted there at sign-out, and the cookie too."""
    live = {"a": "alice", "b": "bob"}

    def app(seen: Seen) -> Reply:
        if seen.path == "/out":
            live.pop(seen.cookies["sid"])
            return Reply(200, [GONE])
        return Reply(200, [set_cookie("sid", "b")] if seen.path == "/switch" else [])

    def validate(values: Any) -> Any:
        user = live.get(values["sid"])
        return user and {"user_id": user, "id": f"session-{values['sid']}"}

    session = CookieSession("sid", validate=validate, renews_key=True)
    site = world.serve(app, session=session, revoke_on_sign_out=True, **options)
    return House(site, {"cookie": "sid=a"})


def silent_house(world: World, **options: Any) -> House:
    """The same, but the browser keeps its cookie: only the server knows."""
    club = ClubSession()
    alice = club.sign_in("1")

    def app(seen: Seen) -> Reply:
        session = club.store.sessions["key-00000000"]
        session["user"] = {"/out": None, "/switch": "2"}.get(seen.path, session["user"])
        return Reply()

    site = world.serve(app, session=club, revoke_on_sign_out=True, **options)
    return House(site, alice)


class Baked(FrameworkSession):
    """Sessions that are the cookie: a JSON text, which is new at every answer."""

    kind = "baked"
    blocks = False
    cookie_names = ("baked",)

    def secrets(self) -> Any:
        return ["the baker's"]

    def current(self, request: Request) -> Session | None:
        for value in request.cookies("baked"):
            user, _, _ = value.partition("-")
            return self._session(user, value)
        return None

    def _session(self, user: str, value: str) -> Session:
        return Session(id=session_id(self.kind, user), token=value, user_id=user)

    def alive(self, session: Session) -> Session | None:
        return session

    def share(self, session: Session, request: Request) -> Any:
        return [set_cookie_of(session.token)]


def set_cookie_of(value: str) -> Any:
    return ClubSession().attributes.cookie("baked", value)


def baked_house(world: World, **options: Any) -> House:
    turns = iter(range(1000))

    def app(seen: Seen) -> Reply:
        if seen.path == "/out":
            return Reply(200, [set_cookie("baked", "", max_age=0)])
        user = "bob" if seen.path == "/switch" else "alice"
        return Reply(200, [set_cookie("baked", f"{user}-{next(turns)}")])

    site = world.serve(app, session=Baked(), revoke_on_sign_out=True, **options)
    return House(site, {"cookie": "baked=alice-x"})


def sealed_house(world: World, **options: Any) -> House:
    async def app(seen: Seen) -> Reply:
        await seen.ott.asession()
        if seen.path == "/out":
            seen.ott.sign_out()
        elif seen.path == "/switch":
            seen.ott.sign_in("bob")
        return Reply()

    adapter = SealedSession(SECRET, clock=world.clock)
    site = world.serve(app, session=adapter, revoke_on_sign_out=True, **options)
    return House(site, {"cookie": f"ott_session={adapter.start('alice', remember=True).token}"})


Build = Callable[..., House]


@pytest.fixture(params=[cookie_house, silent_house, baked_house, sealed_house])
def build(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def house(build: Build, world: World) -> House:
    return build(world)


@pytest.mark.parametrize("way", ["/out", "/switch"])
def test_tokens_of_a_session_that_ends_are_revoked(house: House, way: str) -> None:
    tokens = [house.token() for _ in range(3)]
    house.site.get(way, house.alice)
    assert [house.lives(token) for token in tokens] == [False] * 3


def test_tokens_of_others_stay(world: World) -> None:
    house = cookie_house(world)
    other = house.site.generate({"cookie": "sid=b"}).json()["token"]
    house.site.get("/out", house.alice)
    assert house.lives(other)


def test_other_response_revokes_nothing(house: House) -> None:
    token = house.token()
    assert house.site.get("/page", house.alice).status == 200
    assert house.lives(token)


def test_tokens_stay_without_the_option(world: World, build: Build) -> None:
    house = build(world)
    plain = world.serve(
        house.site._app, session=house.site.members, backend=house.site.flow.tokens.backend
    )
    token = house.token()
    plain.get("/switch", house.alice)
    assert house.lives(token)


def test_handle_s_sign_out_asks_once(world: World) -> None:
    class Counting(MemoryBackend):
        calls = 0

        def revoke(self, owner: str) -> int:
            self.calls += 1
            return super().revoke(owner)

    backend = Counting(clock=world.clock)
    house = sealed_house(world, backend=backend)
    house.site.get("/out", house.alice)
    # One owner for each channel, and two for what clients and the middleware itself ask for.
    assert backend.calls == len(COUNTED)


@pytest.mark.parametrize("headers", [{}, {"cookie": "other=1"}, {"cookie": "sid=dead"}])
def test_visitor_without_session_has_nothing_to_revoke(
    world: World, headers: dict[str, str]
) -> None:
    house = cookie_house(world)
    token = house.token()
    assert house.site.get("/switch", headers).status == 200
    assert house.lives(token)


# A request that redeemed a token.


@pytest.mark.parametrize("mode", ["share", "fork"])
def test_call_that_redeems_and_signs_out(world: World, mode: str) -> None:
    club = ClubSession()
    alice = club.sign_in("1")
    house: dict[str, Any] = {}

    async def app(seen: Seen) -> Reply:
        if seen.path == "/out":
            house["here"] = await seen.ott.agenerate()
            club.store.sessions.popitem()
            return Reply(200, [set_cookie("club", "", max_age=0)])
        return Reply()

    backend = MemoryBackend(clock=world.clock)
    source = world.serve(session=club, backend=backend)
    session = ClubSession(club.store, mode=mode)
    site = world.serve(app, session=session, backend=backend, revoke_on_sign_out=True)
    redeemed, other = (source.generate(alice).json()["token"] for _ in range(2))
    answer = site.fetch(f"/out?ott={redeemed}")
    assert (answer.status, answer.cookies) == (200, {"club": ""})
    assert site.verify(house["here"]).code == "INVALID_TOKEN"
    # In a fork the session that ended is this side's own: the one at the source lives on.
    assert site.verify(other).status == (400 if mode == "share" else 200)


def test_call_that_redeems_and_stays(world: World) -> None:
    house = cookie_house(world)
    token, other = house.token(), house.token()
    assert house.site.fetch(f"/page?ott={token}").cookies == {"sid": "a"}
    assert house.lives(other)


def test_link_that_left_another_user_signed_in_is_watched_too(world: World) -> None:
    house = cookie_house(world, on_switch="keep")
    other = house.site.generate({"cookie": "sid=b"}).json()["token"]
    token = house.token()
    # Kept signed in as Alice, whom the answer then signs out.
    house.site.fetch(f"/out?ott={other}", house.alice)
    assert not house.lives(token)


def test_new_sign_in_is_offered_a_token_though_the_old_one_s_are_revoked(world: World) -> None:
    house = cookie_house(world, set_ott_header_on_new_session=True)
    token = house.token()
    offered = house.site.get("/switch", house.alice).header("set-ott")
    assert not house.lives(token)
    assert house.site.verify(offered).json()["session"]["userId"] == "bob"


# What is asked, and when.


def test_session_is_asked_for_before_and_after(world: World) -> None:
    for members in (Members(person("alice")), WaitingMembers(person("alice"))):
        site = world.serve(session=members, revoke_on_sign_out=True)
        site.get("/", {"cookie": "sid=alice-cookie"})
        assert members.asked == ["current", "current"]
        site.get("/")
        site.get("/", {"cookie": "sid=dead"})
        assert members.asked == ["current"] * 3


def test_requests_pass_at_once_unless_the_option_is_on(world: World) -> None:
    for on in (False, True):
        site = world.serve(revoke_on_sign_out=on)
        assert site.flow.services.watches_responses == on
        site.get("/", {"cookie": "sid=alice-cookie"})
        assert bool(site.members.asked) == on


def test_probe_of_another_layer_is_no_visit(world: World) -> None:
    site = world.serve(revoke_on_sign_out=True)
    site.get("/", {"cookie": "sid=alice-cookie"}, carrier={PROBE: True})
    assert site.members.asked == []


def test_unknown_user_s_new_cookie_ends_nothing(world: World) -> None:
    def app(seen: Seen) -> Reply:
        return Reply(200, [GONE if seen.path == "/out" else set_cookie("sid", "signed-anew")])

    site = world.serve(
        app, session=CookieSession("sid", validate=lambda values: {}), revoke_on_sign_out=True
    )
    token = site.generate({"cookie": "sid=signed"}).json()["token"]
    site.get("/", {"cookie": "sid=signed"})
    assert site.verify(token).status == 200
    token = site.generate({"cookie": "sid=signed"}).json()["token"]
    site.get("/out", {"cookie": "sid=signed"})
    assert site.verify(token).code == "INVALID_TOKEN"


def test_probed_app_is_asked_as_well(world: World) -> None:
    live = ["a"]

    def app(seen: Seen) -> Reply:
        if seen.path == "/out":
            live.clear()
        signed_in = seen.cookies.get("sid") in live
        return Reply(200 if signed_in or seen.path == "/out" else 401, (), b'{"id": "1"}')

    site = world.serve(app, session=CookieSession("sid", probe="/me"), revoke_on_sign_out=True)
    token = site.generate({"cookie": "sid=a"}).json()["token"]
    site.get("/page", {"cookie": "sid=a"})
    site.get("/out", {"cookie": "sid=a"})
    assert site.verify(token).code == "INVALID_TOKEN"


# An answer that begins anew (PEP 3333: start_response with exc_info).


@pytest.mark.parametrize("out_first", [True, False])
def test_answer_that_begins_twice(out_first: bool) -> None:
    clock = Clock(NOW)

    def app(environ: Any, start_response: Any) -> Any:
        answers = [("200 OK", [GONE]), ("500 Oh", [])]
        if environ["PATH_INFO"] == "/out":
            (one, one_headers), (two, two_headers) = answers if out_first else answers[::-1]
            start_response(one, list(one_headers))
            try:
                raise LookupError
            except LookupError as error:
                start_response(two, list(two_headers), (LookupError, error, None))
        else:
            start_response("200 OK", [])
        return [b""]

    backend = MemoryBackend(clock=clock)
    site = WSGIMiddleware(
        app, session=Members(person("alice")), backend=backend, revoke_on_sign_out=True
    )
    token = site.flow.tokens.generate(person("alice"))
    answer = call_wsgi(site, make_environ("GET", "/out", {"cookie": "sid=alice-cookie"}))
    assert answer.status == (500 if out_first else 200)
    assert len(backend) == 0
    assert token


# Failures: the app's answer goes out as it is.


@pytest.mark.parametrize("fails_at", [1, 2])
@pytest.mark.parametrize("waits", [False, True])
def test_adapter_that_fails_is_logged_and_revokes_nothing(
    world: World, fails_at: int, waits: bool, caplog: pytest.LogCaptureFixture
) -> None:
    base: Any = WaitingMembers if waits else Members

    class Failing(base):  # type: ignore[misc]  # either of the two
        def current(self, request: Request) -> Any:
            if len(self.asked) + 1 == fails_at:
                self.asked.append("current")
                raise LookupError("alice-cookie")
            return super().current(request)

    def out(seen: Seen) -> Reply:
        return Reply(200, [GONE], b"bye")

    backend = MemoryBackend(clock=world.clock)
    members = Failing(person("alice"))
    members.suspends = waits
    site = world.serve(out, session=members, backend=backend, revoke_on_sign_out=True)
    site.token()
    answer = site.get("/", {"cookie": "sid=alice-cookie"})
    assert (answer.status, answer.body, answer.cookies) == (200, b"bye", {"sid": ""})
    (record,) = main_lines(caplog)
    assert record.levelno == logging.ERROR
    assert "LookupError" in record.getMessage()
    assert "alice-cookie" not in caplog.text
    assert len(backend) == 1


class Broken(MemoryBackend):
    """One that fails when it is to revoke."""

    def __init__(self, clock: Clock, error: Exception) -> None:
        super().__init__(clock=clock)
        self._error = error

    def revoke(self, owner: str) -> int:
        raise self._error


@pytest.mark.parametrize("error", [ConnectionError("password"), NotSupported("it can't")])
def test_backend_that_fails_is_logged(
    world: World, build: Build, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    house = build(world, backend=Broken(world.clock, error))
    token = house.token()
    assert house.site.get("/switch", house.alice).status == 200
    (record,) = main_lines(caplog)
    assert record.levelno == logging.ERROR
    assert record.getMessage().startswith("tokens not revoked at sign-out: ")
    assert "password" not in caplog.text
    assert token


# What can be known when the app is wrapped.


class PutTake:
    def put(self, key: str, value: bytes, *, expires_at: float) -> None: ...

    def take(self, key: str) -> None: ...


class Derived(Backend):
    def put(self, key: str, value: bytes, **how: Any) -> None: ...

    def take(self, key: str) -> None: ...


@pytest.mark.parametrize("backend", [PutTake(), Derived()], ids=lambda each: type(each).__name__)
def test_backend_that_cannot_revoke_is_refused(world: World, backend: Any) -> None:
    name = type(backend).__name__
    with pytest.raises(ConfigurationError, match=f"revoke_on_sign_out: True, but {name} can't"):
        world.serve(backend=backend, revoke_on_sign_out=True)
    tokens = OneTimeTokens(backend, sessions=Members())
    with pytest.raises(ConfigurationError, match="revoke_on_sign_out: True, but"):
        world.serve(tokens=tokens, revoke_on_sign_out=True)
    world.serve(backend=backend)


def test_backends_know_whether_they_can_revoke() -> None:
    class InThread(Derived):
        async def arevoke(self, owner: str) -> int:
            return 0

    assert MemoryBackend().can_revoke
    assert InThread().can_revoke
    assert not Derived().can_revoke


def test_token_service_of_one_s_own_is_asked_when_it_matters(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    class Service:
        """Speaks of no backend."""

        def __init__(self) -> None:
            self.inner = OneTimeTokens(MemoryBackend(clock=world.clock), sessions=Members())

        def __getattr__(self, name: str) -> Any:
            if name in ("backend", "clock", "blocks"):
                raise AttributeError(name)
            return getattr(self.inner, name)

        def revoke(self, session_id: str) -> int:
            raise SessionUnavailable(session_id)

        async def arevoke(self, session_id: str) -> int:
            return self.revoke(session_id)

    def out(seen: Seen) -> Reply:
        return Reply(200, [GONE])

    alice = person("alice", expires_at=None)
    site = world.serve(out, session=Members(alice), tokens=Service(), revoke_on_sign_out=True)
    assert site.get("/", {"cookie": "sid=alice-cookie"}).cookies == {"sid": ""}
    assert "tokens not revoked at sign-out" in caplog.text


def test_handle_sees_the_session_that_is_about_to_end(world: World) -> None:
    async def app(seen: Seen) -> Reply:
        session = await seen.ott.asession()
        return Reply(200, [GONE], json.dumps(session.user_id).encode())

    site = world.serve(app, revoke_on_sign_out=True)
    token = site.token()
    assert site.get("/", {"cookie": "sid=alice-cookie"}).json() == "alice"
    assert site.verify(token).code == "INVALID_TOKEN"
    assert asyncio.run(site.flow.tokens.arevoke("session-of-alice")) == 0
