"""A session's id is shown and logged: one that is a cookie's value is refused."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest
from harness import Members, Reply, Seen, Site, World, person
from hypothesis import given
from hypothesis import strategies as st

from ott_middleware import CookieSession, MemoryBackend, OneTimeTokens, Session, SessionAdapter
from ott_middleware.errors import SessionUnavailable
from ott_middleware.http import Cookie, Request
from ott_middleware.sessions.base import cookie_values, refuse_cookie_in_id

LONG = "a-cookie-value-0123456789"


def refused(answer: Any, caplog: pytest.LogCaptureFixture, value: str, adapter: str) -> None:
    """Check a 503 that tells nothing, and the one log line that names adapter and cure."""
    assert (answer.status, answer.code) == (503, "SESSION_UNAVAILABLE")
    assert answer.cookies == {}
    (record,) = [each for each in caplog.records if each.levelno == logging.ERROR]
    text = record.getMessage()
    assert f"{adapter}: a session's id must not be its cookie's value" in text
    assert "use another key of the session as its id, or a hash of the value" in text
    assert len(value) < 8 or value not in text + answer.body.decode()


# validate.


def validated(world: World, session_id: Any, *names: str) -> Site:
    def validate(values: Any) -> Any:
        return {"id": session_id, "user_id": "7"}

    async def validate_later(values: Any) -> Any:
        await asyncio.sleep(0)
        return validate(values)

    hook = validate_later if world.interface == "asgi" else validate
    return world.serve(session=CookieSession(*(names or ("sid",)), validate=hook, renews_key=True))


@pytest.mark.parametrize(
    ("value", "session_id"),
    [
        (LONG, LONG),
        ("abc", "abc"),
        ("7", "7"),
        ("1234567890", 1234567890),
        (LONG, f" {LONG}\n"),
        (LONG, f'"{LONG}"'),
        (f'"{LONG}"', LONG),
        (LONG, f"session:{LONG}"),
        ("s%3Aabc", "s:abc"),
        ("s:abc", "s%3Aabc"),
        ("".join(f"%{ord(each):02x}" for each in LONG), LONG),
        ("caf\xe9", "caf\xe9"),
    ],
)
def test_validate_that_returns_the_cookie_as_the_id(
    world: World, value: str, session_id: Any, caplog: pytest.LogCaptureFixture
) -> None:
    site = validated(world, session_id)
    answer = site.generate({"cookie": f"sid={value}"})
    refused(answer, caplog, value, "CookieSession.validate")


@pytest.mark.parametrize("session_id", [[LONG], {"key": LONG}, LONG.encode(), True])
def test_validate_that_returns_no_text_as_the_id(world: World, session_id: Any) -> None:
    site = validated(world, session_id)
    token = site.generate({"cookie": f"sid={LONG}"}).json()["token"]
    assert LONG not in site.verify(token).json()["session"]["id"]


@pytest.mark.parametrize(
    ("value", "session_id"),
    [
        (LONG, "session-7"),
        (LONG, LONG[:-1]),
        (LONG, LONG[8:]),
        ("abc", "abcdef"),
        ("7", "session-7"),
        (f"s:session-7.{LONG}", "session-7"),
        ('{"id": "session-7-with-a-long-name"}', "session-7-with-a-long-name"),
    ],
)
def test_validate_that_returns_another_id(world: World, value: str, session_id: str) -> None:
    site = validated(world, session_id)
    token = site.generate({"cookie": f"sid={value}"}).json()["token"]
    assert site.verify(token).json()["session"]["id"] == session_id


@pytest.mark.parametrize("nothing", [None, "", 0, False])
def test_validate_without_an_id_gets_a_hash(world: World, nothing: Any) -> None:
    site = validated(world, nothing)
    token = site.generate({"cookie": "sid=0"}).json()["token"]
    assert len(site.verify(token).json()["session"]["id"]) == 43


@pytest.mark.parametrize("session_id", ["one-0123456789abcdef", "two"])
def test_validate_that_returns_one_of_several_cookies(
    world: World, session_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    site = validated(world, session_id, "sid", "csrf")
    answer = site.generate({"cookie": "sid=one-0123456789abcdef; csrf=two"})
    refused(answer, caplog, "one-0123456789abcdef", "CookieSession.validate")


def test_validate_is_refused_at_redemption_as_well(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[Any] = ["session-7"]
    session = CookieSession("sid", validate=lambda values: {"id": told[0]}, renews_key=True)
    site = world.serve(session=session)
    token = site.generate({"cookie": f"sid={LONG}"}).json()["token"]
    told[0] = LONG
    refused(site.verify(token), caplog, LONG, "CookieSession.validate")
    assert site.verify(token).code == "INVALID_TOKEN"


# Adapters of users.


class Mine(SessionAdapter):
    """An adapter that names the session by `name`, and keeps the cookie in the token, or not."""

    vouches = True
    blocks = False
    cookie_names: tuple[str, ...] = ("sid",)
    with_token = True

    def name(self, value: str) -> str:
        return value

    def current(self, request: Request) -> Session | None:
        for value in request.cookies("sid"):
            return Session(self.name(value), value if self.with_token else "", user_id="7")
        return None

    def resolve(self, session: Session) -> Session | None:
        return session

    def establish(self, session: Session, request: Request) -> Any:
        return [Cookie("sid", session.token or session.id)]


class Later(Mine):
    async def current(self, request: Request) -> Session | None:  # type: ignore[override]  # an adapter may be async
        return super().current(request)


class Unnamed(Mine):
    cookie_names = ()


class Several(Mine):
    cookie_names = ("sid", "csrf")

    def current(self, request: Request) -> Session | None:
        values = {name: request.cookies(name)[0] for name in self.cookie_names}
        return Session(values["csrf"], json.dumps(values))


class SeveralUnnamed(Several):
    cookie_names = ()

    def current(self, request: Request) -> Session | None:
        values = {"sid": request.cookies("sid")[0], "csrf": request.cookies("csrf")[0]}
        return Session(values["csrf"], json.dumps(values))


class WithoutToken(Mine):
    with_token = False


class Quoted(Mine):
    def name(self, value: str) -> str:
        return quote(value, safe="")


class Within(Mine):
    def name(self, value: str) -> str:
        return f"session/{value}/"


class Unverified(Mine):
    vouches = False


@pytest.mark.parametrize(
    "adapter",
    [Mine, Later, Unnamed, Several, SeveralUnnamed, WithoutToken, Quoted, Within, Unverified],
)
@pytest.mark.parametrize("value", ["abc", LONG, "a:b c"])
def test_current_of_a_user_s_adapter(
    world: World, adapter: type[Mine], value: str, caplog: pytest.LogCaptureFixture
) -> None:
    if adapter is Within and len(value) < 16:
        return  # a short value may stand in an id by chance
    site = world.serve(session=adapter())
    answer = site.generate({"cookie": f"sid={value}; csrf={value}"})
    refused(answer, caplog, value, f"{adapter.__name__}.current")


def test_handle_refuses_a_cookie_as_the_id(world: World) -> None:
    failures: list[str] = []

    async def look_later(seen: Seen) -> Reply:
        with pytest.raises(SessionUnavailable, match="cookie's value") as caught:
            await seen.ott.asession()
        failures.append(str(caught.value))
        return Reply()

    def look(seen: Seen) -> Reply:
        with pytest.raises(SessionUnavailable, match="cookie's value") as caught:
            _ = seen.ott.session
        failures.append(str(caught.value))
        return Reply()

    site = world.serve(look_later if world.interface == "asgi" else look, session=Mine())
    assert site.get("/", {"cookie": f"sid={LONG}"}).status == 200
    assert len(failures) == 1
    assert LONG not in failures[0]


class Renames(Members):
    """Gives the session another id on its way."""

    def __init__(self, at: str) -> None:
        super().__init__(person("alice"))
        self.at = at

    def expose(self, session: Session) -> Session:
        return replace(session, id=f"id {session.token} {LONG}") if self.at == "expose" else session

    def resolve(self, session: Session) -> Any:
        return replace(session, id=session.token) if self.at == "resolve" else session

    def establish(self, session: Session, request: Request) -> Iterator[Cookie]:
        yield Cookie("sid", session.id if self.at == "establish" else session.token)


@pytest.mark.parametrize("at", ["resolve", "establish"])
def test_resolve_that_renames_a_session(
    world: World, at: str, caplog: pytest.LogCaptureFixture
) -> None:
    site = world.serve(session=Renames(at))
    for redeem in (site.verify, lambda token: site.fetch(f"/?ott={token}")):
        caplog.clear()
        token = site.generate({"cookie": "sid=alice-cookie"}).json()["token"]
        refused(redeem(token), caplog, "alice-cookie", f"Renames.{at}")


def test_verify_returns_another_value_than_the_id(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    site = world.serve(session=Renames("resolve"), disable_set_session_cookie=True)
    token = site.generate({"cookie": "sid=alice-cookie"}).json()["token"]
    refused(site.verify(token), caplog, "alice-cookie", "Renames.resolve")


def test_establish_that_sets_the_id_as_the_cookie(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    class Begins(Members):
        def resolve(self, session: Session) -> Any:
            return replace(session, token="")

        def establish(self, session: Session, request: Request) -> Any:
            return [Cookie("sid", session.id)]

    site = world.serve(session=Begins(person("alice")), disable_set_session_cookie=True)
    token = site.generate({"cookie": "sid=alice-cookie"}).json()["token"]
    refused(site.verify(token), caplog, "session-of-alice", "Begins.establish")


# On the server, without a middleware.


class Echoes(Members):
    def resolve(self, session: Session) -> Any:
        return replace(session, id=self.live[session.token].id)


def test_token_service_refuses_an_id_that_is_a_secret() -> None:
    adapter = Echoes()
    tokens = OneTimeTokens(MemoryBackend(), sessions=adapter)
    for session_id in (LONG, f"of {LONG}"):
        with pytest.raises(SessionUnavailable, match="generate: a session's id") as caught:
            tokens.generate(Session(session_id, LONG))
        assert LONG not in str(caught.value)
    token = tokens.generate(Session("s", LONG))
    adapter.live[LONG] = Session(LONG, LONG)
    with pytest.raises(SessionUnavailable, match=r"Echoes\.resolve: a session's id"):
        tokens.verify(token)
    # Hand-made sessions with short names are told from secrets.
    adapter.live["s"] = short = Session("s", "s")
    assert tokens.verify(tokens.generate(short)) == short


def test_token_service_refuses_what_expose_renames() -> None:
    class Exposes(Members):
        def expose(self, session: Session) -> Session:
            return replace(session, id=session.token, token="sealed")

    tokens = OneTimeTokens(MemoryBackend(), sessions=Exposes())
    with pytest.raises(SessionUnavailable, match=r"Exposes\.expose: a session's id"):
        tokens.generate(Session("s", LONG))


# The rule.


@given(st.text(min_size=1), st.text(max_size=5), st.text(max_size=5))
def test_rule_holds_for_any_value(value: str, before: str, after: str) -> None:
    blank = not value.strip(' \t\r\n"')
    try:
        refuse_cookie_in_id(value, [value], where="here")
        raised = False
    except SessionUnavailable:
        raised = True
    assert raised is not blank
    if len(value.strip(' \t\r\n"')) >= 16 and "%" not in before + value + after:
        with pytest.raises(SessionUnavailable):
            refuse_cookie_in_id(before + value + after, [value], where="here")


@pytest.mark.parametrize("filling", ["%41", "%", '"', " ", "{", "[", "9", '{"a":'])
def test_rule_is_quick_whatever_a_client_sends(filling: str) -> None:
    value = (filling * 64_000)[:64_000]
    for token in (value, f'{{"a": {value}', f'{{"a": {value}}}'):
        refuse_cookie_in_id("session-7", (token, *cookie_values(token)), where="here")


@pytest.mark.parametrize(
    ("token", "values"),
    [
        ("abc", ["abc"]),
        ('{"sid": "a", "csrf": "b"}', ["a", "b"]),
        ('{"sid": "a", "n": 7, "deep": {"er": "x"}}', ["a"]),
        ("{}", []),
        ("{", ["{"]),
        ('{"a":' * 100_000, ['{"a":' * 100_000]),
        ('["a"]', ['["a"]']),
        ("", [""]),
    ],
)
def test_cookie_values_in_a_token(token: str, values: list[str]) -> None:
    assert cookie_values(token) == values
    assert cookie_values(token, several=False) == [token]
