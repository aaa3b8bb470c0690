"""What the adapters of frameworks share, with a framework that is as small as one can be."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from dataclasses import replace
from typing import Any

import pytest
from harness import NAVIGATION, NOW, Answer, Reply, Seen, Site, World, moment, person

from ott_middleware import (
    ConfigurationError,
    CookieSession,
    MemoryBackend,
    OneTimeTokens,
    SealedSession,
    Session,
    SessionAdapter,
)
from ott_middleware.context import Bounds, using_bounds
from ott_middleware.http import Request
from ott_middleware.sessions import FrameworkSession
from ott_middleware.sessions.base import UserSession
from ott_middleware.sessions.framework import session_id

from .club import PEOPLE, ClubSession, ClubSessions

SECRET = "a secret of thirty-two characters"
# The same people as elsewhere, with ids of their own; and one whom nobody knows elsewhere.
MEMBERS = {
    "1": {"id": "1", "name": "Bob", "email": "bob@club.example"},
    "7": {"id": "7", "name": "Alice", "email": "alice@club.example"},
    "8": {"id": "8", "name": "Nobody", "email": ""},
}


class Two:
    """A source and a target on one backend."""

    def __init__(
        self, world: World, source: SessionAdapter, target: SessionAdapter, **options: Any
    ) -> None:
        self.backend = MemoryBackend(clock=world.clock)
        serve = {"backend": self.backend, "store_token": "hashed"}
        self.source = world.serve(who, session=source, **serve)
        self.target = world.serve(who, session=target, **serve, **options)

    def token(self, headers: dict[str, str]) -> str:
        answer = self.source.generate(headers)
        assert answer.status == 200, answer
        return str(answer.json()["token"])

    def arrive(self, headers: dict[str, str], **more: str) -> Answer:
        return self.target.open(f"/?ott={self.token(headers)}", more)


def who(seen: Seen) -> Any:
    def reply(session: Session | None) -> Reply:
        told = session and [session.user_id, dict(session.user or {}), dict(session.data)]
        return Reply(200, [("Content-Type", "application/json")], json.dumps(told).encode())

    async def asked() -> Reply:
        return reply(await seen.ott.asession())

    return asked()


def seen_by(site: Site, answer: Answer) -> Any:
    """Whom the app sees in the browser that got an answer."""
    cookie = "; ".join(f"{name}={value}" for name, value in answer.cookies.items())
    return site.get("/", {"cookie": cookie}).json()


# One site, or several with one secret and one store.


def test_shared_session_is_the_same_at_both_sites(world: World) -> None:
    club = ClubSession()
    two = Two(world, club, ClubSession(club.store))
    alice = club.sign_in("1")
    answer = two.arrive(alice)
    assert answer.status == 303
    assert f"club={answer.cookies['club']}" == alice["cookie"]
    assert seen_by(two.target, answer) == ["1", {"id": "1"}, {}]
    assert len(club.store.sessions) == 1


def test_fork_is_a_session_of_its_own(world: World) -> None:
    club = ClubSession(data=["theme"])
    two = Two(world, club, ClubSession(club.store, mode="fork", data=["theme"]))
    alice = club.sign_in("1", theme="dark", ends=NOW + 600)
    answer = two.arrive(alice)
    assert f"club={answer.cookies['club']}" != alice["cookie"]
    assert seen_by(two.target, answer) == ["1", {"id": "1"}, {"theme": "dark"}]
    assert len(club.store.sessions) == 2
    assert {s["ends"] for s in club.store.sessions.values()} == {NOW + 600}


def test_visitor_s_own_session_is_never_promoted(world: World) -> None:
    club = ClubSession()
    for mode in ("share", "fork"):
        two = Two(world, club, ClubSession(club.store, mode=mode))
        planted = club.sign_in(None)
        answer = two.arrive(club.sign_in("1"), **planted)
        assert f"club={answer.cookies['club']}" != planted["cookie"]
        assert two.target.get("/", planted).json() is None


@pytest.mark.parametrize("mode", ["share", "fork"])
@pytest.mark.parametrize("change", ["gone", "nobody", "somebody else"])
def test_ended_session_is_not_found(world: World, mode: str, change: str) -> None:
    club = ClubSession()
    two = Two(world, club, ClubSession(club.store, mode=mode))
    token = two.token(club.sign_in("1"))
    if change == "gone":
        club.store.sessions.clear()
    else:
        # The same session, but the person in it has changed.
        club.store.sessions["key-00000000"]["user"] = None if change == "nobody" else "2"
    answer = two.target.verify(token)
    assert (answer.status, answer.code) == (400, "SESSION_NOT_FOUND")
    assert not answer.cookies
    assert two.target.verify(token).code == "INVALID_TOKEN"


@pytest.mark.parametrize("mode", ["share", "fork"])
def test_expired_session_is_named_so(world: World, mode: str) -> None:
    club = ClubSession()
    two = Two(world, club, ClubSession(club.store, mode=mode))
    token = two.token(club.sign_in("1", ends=NOW + 60))
    world.clock.forward(61)
    answer = two.target.verify(token)
    assert (answer.code, answer.cookies) == ("SESSION_EXPIRED", {})


def test_cookie_never_outlives_its_session(world: World) -> None:
    club = ClubSession()
    for mode in ("share", "fork"):
        two = Two(world, club, ClubSession(club.store, mode=mode))
        answer = two.arrive(club.sign_in("1", ends=NOW + 600))
        assert "Max-Age=600" in answer.cookie("club")
        assert "Max-Age=86400" in two.arrive(club.sign_in("1", ends=None)).cookie("club")


def test_anonymous_session_is_none_and_leaves_nothing(world: World) -> None:
    club = ClubSession()
    two = Two(world, club, club)
    for headers in (club.sign_in(None), {"cookie": "club=forged.0"}, {"cookie": "club="}, {}):
        assert two.source.generate(headers).code == "UNAUTHORIZED"
    assert len(two.backend) == 0


def test_old_secrets_stay_good_while_they_are_named(world: World) -> None:
    old = ClubSession(secret="old")
    alice = old.sign_in("1")
    rotated = Two(world, old, ClubSession(old.store, secret=["new", "old"]))
    assert rotated.arrive(alice).status == 303
    forgotten = Two(world, old, ClubSession(old.store, secret=["new"]))
    assert forgotten.arrive(alice).status == 400
    # What is sealed is sealed under the newest.
    assert ClubSession(secret=["old"])._open(exposed(ClubSession(secret=["new", "old"]))) is None


# What leaves.


def exposed(adapter: FrameworkSession, **more: Any) -> Session:
    return adapter.expose(person("alice", **more))


def test_allow_list_is_all_that_leaves() -> None:
    session = person(
        "alice", user={"id": "alice", "name": "A", "phone": "1"}, data={"theme": 1, "cart": 2}
    )
    left = ClubSession().expose(session)
    assert (left.user, left.data) == ({"id": "alice"}, {})
    left = ClubSession(expose=["name", "hair"], data=["theme", "other"]).expose(session)
    assert (left.user, left.data) == ({"id": "alice", "name": "A"}, {"theme": 1})
    assert ClubSession(expose=["name"]).expose(replace(session, user=None)).user == {"id": "alice"}
    assert ClubSession().expose(replace(session, user_id=None)).user is None


def test_allow_list_cuts_what_the_app_hands_in(world: World) -> None:
    club = ClubSession(expose=["name"])
    site = world.serve(session=club)
    session = person("alice", token="", user={"name": "Alice", "phone": "1"}, data={"cart": 1})
    sealed = OneTimeTokens(
        MemoryBackend(clock=world.clock), sessions=SealedSession(SECRET, clock=world.clock)
    )
    for service, user in ((site.flow.tokens, {"id": "alice", "name": "Alice"}),):
        token = service.generate(session)
        arrived = world.serve(
            session=SealedSession(SECRET, clock=world.clock), backend=service.backend
        )
        said = arrived.verify(token).json()
        assert said["user"] == user
    assert sealed.verify(sealed.generate(session)).user == session.user


def test_seal_holds_the_cookie_that_leaves(caplog: pytest.LogCaptureFixture) -> None:
    club = ClubSession()
    left = exposed(club, token="a cookie's value")
    assert left.token.startswith("club.")
    assert "cookie" not in left.token
    assert left.token != exposed(club, token="a cookie's value").token
    opened = club._open(left)
    assert opened is not None
    assert opened.token == "a cookie's value"
    for shown in (repr(left), repr(opened), repr(club), caplog.text):
        assert "value" not in shown
        assert left.token not in shown
    assert exposed(club, token="").token == ""


def test_seal_is_of_no_use_to_other_sites() -> None:
    left = exposed(ClubSession(secret="mine"))
    assert ClubSession(secret="mine")._open(left) is not None
    assert ClubSession(secret="yours")._open(left) is None

    class Other(ClubSession):
        kind = "other"

    assert Other(secret="mine")._open(left) is None
    # Nor under its own name, when somebody writes that in front.
    renamed = replace(left, token=f"other.{left.token.removeprefix('club.')}")
    assert Other(secret="mine")._open(renamed) is None


@pytest.mark.parametrize(
    "token",
    [
        "",
        "club",
        "club.",
        "club.;",
        "club.AAAA;",
        "club.AAAA",
        ".",
        ";",
        "x" * 9000,
        "\0",
        "clüb.é;",
    ],
)
def test_seal_that_is_none_does_not_open(token: str) -> None:
    assert ClubSession()._open(person("alice", token=token)) is None


def test_seal_takes_any_cookie_value() -> None:
    club = ClubSession()
    for value in ("é", "☃", "\udcff", 'a "quoted" one', "x" * 4096):
        opened = club._open(exposed(club, token=value))
        assert opened is not None
        assert opened.token == value


@pytest.mark.parametrize("setter", [CookieSession("club"), CookieSession("club", "other")])
def test_seal_is_never_set_as_a_cookie(world: World, setter: CookieSession) -> None:
    club = ClubSession()
    two = Two(world, club, setter)
    answer = two.target.verify(two.token(club.sign_in("1")))
    assert (answer.code, answer.cookies) == ("SESSION_NOT_FOUND", {})


def test_seal_is_not_set_by_an_adapter_that_trusts_blindly(world: World) -> None:
    class Blind(SessionAdapter):
        blocks = False

        def current(self, request: Request) -> None:
            return None

        def resolve(self, session: Session) -> Session:
            return session

        def establish(self, session: Session, request: Request) -> Any:
            return [ClubSession().attributes.cookie("club", session.token)]

    club = ClubSession()
    two = Two(world, club, Blind())
    answer = two.target.verify(two.token(club.sign_in("1")))
    assert (answer.status, answer.cookies) == (503, {})


# A site that was given a session must not be able to bring it back.


@pytest.mark.parametrize("audience", [None, "http://app.example"])
def test_seal_is_good_for_its_own_token_alone(world: World, audience: str | None) -> None:
    club = ClubSession()
    two = Two(world, club, club, public_origin="http://app.example")
    carried: list[Session] = []

    class Thief(SessionAdapter):
        blocks = False

        def resolve(self, session: Session) -> Session:
            carried.append(session)
            return session

    service = two.target.flow.tokens
    thief = OneTimeTokens(two.backend, sessions=Thief(), store_token="hashed", expires_in=60 * 24)
    alice = two.source.flow.services.guard.current_now(
        Request("GET", "http", "/", headers=club.sign_in("1", ends=NOW + 86400))
    )
    token = service.generate(alice, audience="http://thief.example")
    thief.verify(token, audience="http://thief.example")
    # It was for the thief's own site, so that it opens nowhere else, in whatever token.
    assert two.target.verify(thief.generate(carried[0], audience=audience)).code == ("NO_ACCOUNT")
    # A token for anywhere is good anywhere, but not for longer than that token was.
    thief.verify(service.generate(alice))
    again = [thief.generate(carried[1], audience=audience) for _ in range(2)]
    assert two.target.verify(again[0]).status == (200 if audience is None else 400)
    world.clock.forward(181)
    assert two.target.verify(again[1]).code == "NO_ACCOUNT"


def test_seal_bounds_hold_where_there_are_some() -> None:
    club = ClubSession()
    with using_bounds(Bounds("https://b.example", NOW + 180)):
        left = exposed(club)
    for audience, now, opens in [
        ("https://b.example", NOW, True),
        ("https://b.example", NOW + 180, False),
        ("https://a.example", NOW, False),
        (None, NOW, False),
    ]:
        with using_bounds(Bounds(audience, now)):
            assert (club._open(left) is not None) == opens
    assert club._open(left) is not None


# Who arrives from a site with another secret.


def elsewhere(**how: Any) -> ClubSession:
    return ClubSession(secret="another", **how)


def test_match_missing_refuses_and_logs_why(world: World, caplog: pytest.LogCaptureFixture) -> None:
    source, target = elsewhere(), ClubSession()
    two = Two(world, source, target)
    alice = source.sign_in("1")
    with caplog.at_level(logging.INFO, "ott_middleware"):
        answer = two.target.verify(two.token(alice))
    assert (answer.code, answer.cookies) == ("NO_ACCOUNT", {})
    (record,) = caplog.records
    assert "pass match=" in record.getMessage()
    assert "key-" not in caplog.text
    assert target.asked == []


def test_match_is_needed_beside_a_source(world: World, caplog: pytest.LogCaptureFixture) -> None:
    source = elsewhere()
    two = Two(world, source, ClubSession(sources=[source]))
    assert two.target.verify(two.token(source.sign_in("1"))).code == "NO_ACCOUNT"
    assert "pass match=" in caplog.text


async def by_mail_later(session: Session) -> Any:
    await asyncio.sleep(0)
    return by_mail(session)


def by_mail(session: Session) -> Any:
    found = [m["id"] for m in MEMBERS.values() if m["email"] == (session.user or {}).get("email")]
    return found[0] if found else None


@pytest.mark.parametrize(
    ("match", "here"),
    [("id", "1"), ("email", "7"), (by_mail, "7"), (by_mail_later, "7")],
    ids=["id", "field", "hook", "async hook"],
)
def test_match_finds_the_local_user(world: World, match: Any, here: str) -> None:
    source = elsewhere(expose=["email"])
    target = ClubSession(people=MEMBERS, match=match, expose=["name"])
    two = Two(world, source, target)
    answer = two.arrive(source.sign_in("1"))
    assert answer.status == 303
    assert seen_by(two.target, answer) == [here, {"id": here, "name": MEMBERS[here]["name"]}, {}]
    said = two.target.verify(two.token(source.sign_in("1"))).json()
    assert said["session"]["userId"] == said["user"]["id"] == here
    assert len(source.store.sessions) == len(target.store.sessions) == 2


@pytest.mark.parametrize(("expose", "user"), [((), {"id": "1"}), (["name"], None)])
def test_match_gets_a_session_whose_user_is_a_mapping(
    world: World, expose: Any, user: dict[str, Any] | None
) -> None:
    arrived: list[Any] = []
    source = elsewhere(expose=expose)
    two = Two(world, source, ClubSession(people=MEMBERS, match=arrived.append))
    two.arrive(source.sign_in("1"))
    assert type(arrived[0]) is UserSession
    assert arrived[0].user == (user or {"id": "1", "name": source.people["1"]["name"]})
    assert UserSession.of(Session("1", "a cookie")).user == {}


@pytest.mark.parametrize("match", ["id", "email", by_mail, by_mail_later])
def test_match_without_a_local_user_is_refused(
    world: World, match: Any, caplog: pytest.LogCaptureFixture
) -> None:
    people = {"99": {"id": "99", "email": "new@club.example"}}
    source = elsewhere(people=people, expose=["email"])
    two = Two(world, source, ClubSession(people=MEMBERS, match=match))
    with caplog.at_level(logging.INFO, "ott_middleware"):
        answer = two.target.verify(two.token(source.sign_in("99")))
    assert (answer.code, answer.cookies) == ("NO_ACCOUNT", {})
    assert "new@" not in caplog.text


@pytest.mark.parametrize("value", [None, "", False, True, ["7"], {"a": 1}, 1.5])
def test_match_by_a_field_that_names_no_user(world: World, value: Any) -> None:
    people = {"1": {"id": "1", "email": value}}
    target = ClubSession(people={"8": {"id": "8", "email": value}}, match="email")
    source = elsewhere(people=people, expose=["email"])
    two = Two(world, source, target)
    assert two.target.verify(two.token(source.sign_in("1"))).code == "NO_ACCOUNT"
    assert target.asked == []


def test_match_by_a_field_that_the_source_does_not_expose(world: World) -> None:
    target = ClubSession(people=MEMBERS, match="email")
    source = elsewhere()
    two = Two(world, source, target)
    assert two.target.verify(two.token(source.sign_in("1"))).code == "NO_ACCOUNT"
    assert target.asked == []


@pytest.mark.parametrize("value", [None, "", False])
def test_match_hook_refuses(world: World, value: Any) -> None:
    async def later(session: Session) -> Any:
        return value

    for match in (lambda session: value, later):
        target = ClubSession(match=match)
        source = elsewhere()
        two = Two(world, source, target)
        assert two.target.verify(two.token(source.sign_in("1"))).code == "NO_ACCOUNT"
        assert target.asked == []


def test_match_hook_that_fails_signs_no_user_in(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(session: Session) -> Any:
        raise LookupError("alice@club.example")

    class Awaitable:
        def __await__(self) -> Any:
            yield

    for match, kind in [
        (broken, "LookupError"),
        (lambda session: by_mail_later(session), "TypeError"),
        (lambda session: Awaitable(), "TypeError"),
    ]:
        source = elsewhere(expose=["email"])
        two = Two(world, source, ClubSession(people=MEMBERS, match=match))
        answer = two.target.verify(two.token(source.sign_in("1")))
        assert (answer.status, answer.code) == (503, "SESSION_UNAVAILABLE")
        assert kind in caplog.text
    assert "alice@" not in caplog.text


def test_match_hook_that_blocks_does_not_hold_up_the_loop() -> None:
    threads: list[Any] = []

    def match(session: Session) -> Any:
        threads.append(threading.current_thread())
        return "1"

    class Quick:
        blocks = False

        def __call__(self, session: Session) -> Any:
            return match(session)

    for hook in (match, Quick()):
        target = ClubSession(match=hook)
        tokens = OneTimeTokens(MemoryBackend(), sessions=target)
        token = tokens.generate(person("alice", token="", expires_at=None))
        assert asyncio.run(tokens.averify(token)).user_id == "1"
        token = tokens.generate(person("alice", token="", expires_at=None))
        assert tokens.verify(token).user_id == "1"
    assert [each is threading.main_thread() for each in threads] == [False, True, True, True]


def test_ends_and_ids_are_this_site_s_and_capped(world: World) -> None:
    source, target = elsewhere(), ClubSession(match="id")
    alice = person("1", id=session_id("club", "key-00000000"), expires_at=moment(NOW + 600))
    arrived = target.resolve(replace(alice, persistent=False))
    assert isinstance(arrived, Session)
    assert arrived.expires_at == moment(NOW + 600)
    assert not arrived.persistent
    assert arrived.token == ""
    # The same spelling may be somebody else's here.
    assert arrived.id not in (alice.id, person("1").id)

    class Generous(ClubSession):
        def known(self, session: Session, person: Any) -> Session | None:
            return Session(id="own", token="stolen", user_id="1", expires_at=moment(NOW + 10**6))

    arrived = Generous(match="id").resolve(replace(alice, persistent=False))
    assert isinstance(arrived, Session)
    assert (arrived.token, arrived.persistent) == ("", False)
    assert arrived.expires_at == moment(NOW + 600)
    assert arrived.user is None
    two = Two(world, source, target)
    token = two.token(source.sign_in("1", ends=NOW + 60))
    world.clock.forward(61)
    assert two.target.verify(token).code == "SESSION_EXPIRED"


def test_user_who_is_signed_in_stays_so(world: World) -> None:
    source, target = elsewhere(expose=["email"]), ClubSession(people=MEMBERS, match="email")
    two = Two(world, source, target)
    # Of the same key, and so of the same id there and here: not the same person.
    bob, alice = target.sign_in("1"), source.sign_in("1")
    answer = two.arrive(alice, **bob)
    assert (answer.status, "sid" in answer.cookies) == (200, False)
    assert b"You are signed in" in answer.body
    assert two.target.get("/", bob).json()[0] == "1"


def test_data_that_this_site_does_not_name_is_dropped(world: World) -> None:
    gives = {"data": ["theme", "is_admin", "user"]}
    source = elsewhere(**gives)
    target = ClubSession(match="id", data=["theme"])
    two = Two(world, source, target)
    two.arrive(source.sign_in("1", theme="dark", is_admin=True))
    (planted,) = target.store.sessions.values()
    assert planted == {"user": "1", "theme": "dark", "ends": NOW + 3600}
    # Nor by a site of the same secret, that names more.
    club = ClubSession(**gives)
    two = Two(world, club, ClubSession(club.store, mode="fork", data=["theme"]))
    two.arrive(club.sign_in("1", theme="dark", is_admin=True))
    assert list(club.store.sessions.values())[1] == {
        "user": "1",
        "theme": "dark",
        "ends": NOW + 3600,
    }


def test_users_arrive_from_adapters_of_any_kind(world: World) -> None:
    def validate(values: Any) -> Any:
        return {"user_id": "1", "user": {"id": "1", "email": "alice@club.example"}}

    sealed = SealedSession(SECRET, clock=world.clock)
    cookie = sealed.start({"id": "1", "email": "alice@club.example"}, remember=True).token
    for source, headers in [
        (CookieSession("sid", validate=validate), {"cookie": "sid=club.AAAA"}),
        (sealed, {"cookie": f"ott_session={cookie}"}),
    ]:
        two = Two(world, source, ClubSession(people=MEMBERS, match="email"))
        assert seen_by(two.target, two.arrive(headers))[0] == "7"


def test_verify_returns_the_value_of_the_new_session(world: World) -> None:
    source, target = elsewhere(), ClubSession(match="id")
    two = Two(world, source, target, disable_set_session_cookie=True)
    answer = two.target.verify(two.token(source.sign_in("1")))
    assert answer.cookies == {}
    value = answer.json()["session"]["token"]
    assert two.target.get("/", {"cookie": f"club={value}"}).json()[0] == "1"
    assert len(target.store.sessions) == 1
    # A shared one has its value already.
    two = Two(world, target, target, disable_set_session_cookie=True)
    alice = target.sign_in("1")
    value = two.target.verify(two.token(alice)).json()["session"]["token"]
    assert alice["cookie"] == f"club={value}"


def test_verify_returns_several_cookies_by_name(world: World) -> None:
    class Double(ClubSession):
        def begin(self, session: Session, request: Request) -> Any:
            cookies = [*super().begin(session, request)]
            return [*cookies, self.attributes.cookie("mark", "m"), self.attributes.cookie("x", "")]

    source = elsewhere()
    two = Two(world, source, Double(match="id"), disable_set_session_cookie=True)
    answer = two.target.verify(two.token(source.sign_in("1")))
    assert set(json.loads(answer.json()["session"]["token"])) == {"club", "mark"}


@pytest.mark.parametrize("mode", ["share", "fork"])
def test_call_is_signed_in_by_the_new_session(world: World, mode: str) -> None:
    club = ClubSession()
    two = Two(world, club, ClubSession(club.store, mode=mode))
    answer = two.target.fetch(f"/?ott={two.token(club.sign_in('1'))}")
    assert answer.json() == ["1", {"id": "1"}, {}]

    async def link(seen: Seen) -> Reply:
        # A token of the session that was begun just now leads somewhere.
        assert seen.ott.redeemed == "handoff"
        return Reply(body=(await seen.ott.agenerate()).encode())

    backend = MemoryBackend(clock=world.clock)
    options = {"session": ClubSession(club.store, mode=mode), "backend": backend}
    site = world.serve(link, **options)
    first = site.token(
        site.flow.services.guard.current_now(Request("GET", "http", "/", headers=club.sign_in("1")))
    )
    second = site.fetch(f"/?ott={first}").body.decode()
    assert site.verify(second).json()["session"]["userId"] == "1"


# Sources.


@pytest.mark.parametrize("match", ["id", by_mail, by_mail_later])
def test_source_is_asked_whether_its_session_is_alive(world: World, match: Any) -> None:
    source = elsewhere(expose=["email"])
    other = ClubSession(secret="a third one")
    two = Two(world, source, ClubSession(people=MEMBERS, match=match, sources=[other, source]))
    assert two.arrive(source.sign_in("1")).status == 303
    assert (source.asked, other.asked) == (["alive"], [])
    for change in ({"user": None}, {"user": "2"}):
        token = two.token(source.sign_in("1"))
        list(source.store.sessions.values())[-1].update(change)
        assert two.target.verify(token).code == "SESSION_NOT_FOUND"
    token = two.token(source.sign_in("1", ends=NOW + 600))
    list(source.store.sessions.values())[-1]["ends"] = NOW - 1
    assert two.target.verify(token).code == "SESSION_EXPIRED"
    # Who comes from a site that is none of them is not asked about.
    stranger = ClubSession(secret="a fourth one", expose=["email"])
    two.source = world.serve(session=stranger, backend=two.backend, store_token="hashed")
    assert two.arrive(stranger.sign_in("1")).status == 303


@pytest.mark.parametrize("match", [by_mail, by_mail_later])
def test_source_that_blocks_is_asked_in_a_thread(match: Any) -> None:
    threads: list[Any] = []

    class Slow(ClubSession):
        blocks = True

        def alive(self, session: Session) -> Session | None:
            threads.append(threading.current_thread() is threading.main_thread())
            return super().alive(session)

    source = Slow(secret="another", expose=["email"])
    target = ClubSession(people=MEMBERS, match=match, sources=[source])
    backend = MemoryBackend(clock=lambda: NOW)
    gives = OneTimeTokens(backend, sessions=source)
    takes = OneTimeTokens(backend, sessions=target)
    request = Request("GET", "http", "/", headers=source.sign_in("1"))
    token = gives.generate(source.current(request))  # type: ignore[arg-type]  # it is there
    assert asyncio.run(takes.averify(token)).user_id == "7"
    assert threads == [False]
    assert target.blocks is False


def test_source_that_is_thread_sensitive_is_asked_in_its_thread() -> None:
    class Sensitive(ClubSession):
        thread_sensitive = True

    def sensitive(adapter: FrameworkSession) -> Any:
        return adapter.resolve.thread_sensitive  # type: ignore[attr-defined]  # it is marked

    source = Sensitive()
    source.blocks = True
    assert sensitive(ClubSession(sources=[source]))
    assert sensitive(Sensitive(match=by_mail))
    assert not sensitive(ClubSession(match=by_mail))


def test_own_session_needs_no_match(world: World) -> None:
    def never(session: Session) -> Any:
        raise LookupError

    async def never_later(session: Session) -> Any:
        raise LookupError

    for match in ("id", never, never_later):
        for mode in ("share", "fork"):
            club = ClubSession()
            two = Two(world, club, ClubSession(club.store, match=match, mode=mode))
            assert seen_by(two.target, two.arrive(club.sign_in("1")))[0] == "1"
            token = two.token(club.sign_in("1"))
            club.store.sessions.clear()
            assert two.target.verify(token).code == "SESSION_NOT_FOUND"


# Construction.


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"mode": "copy"}, "mode: 'copy'; use 'share' or 'fork'"),
        ({"expose": "name"}, "expose: 'name'; pass a list of names"),
        ({"expose": ["name", ""]}, "expose: ['name', '']; pass a list"),
        ({"data": 7}, "data: 7; pass a list of names"),
        ({"data": [7]}, "data: [7]; pass a list of names"),
        ({"match": ""}, "match: ''; pass 'id'"),
        ({"match": True}, "match: True; pass 'id'"),
        ({"sources": ["x"]}, "sources: holds a str"),
        ({"sources": CookieSession("sid")}, "sources: holds a CookieSession"),
    ],
)
def test_arguments_that_are_bad_are_refused(arguments: Any, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ClubSession(**arguments)
    assert str(caught.value).startswith(said)


def test_arguments_may_be_iterated_over_once() -> None:
    source = elsewhere()
    club = ClubSession(
        expose=iter(["name"]), data=iter(["theme"]), sources=iter([source]), match="id"
    )
    left = club.expose(person("alice", user={"name": "A"}, data={"theme": 1}))
    assert (left.user, left.data) == ({"id": "alice", "name": "A"}, {"theme": 1})
    there = source.current(Request("GET", "http", "/", headers=source.sign_in("1")))
    assert there is not None
    assert club.resolve(source.expose(there)) is not None
    assert source.asked == ["alive"]


def test_methods_that_an_adapter_lacks_are_named() -> None:
    class Bare(FrameworkSession):
        kind = "bare"

    bare, session, request = Bare(), person("alice"), Request("GET", "http", "/")
    for call, name in [
        (lambda: bare.secrets(), "secrets"),
        (lambda: bare.alive(session), "alive"),
        (lambda: bare.known(session, "1"), "known"),
        (lambda: bare.share(session, request), "share"),
        (lambda: bare.begin(session, request), "begin"),
        (lambda: bare.current(request), "current"),
    ]:
        with pytest.raises(TypeError, match=rf"Bare must define {name}\(\)"):
            call()


def test_expose_returns_from_memory() -> None:
    class Waits(ClubSession):
        async def expose(self, session: Session) -> Session:  # type: ignore[override]  # it must not
            return session

    with pytest.raises(ConfigurationError, match=r"sessions: Waits\.expose\(\) is async"):
        OneTimeTokens(MemoryBackend(), sessions=Waits())


@pytest.mark.parametrize("gives", [None, "a cookie"])
def test_expose_that_fails_gives_nothing_away(
    world: World, gives: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(ClubSession):
        def expose(self, session: Session) -> Session:
            if gives is None:
                raise ValueError(session.token)
            return gives  # type: ignore[no-any-return]  # that is what is wrong

    club = Broken()
    site = world.serve(session=club)
    answer = site.generate(club.sign_in("1"))
    assert (answer.status, answer.code) == (503, "SESSION_UNAVAILABLE")
    assert "Broken.expose" in caplog.text
    assert "key-" not in caplog.text


def test_ids_reveal_nothing_and_differ() -> None:
    assert session_id("a", "b") == session_id("a", "b")
    assert len({session_id("a", "b"), session_id("ab"), session_id("a", "\udcff")}) == 3
    assert "secret-key" not in session_id("club", "secret-key")


def test_link_signs_in_by_navigation(world: World) -> None:
    club = ClubSession(ClubSessions(), people=PEOPLE)
    two = Two(world, club, ClubSession(club.store, mode="fork"))
    token = two.token(club.sign_in("2"))
    answer = two.target.get(f"/?ott={token}", NAVIGATION)
    assert seen_by(two.target, answer)[0] == "2"
    assert two.target.get(f"/?ott={token}", NAVIGATION).status == 400
