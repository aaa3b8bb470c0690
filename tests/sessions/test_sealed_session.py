from __future__ import annotations

import asyncio
import copy
import json
import logging
import pickle
import threading
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from harness import (
    NOW,
    SECRET,
    Clock,
    Reply,
    Seen,
    Site,
    World,
    main_lines,
    make_environ,
    make_scope,
    moment,
    person,
)
from hypothesis import example, given
from hypothesis import strategies as st

from ott_middleware import (
    ASGIMiddleware,
    ConfigurationError,
    MemoryBackend,
    OneTimeTokens,
    SealedSession,
    Session,
    WSGIMiddleware,
)
from ott_middleware.errors import InvalidToken
from ott_middleware.http import Request

OLD_SECRET = "an older one, of thirty-five letters"
TWO_WEEKS = 14 * 86400


def request(cookie: str | None = None, name: str = "ott_session") -> Request:
    headers = {} if cookie is None else {"cookie": f"{name}={cookie}"}
    return Request("GET", "http", "/", headers=headers)


@pytest.fixture
def clock() -> Clock:
    return Clock(NOW)


@pytest.fixture
def sealed(clock: Clock) -> SealedSession:
    return SealedSession(SECRET, clock=clock)


def signed_in(adapter: SealedSession, user: Any = "alice", remember: bool = True) -> str:
    """The value of the cookie."""
    return adapter.start(user, remember=remember).token


# The cookie.


def test_session_comes_back_from_its_cookie(sealed: SealedSession) -> None:
    user = {"id": 7, "name": "Zoë", "roles": ["admin"]}
    started = sealed.start(user, remember=False)
    session = sealed.current(request(started.token))
    assert session == started
    assert session.user_id == "7"
    assert session.user == user
    assert session.created_at == moment(NOW)
    assert session.expires_at == moment(NOW) + timedelta(days=14)
    assert session.persistent is False


def test_cookie_tells_nothing(sealed: SealedSession) -> None:
    value = signed_in(sealed, {"id": "alice", "name": "Liddell"})
    assert value.isascii()
    for shown in ("alice", "Liddell", "expires"):
        assert shown not in value
    session = sealed.current(request(value))
    assert value not in repr(session)
    assert "Liddell" not in repr(session)


@pytest.mark.parametrize("field", ["user", "data"])
def test_role_that_is_withdrawn_before_the_response_is_in_no_cookie(
    sealed: SealedSession, field: str
) -> None:
    roles = ["admin"]
    arrived = replace(person("alice"), **{field: {"id": "alice", "roles": roles}})
    session = sealed.resolve(arrived)
    roles.clear()
    (cookie,) = sealed.establish(session, request())
    found = sealed.current(request(cookie.value))
    assert found is not None
    assert getattr(found, field)["roles"] == []


@pytest.mark.parametrize("again", [copy.copy, lambda token: pickle.loads(pickle.dumps(token))])
def test_cookie_s_value_can_be_copied_and_pickled(sealed: SealedSession, again: Any) -> None:
    token = signed_in(sealed)
    assert (type(again(token)), again(token)) == (str, token)


def test_sessions_of_one_user_differ(sealed: SealedSession) -> None:
    first, second = sealed.start("alice", remember=True), sealed.start("alice", remember=True)
    assert first.id != second.id
    assert first.token != second.token


def test_cookie_with_a_changed_character_is_no_session(sealed: SealedSession) -> None:
    value = signed_in(sealed)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for place, character in enumerate(value):
        # The neighbour shares all bits but the lowest, which decoders may throw away at the end.
        for other in (
            alphabet[alphabet.index(character) ^ 1],
            alphabet[alphabet.index(character) ^ 32],
        ):
            forged = value[:place] + other + value[place + 1 :]
            assert sealed.current(request(forged)) is None, place
    for cut in range(len(value)):
        assert sealed.current(request(value[:cut])) is None


@pytest.mark.parametrize("extra", ["=", "==", "A", "AAAA", " x", "\xe9", '"', ".x"])
def test_cookie_that_is_longer_is_no_session(sealed: SealedSession, extra: str) -> None:
    value = signed_in(sealed)
    assert sealed.current(request(value + extra)) is None
    assert sealed.current(request(extra + value)) is None


def test_cookie_in_another_alphabet_is_no_session(clock: Clock) -> None:
    sealed = SealedSession(SECRET, clock=clock)
    seen = set()
    while seen != {"-", "_"}:
        value = signed_in(sealed)
        for mark, other in (("-", "+"), ("_", "/")):
            if mark in value:
                seen.add(mark)
                assert sealed.current(request(value.replace(mark, other))) is None


@given(st.text(st.characters(max_codepoint=255)))
@example("")
@example("AQ")
@example("A" * 22)
@example("AQ" + "A" * 60)
def test_cookie_of_any_other_value_is_no_session(value: str) -> None:
    assert SealedSession(SECRET).current(request(value)) is None


def test_cookie_is_good_under_its_own_name_only(clock: Clock) -> None:
    staff = SealedSession(SECRET, name="staff", clock=clock)
    value = signed_in(SealedSession(SECRET, name="guest", clock=clock))
    assert staff.current(request(value, name="staff")) is None


def test_cookie_under_a_foreign_secret_is_no_session(sealed: SealedSession, clock: Clock) -> None:
    value = signed_in(SealedSession(OLD_SECRET, clock=clock))
    assert sealed.current(request(value)) is None


def test_rotation_keeps_users_signed_in_and_seals_again(clock: Clock) -> None:
    value = signed_in(SealedSession(OLD_SECRET, clock=clock))
    rotated = SealedSession([SECRET, OLD_SECRET], clock=clock)
    session = rotated.current(request(value))
    assert session is not None
    (cookie,) = rotated.establish(session, request())
    after = SealedSession(SECRET, clock=clock)
    assert after.current(request(value)) is None
    again = after.current(request(cookie.value))
    assert again is not None
    assert (again.id, again.user) == (session.id, session.user)


def test_session_ends_with_its_lifetime(clock: Clock) -> None:
    adapter = SealedSession(SECRET, lifetime=timedelta(minutes=5), clock=clock)
    value = signed_in(adapter)
    clock.forward(299)
    assert adapter.current(request(value))
    clock.forward(1)
    assert adapter.current(request(value)) is None


def test_forged_or_ended_cookie_does_not_hide_a_good_one(
    sealed: SealedSession, clock: Clock
) -> None:
    dead = signed_in(SealedSession(SECRET, lifetime=1, clock=clock))
    good = signed_in(sealed)
    clock.forward(2)
    both = request(f"{dead}; ott_session=forged; ott_session={good}; ott_session=")
    session = sealed.current(both)
    assert session is not None
    assert session.token == good


def test_cookies_of_two_users_are_no_session(sealed: SealedSession) -> None:
    alice, mallory = signed_in(sealed, "alice"), signed_in(sealed, "mallory")
    assert sealed.current(request(f"{alice}; ott_session={mallory}")) is None
    assert sealed.current(request(f"{mallory}; ott_session={alice}")) is None
    again = signed_in(sealed, "alice")
    session = sealed.current(request(f"{alice}; ott_session={again}"))
    assert session is not None
    assert session.token == alice


# Beginning one.


@pytest.mark.parametrize("user", ["", {}, {"name": "Alice"}, {"id": ""}, {"id": None}])
def test_user_has_an_id(sealed: SealedSession, user: Any) -> None:
    with pytest.raises(ValueError, match="needs an id"):
        sealed.start(user, remember=True)


def test_user_is_no_larger_than_a_cookie(sealed: SealedSession) -> None:
    with pytest.raises(ValueError, match="carry less in the user"):
        sealed.start({"id": "alice", "x": "y" * 4000}, remember=True)
    largest = sealed.start({"id": "alice", "x": "y" * 2500}, remember=True)
    (cookie,) = sealed.establish(largest, request())
    assert len(cookie.header()[1]) <= 4096


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, object()])
def test_user_is_json(sealed: SealedSession, value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        sealed.start({"id": "alice", "x": value}, remember=True)


# Establishing one.


def test_arrival_is_sealed_with_this_site_s_secret(clock: Clock) -> None:
    here = SealedSession(SECRET, name="here", clock=clock)
    there = SealedSession(OLD_SECRET, name="there", clock=clock)
    session = there.start({"id": "alice", "name": "Alice"}, remember=True)
    clock.forward(100)
    (cookie,) = here.establish(here.resolve(session), request())
    assert cookie.name == "here"
    assert cookie.max_age == TWO_WEEKS - 100
    found = here.current(request(cookie.value, name="here"))
    assert found is not None
    assert (found.id, found.user) == (session.id, session.user)
    assert found.expires_at == session.expires_at


def test_arrival_of_unknown_end_gets_one(sealed: SealedSession, clock: Clock) -> None:
    endless = Session(id="s", token="elsewhere", user_id="alice")
    (cookie,) = sealed.establish(endless, request())
    assert cookie.max_age == TWO_WEEKS
    clock.forward(TWO_WEEKS)
    assert sealed.current(request(cookie.value)) is None


def test_session_that_is_not_remembered_gets_no_age(sealed: SealedSession) -> None:
    (cookie,) = sealed.establish(sealed.start("alice", remember=False), request())
    assert cookie.max_age is None


def test_max_age_stands_within_the_session(clock: Clock) -> None:
    adapter = SealedSession(SECRET, max_age=60, lifetime=100, clock=clock)
    session = adapter.start("alice", remember=True)
    (cookie,) = adapter.establish(session, request())
    assert cookie.max_age == 60
    clock.forward(70)
    (cookie,) = adapter.establish(session, request())
    assert cookie.max_age in (29, 30)
    (endless,) = SealedSession(SECRET, max_age=500, lifetime=100, clock=clock).establish(
        Session(id="s", token="elsewhere"), request()
    )
    assert endless.max_age == 100


# Configuration.


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"secret": "short"}, "secret"),
        ({"secret": b""}, "secret"),
        ({"secret": []}, "secret"),
        ({"secret": None}, "secret"),
        ({"secret": [SECRET, "short"]}, "secret"),
        ({"name": "a b"}, "name"),
        ({"lifetime": 0}, "lifetime"),
        ({"lifetime": -1}, "lifetime"),
        ({"lifetime": True}, "lifetime"),
        ({"lifetime": "1h"}, "lifetime"),
        ({"lifetime": float("nan")}, "lifetime"),
        ({"lifetime": float("inf")}, "lifetime"),
        ({"lifetime": 1e13}, "lifetime"),
        ({"lifetime": timedelta(0)}, "lifetime"),
        ({"lifetime": timedelta.max}, "lifetime"),
        ({"remote_user": "alice"}, "remote_user"),
        ({"match": ""}, "match: .*; pass .id., the name of a field, or a function"),
        ({"match": 7}, "match: 7; pass"),
        ({"sign_out_path": "logout"}, "sign_out_path: .logout.; pass a path"),
        ({"sign_out_path": "/"}, "sign_out_path"),
        ({"sign_out_path": "/out?now=1"}, "without a query"),
        ({"sign_out_path": ["/out"]}, "sign_out_path"),
        ({"expose": "name"}, "expose: 'name'; pass a list of names"),
        ({"samesite": "None"}, "SameSite=None"),
        ({"name": "__Host-s", "domain": "example.com"}, "__Host-"),
    ],
)
def test_options_that_are_bad_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as caught:
        SealedSession(**{"secret": SECRET, **options})
    assert "short" not in str(caught.value).replace("too short", "")


def test_remote_user_that_waits_is_refused() -> None:
    async def remote_user(session: Session) -> str:
        return "alice"

    with pytest.raises(ConfigurationError, match="plain function"):
        SealedSession(SECRET, remote_user=remote_user)  # type: ignore[arg-type]  # wrong on purpose


def test_remote_user_is_for_wsgi() -> None:
    with pytest.raises(ConfigurationError, match="remote_user"):
        World("asgi").serve(session=SealedSession(SECRET, remote_user=lambda session: None))


# Signing in and out, under both fronts.


class Door:
    """An app with a way in and a way out."""

    def __init__(self) -> None:
        self.user: Any = {"id": "alice", "name": "Alice"}
        self.remember = True
        self.handles: list[Any] = []

    def __call__(self, seen: Seen) -> Reply:
        self.handles.append(seen.ott)
        if seen.path == "/in":
            session = seen.ott.sign_in(self.user, remember=self.remember)
            assert seen.ott.session is session
        elif seen.path == "/out":
            seen.ott.sign_out()
            assert seen.ott.session is None
        elif seen.path == "/switch":
            seen.ott.sign_out()
            seen.ott.sign_in("bob")
        elif seen.path == "/regret":
            seen.ott.sign_in("bob")
            seen.ott.sign_out()
        elif seen.path == "/through":
            seen.ott.sign_in("bob")
            seen.ott.sign_in("carol")
            seen.ott.sign_out()
        elif seen.path == "/try":
            try:
                seen.ott.sign_in(self.user)
            except ValueError as error:
                return Reply(400, (), str(error).encode())
        session = seen.ott.session
        return Reply(200, (), (session.user_id if session else "nobody").encode())


@pytest.fixture
def door() -> Door:
    return Door()


@pytest.fixture
def site(world: World, door: Door) -> Site:
    return world.serve(door, session=SealedSession(SECRET, clock=world.clock))


def cookie_of(answer: Any) -> dict[str, str]:
    return {"cookie": f"ott_session={answer.cookies['ott_session']}"}


def test_sign_in_sets_the_cookie_and_the_app_sees_the_user(site: Site) -> None:
    answer = site.get("/in")
    assert answer.body == b"alice"
    assert answer.cookie("ott_session") == {
        f"Max-Age={TWO_WEEKS}",
        "Path=/",
        "HttpOnly",
        "SameSite=Lax",
    }
    seen = site.get("/", cookie_of(answer))
    assert seen.body == b"alice"
    assert seen.all("set-cookie") == []
    assert site.get("/").body == b"nobody"


def test_cookie_is_secure_over_https(site: Site) -> None:
    assert "Secure" in site.get("/in", scheme="https").cookie("ott_session")


def test_sign_in_not_remembered_sets_a_cookie_without_an_age(site: Site, door: Door) -> None:
    door.remember = False
    assert site.get("/in").cookie("ott_session") == {"Path=/", "HttpOnly", "SameSite=Lax"}


def test_sign_out_deletes_the_cookie(site: Site) -> None:
    answer = site.get("/out", cookie_of(site.get("/in")))
    assert answer.body == b"nobody"
    assert answer.cookies == {"ott_session": ""}
    assert "Max-Age=0" in answer.cookie("ott_session")
    assert site.get("/out").cookies == {"ott_session": ""}  # whatever the browser holds


def test_sign_out_revokes_the_live_tokens(site: Site) -> None:
    cookie = cookie_of(site.get("/in"))
    other = site.generate(cookie_of(site.get("/in"))).json()["token"]
    token = site.generate(cookie).json()["token"]
    site.get("/out", cookie)
    assert site.verify(token).code == "INVALID_TOKEN"
    assert site.verify(other).status == 200


def test_sign_in_and_sign_out_the_last_counts(site: Site) -> None:
    cookie = cookie_of(site.get("/in"))
    token = site.generate(cookie).json()["token"]
    switched = site.get("/switch", cookie)
    assert switched.body == b"bob"
    assert site.get("/", cookie_of(switched)).body == b"bob"
    assert site.verify(token).code == "INVALID_TOKEN"
    assert site.get("/regret").cookies == {"ott_session": ""}


def test_sign_out_revokes_the_session_that_sign_in_replaced(site: Site) -> None:
    cookie = cookie_of(site.get("/in"))
    token = site.generate(cookie).json()["token"]
    assert site.get("/through", cookie).cookies == {"ott_session": ""}
    assert site.verify(token).code == "INVALID_TOKEN"


@pytest.mark.parametrize("user", [{"name": "no id"}, {"id": "alice", "x": "y" * 5000}])
def test_sign_in_that_is_refused_changes_nothing(site: Site, door: Door, user: Any) -> None:
    cookie = cookie_of(site.get("/in"))
    door.user = user
    for headers in (cookie, {}):
        answer = site.get("/try", headers)
        assert answer.status == 400
        assert answer.all("set-cookie") == []


def test_sign_in_after_the_response_began_is_refused(site: Site, door: Door) -> None:
    site.get("/")
    (handle,) = door.handles
    for act in (lambda: handle.sign_in("alice"), handle.sign_out):
        with pytest.raises(RuntimeError, match="before the response begins"):
            act()
    assert handle.session is None


def test_sign_in_is_possible_until_the_headers_are_out(world: World) -> None:
    late: list[BaseException] = []

    def try_late(handle: Any) -> None:
        try:
            handle.sign_in("alice")
        except RuntimeError as error:
            late.append(error)

    async def app_asgi(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try_late(scope["ott"])
        await send({"type": "http.response.body", "body": b""})

    def app_wsgi(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        try_late(environ["ott.handle"])
        return [b""]

    headers: list[Any] = []
    if world.interface == "asgi":

        async def send(message: Any) -> None:
            headers.extend(message.get("headers", ()))

        async def receive() -> Any:
            return {"type": "http.request"}

        middleware = ASGIMiddleware(app_asgi, session=SealedSession(SECRET))
        asyncio.run(middleware(make_scope(), receive, send))
    else:
        wrapped = WSGIMiddleware(app_wsgi, session=SealedSession(SECRET))
        wrapped(make_environ(), lambda status, pairs, exc_info=None: headers.extend(pairs))
    assert len(late) == 1
    assert headers == []


def test_sign_in_needs_this_adapter(world: World) -> None:
    def app(seen: Seen) -> Reply:
        for call in (lambda: seen.ott.sign_in("alice"), seen.ott.sign_out):
            with pytest.raises(RuntimeError, match="can't sign users in or out: use SealedSession"):
                call()
        return Reply(200, (), b"refused")

    answer = world.serve(app).get("/")
    assert (answer.body, answer.all("set-cookie")) == (b"refused", [])


def test_sign_out_with_a_backend_that_fails_is_logged(
    world: World, door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(MemoryBackend):
        def revoke(self, owner: str) -> int:
            raise ConnectionError("password")

        async def arevoke(self, owner: str) -> int:
            return self.revoke(owner)

    site = world.serve(
        door, session=SealedSession(SECRET, clock=world.clock), backend=Broken(clock=world.clock)
    )
    cookie = cookie_of(site.get("/in"))
    assert site.get("/out", cookie).cookies == {"ott_session": ""}
    (record,) = main_lines(caplog)
    assert record.levelno == logging.ERROR
    assert "not revoked at sign-out: BackendUnavailable" in record.message
    assert "password" not in record.message


def test_session_with_less_than_a_second_left_is_over(world: World, door: Door) -> None:
    site = world.serve(door, session=SealedSession(SECRET, lifetime=100, clock=world.clock))
    cookie = cookie_of(site.get("/in"))
    world.clock.forward(98.5)
    token, late = (site.generate(cookie).json()["token"] for _ in range(2))
    answer = site.verify(token)
    assert answer.status == 200
    assert "Max-Age=1" in answer.cookie("ott_session")
    world.clock.forward(1)
    # A cookie of an age of 0 would sign out whoever it signs in.
    answer = site.verify(late)
    assert (answer.status, answer.code) == (400, "SESSION_EXPIRED")
    assert not answer.cookies


def test_session_that_ends_before_its_cookie_is_set(world: World, door: Door) -> None:
    def clock() -> float:
        world.clock.forward(0.001)
        return world.clock.now

    site = world.serve(door, session=SealedSession(SECRET, lifetime=1, clock=clock))
    answer = site.get("/in")
    assert (answer.status, answer.cookies) == (200, {"ott_session": ""})


def test_handoff_between_hosts_with_secrets_of_their_own(world: World, door: Door) -> None:
    backend = MemoryBackend(clock=world.clock)
    first = world.serve(door, session=SealedSession(SECRET, clock=world.clock), backend=backend)
    second = world.serve(
        door,
        session=SealedSession(OLD_SECRET, name="second", clock=world.clock),
        backend=backend,
    )
    token = first.generate(cookie_of(first.get("/in"))).json()["token"]
    answer = second.open(f"/page?ott={token}")
    assert answer.status == 303
    assert list(answer.cookies) == ["second"]
    cookie = {"cookie": f"second={answer.cookies['second']}"}
    assert second.get("/", cookie).body == b"alice"
    assert first.get("/", {"cookie": cookie["cookie"].replace("second", "ott_session")}).body == (
        b"nobody"
    )
    # Signed in by the link on a call, the app may sign out in the same breath.
    token = first.generate(cookie_of(first.get("/in"))).json()["token"]
    called = second.fetch(f"/out?ott={token}")
    assert called.cookies == {"second": ""}


def test_session_not_remembered_stays_so_at_the_target_site(world: World, door: Door) -> None:
    door.remember = False
    site = world.serve(door, session=SealedSession(SECRET, clock=world.clock))
    token = site.generate(cookie_of(site.get("/in"))).json()["token"]
    assert site.verify(token).cookie("ott_session") == {"Path=/", "HttpOnly", "SameSite=Lax"}


def test_token_that_outlives_its_session_is_refused(world: World, door: Door) -> None:
    adapter = SealedSession(SECRET, lifetime=60, clock=world.clock)
    site = world.serve(door, session=adapter)
    token = site.generate(cookie_of(site.get("/in"))).json()["token"]
    world.clock.forward(60)
    answer = site.verify(token)
    assert answer.code == "SESSION_EXPIRED"
    assert answer.cookies == {}


def test_cookie_never_outlives_the_session(world: World, door: Door) -> None:
    site = world.serve(door, session=SealedSession(SECRET, lifetime=600, clock=world.clock))
    cookie = cookie_of(site.get("/in"))
    world.clock.forward(100)
    token = site.generate(cookie).json()["token"]
    attributes = site.verify(token).cookie("ott_session")
    assert attributes & {"Max-Age=499", "Max-Age=500"}


# REMOTE_USER.


def remote(world_clock: Clock, remote_user: Any) -> Site:
    def report(seen: Seen) -> Reply:
        if seen.path == "/in":
            seen.ott.sign_in({"id": "7", "login": "alice"})
        told = {k: v for k, v in seen.carrier.items() if isinstance(v, str)}
        return Reply(200, (), json.dumps(told).encode())

    world = World("wsgi")
    world.clock = world_clock
    return world.serve(
        report, session=SealedSession(SECRET, remote_user=remote_user, clock=world_clock)
    )


def login(session: Session) -> Any:
    return session.user["login"]  # type: ignore[index]  # it is there


SMUGGLED = [
    "REMOTE_USER",
    "AUTH_TYPE",
    "remote_user",
    "Remote-User",
    "Auth-Type",
    *(
        f"HTTP_{name}"
        for family in ("REMOTE_USER", "X_REMOTE_USER", "X_FORWARDED_USER", "X_AUTH_REQUEST_USER")
        for name in (
            family,
            family.lower(),
            family.title(),
            family.replace("_", "-"),
            family.replace("_", "-").lower(),
            family.replace("_", "-", 1),
        )
    ),
    "http_remote_user",
    "HTTP-REMOTE-USER",
]


@pytest.mark.parametrize("key", SMUGGLED)
def test_remote_user_of_a_client_never_reaches_the_app(clock: Clock, key: str) -> None:
    site = remote(clock, login)
    cookie = cookie_of(site.get("/in"))
    for headers, expected in (({}, None), (cookie, "alice")):
        told = site.get("/", headers, carrier={key: "admin", "HTTP_X_OTHER": "kept"}).json()
        assert "admin" not in told.values()
        assert told.get("REMOTE_USER") == expected
        assert told["HTTP_X_OTHER"] == "kept"
        assert "AUTH_TYPE" not in told


def test_remote_user_leaves_headers_of_other_names(clock: Clock) -> None:
    kept = {"HTTP_X_REMOTE_USERNAME": "a", "HTTP_REMOTE_USERS": "b", "HTTP_X_USER": "c"}
    told = remote(clock, login).get("/", carrier=kept).json()
    assert {key: told[key] for key in kept} == kept


def test_remote_user_of_a_redeemed_call(clock: Clock) -> None:
    site = remote(clock, login)
    session = person("bob", user={"login": "bob"})
    token = site.token(session)
    called = site.fetch(f"/?ott={token}", carrier={"REMOTE_USER": "admin"})
    assert called.json()["REMOTE_USER"] == "bob"
    dead = site.fetch(f"/?ott={token}", carrier={"REMOTE_USER": "admin"})
    assert dead.code == "INVALID_TOKEN"


@pytest.mark.parametrize("path", ["/", "/?ott=x", "/one-time-token"])
def test_remote_user_of_a_client_is_removed_on_every_way(clock: Clock, path: str) -> None:
    site = remote(clock, login)
    headers = {"sec-fetch-mode": "no-cors"}  # which redeems nothing
    told = site.get(path, headers, carrier={"REMOTE_USER": "admin", "AUTH_TYPE": "Basic"}).json()
    assert not {"REMOTE_USER", "AUTH_TYPE"} & set(told)


def test_remote_user_of_a_probe_is_that_of_its_session(clock: Clock) -> None:
    site = remote(clock, login)
    cookie = cookie_of(site.get("/in"))
    told = site.get("/", cookie, carrier={"ott.probe": True, "REMOTE_USER": "admin"}).json()
    assert told["REMOTE_USER"] == site.get("/", cookie).json()["REMOTE_USER"] != "admin"
    told = site.get("/", carrier={"ott.probe": True, "REMOTE_USER": "admin"}).json()
    assert "REMOTE_USER" not in told


def test_remote_user_function_may_return_none_or_fail(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for function in (lambda session: None, lambda session: session.user["missing"]):
        site = remote(clock, function)
        cookie = cookie_of(site.get("/in"))
        told = site.get("/", cookie, carrier={"REMOTE_USER": "admin"}).json()
        assert "REMOTE_USER" not in told
    (record,) = main_lines(caplog)
    assert "KeyError" in record.message


def test_remote_user_of_the_server_stays_without_a_function() -> None:
    seen: list[Any] = []
    site = World("wsgi").serve(
        lambda s: (seen.append(s.carrier.get("REMOTE_USER")), Reply())[1],
        session=SealedSession(SECRET),
    )
    site.get("/", carrier={"REMOTE_USER": "by-the-server"})
    assert seen == ["by-the-server"]


def test_tokens_are_revoked_by_the_session_s_id(site: Site) -> None:
    cookie = cookie_of(site.get("/in"))
    answer = site.generate(cookie)
    session = site.members.current(Request("GET", "http", "/", headers=cookie))
    assert site.flow.tokens.revoke(session.id) == 1
    with pytest.raises(InvalidToken):
        site.flow.tokens.verify(answer.json()["token"])


# What leaves with a token, and who arrives with one.


def handed_over(clock: Clock, source: SealedSession, target: Any, user: Any) -> Any:
    """What the target's token service gives for a token of the source's."""
    backend = MemoryBackend(clock=clock)
    token = OneTimeTokens(backend, sessions=source).generate(source.start(user, remember=True))
    return OneTimeTokens(backend, sessions=target).verify(token)


class Carried(SealedSession):
    """Takes what arrives as it came."""

    def resolve(self, session: Session) -> Session:
        return session


def test_expose_leaves_the_cookie_out(clock: Clock) -> None:
    user = {"id": "alice", "name": "Alice", "phone": "1"}
    source = SealedSession(SECRET, clock=clock)
    session = handed_over(clock, source, Carried(OLD_SECRET, clock=clock), user)
    assert (session.token, session.user) == ("", user)


@pytest.mark.parametrize(
    ("expose", "left"),
    [
        (None, {"id": "alice", "name": "Alice", "phone": "1"}),
        ([], {"id": "alice"}),
        (["name", "hair"], {"id": "alice", "name": "Alice"}),
    ],
)
def test_expose_lists_the_fields_of_the_user(world: World, expose: Any, left: Any) -> None:
    source = SealedSession(SECRET, expose=expose, clock=world.clock)
    site = world.serve(session=source)
    user = {"id": "alice", "name": "Alice", "phone": "1"}
    cookie = {"cookie": f"ott_session={source.start(user, remember=True).token}"}
    assert site.verify(site.generate(cookie).json()["token"]).json()["user"] == left
    # The app itself sees all of it, always.
    known = source.current(Request("GET", "http", "/", headers=cookie))
    assert known is not None
    assert known.user == user


def test_expose_of_a_session_without_a_user(clock: Clock) -> None:
    adapter = SealedSession(SECRET, expose=["name"], clock=clock)
    assert adapter.expose(person("alice", user=None)).user is None


def test_arrival_has_this_site_s_cookie(world: World) -> None:
    backend = MemoryBackend(clock=world.clock)
    source = SealedSession(OLD_SECRET, clock=world.clock)
    target = SealedSession(SECRET, clock=world.clock)
    first = world.serve(session=source, backend=backend)
    second = world.serve(session=target, backend=backend, disable_set_session_cookie=True)
    value = source.start("alice", remember=True).token
    answer = second.verify(first.generate({"cookie": f"ott_session={value}"}).json()["token"])
    said = answer.json()["session"]
    assert answer.cookies == {}
    assert said["token"] != value
    arrived = target.current(request(said["token"]))
    assert arrived is not None
    assert (arrived.user_id, arrived.id) == ("alice", said["id"])


def by_name(session: Session) -> Any:
    return {"id": "7", "name": session.user_id} if session.user_id == "alice" else None


async def by_name_later(session: Session) -> Any:
    await asyncio.sleep(0)
    return by_name(session)


@pytest.mark.parametrize("match", [by_name, by_name_later])
def test_match_decides_the_user(world: World, match: Any) -> None:
    backend = MemoryBackend(clock=world.clock)
    source = SealedSession(OLD_SECRET, clock=world.clock)
    first = world.serve(session=source, backend=backend)
    target = SealedSession(SECRET, match=match, clock=world.clock)
    second = world.serve(session=target, backend=backend)

    def token(user: str) -> str:
        cookie = {"cookie": f"ott_session={source.start(user, remember=True).token}"}
        return str(first.generate(cookie).json()["token"])

    answer = second.verify(token("alice"))
    assert (answer.json()["session"]["userId"], answer.json()["user"]["name"]) == ("7", "alice")
    arrived = target.current(request(answer.cookies["ott_session"]))
    assert arrived is not None
    assert (arrived.user_id, dict(arrived.user or {})) == ("7", {"id": "7", "name": "alice"})
    refused = second.verify(token("bob"))
    assert (refused.code, refused.cookies) == ("NO_ACCOUNT", {})


def test_match_may_return_an_id(clock: Clock) -> None:
    target = SealedSession(SECRET, match=lambda session: "7", clock=clock)
    session = handed_over(clock, SealedSession(OLD_SECRET, clock=clock), target, "alice")
    assert (session.user_id, session.user) == ("7", {"id": "7"})
    # An id of elsewhere's may be spelled like one of this side's.
    alice, bob = (
        SealedSession(SECRET, match=lambda session, to=to: to, clock=clock).resolve(person("x"))
        for to in ("alice", "bob")
    )
    assert isinstance(alice, Session)
    assert isinstance(bob, Session)
    assert not alice.is_same_person(bob)
    assert person("x").id not in (alice.id, bob.id)


class Awaited:
    def __await__(self) -> Any:
        yield


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ({}, "ValueError"),
        ({"id": ""}, "ValueError"),
        ("", "ValueError"),
        (7, "TypeError"),
        (lambda session: by_name_later(session), "TypeError"),
        (lambda session: Awaited(), "TypeError"),
    ],
)
def test_match_that_returns_nothing_usable_signs_no_user_in(
    world: World, answer: Any, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    match = answer if callable(answer) else lambda session: answer
    site = world.serve(session=SealedSession(SECRET, match=match, clock=world.clock))
    token = site.token(person("alice"))
    refused = site.verify(token)
    assert (refused.status, refused.code, refused.cookies) == (503, "SESSION_UNAVAILABLE", {})
    assert kind in caplog.text


def test_match_that_may_wait_does_not_hold_up_the_loop() -> None:
    threads: list[bool] = []

    def match(session: Session) -> Any:
        threads.append(threading.current_thread() is threading.main_thread())
        return "7"

    class Quick:
        blocks = False

        def __call__(self, session: Session) -> Any:
            return match(session)

    for hook in (match, Quick()):
        tokens = OneTimeTokens(MemoryBackend(), sessions=SealedSession(SECRET, match=hook))
        token = tokens.generate(person("alice", expires_at=None))
        assert asyncio.run(tokens.averify(token)).user_id == "7"
    assert threads == [False, True]
