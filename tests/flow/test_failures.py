"""What others wrote fails: 503, one line in the log, and nobody's secret in it."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest
from harness import (
    NAVIGATION,
    BlockingMembers,
    Members,
    Reply,
    Seen,
    Site,
    WaitingMembers,
    World,
    main_lines,
    person,
)

from ott_middleware import Backend, ConfigurationError, MemoryBackend, OneTimeTokens
from ott_middleware.errors import BackendFull, KeyTaken, NotSupported, SessionUnavailable
from ott_middleware.http import Cookie, Response

ALICE = {"cookie": "sid=alice-cookie"}
SECRET_WORDS = "alice-cookie and whatever else nobody should read"

Log = pytest.LogCaptureFixture


def the_line(caplog: Log) -> str:
    """The one line that was logged, without a secret in it."""
    records = [record for record in caplog.records if record.name == "ott_middleware"]
    assert len(records) == 1, [record.getMessage() for record in records]
    line = records[0].getMessage()
    assert records[0].levelno == logging.ERROR
    assert records[0].exc_info is None
    assert "\n" not in line
    assert "alice-cookie" not in caplog.text
    return line


def assert_unavailable(answer: Any, code: str = "SESSION_UNAVAILABLE") -> None:
    assert answer.status == 503
    assert answer.header("retry-after") == "5"
    assert answer.all("set-cookie") == []
    assert b"alice-cookie" not in answer.body
    assert b"Traceback" not in answer.body
    if answer.header("content-type") == "application/json":
        assert answer.code == code
    else:
        assert b"Please try again" in answer.body


class Failing(Members):
    """Fails in one method, in one way."""

    def __init__(self, where: str, failure: Any) -> None:
        super().__init__(person("alice"))
        self.where, self.failure = where, failure

    def fail(self) -> Any:
        if isinstance(self.failure, BaseException):
            raise self.failure
        return self.failure

    def current(self, request: Any) -> Any:
        return self.fail() if self.where == "current" else super().current(request)

    def resolve(self, session: Any) -> Any:
        return self.fail() if self.where == "resolve" else super().resolve(session)

    def establish(self, session: Any, request: Any) -> Any:
        return self.fail() if self.where == "establish" else super().establish(session, request)


class FailingBlocked(Failing):
    blocks = True


class FailingLater(Failing):
    async def current(self, request: Any) -> Any:
        return super().current(request)

    async def resolve(self, session: Any) -> Any:
        return super().resolve(session)

    async def establish(self, session: Any, request: Any) -> Any:
        return super().establish(session, request)


def broken_cookies() -> Any:
    yield Cookie("a", "b")
    raise RuntimeError(SECRET_WORDS)


RAISED = [
    RuntimeError(SECRET_WORDS),
    KeyError("alice-cookie"),
    StopIteration("alice-cookie"),
    TimeoutError(),
    ConfigurationError("a cookie that browsers drop"),
    NotSupported("not here"),
    KeyTaken("taken"),
]
WRONG = {"current": ["alice", 1, b"x"], "resolve": ["alice", 1], "establish": [None, 1, ["sid=x"]]}
CASES = [(where, failure) for where in WRONG for failure in (*RAISED, *WRONG[where])]


@pytest.mark.parametrize("colour", [Failing, FailingBlocked, FailingLater])
@pytest.mark.parametrize(("where", "failure"), CASES)
def test_adapter_fails(world: World, caplog: Log, colour: Any, where: str, failure: Any) -> None:
    site = world.serve(session=colour(where, failure))
    if where == "current":
        assert_unavailable(site.generate(ALICE))
        assert type(site.members).__name__ in the_line(caplog)
        return
    assert_unavailable(site.verify(site.token()))
    assert where in the_line(caplog) or isinstance(failure, Exception)
    caplog.clear()
    assert_unavailable(site.open(f"/?ott={site.token()}"))
    the_line(caplog)
    caplog.clear()
    assert_unavailable(site.fetch(f"/?ott={site.token()}"))
    the_line(caplog)
    assert site.seen == []


def test_cookies_that_fail_while_they_are_made(world: World, caplog: Log) -> None:
    site = world.serve(session=Failing("establish", broken_cookies()))
    assert_unavailable(site.verify(site.token()))
    assert "RuntimeError" in the_line(caplog)


@pytest.mark.parametrize("colour", [Failing, FailingBlocked, FailingLater])
def test_link_is_still_good_when_nobody_can_tell_who_is_asking(
    world: World, caplog: Log, colour: Any
) -> None:
    adapter = colour("current", RuntimeError(SECRET_WORDS))
    site = world.serve(session=adapter)
    token = site.token()
    for answer in (site.open(f"/?ott={token}"), site.fetch(f"/?ott={token}")):
        assert_unavailable(answer)
    assert len(main_lines(caplog)) == 2
    adapter.where = ""
    assert site.open(f"/?ott={token}").status == 303


def test_page_does_not_promise_that_a_burnt_link_is_good(world: World, caplog: Log) -> None:
    site = world.serve(session=Failing("establish", RuntimeError()))
    token = site.token()
    assert b"still good" not in site.open(f"/?ott={token}").body
    site.members.where = ""
    assert site.open(f"/?ott={token}").status == 400


@pytest.mark.parametrize("user", [{"a": object()}, {"a": {1, 2}}, {"a": float("nan")}])
def test_user_that_is_no_json(world: World, caplog: Log, user: Any) -> None:
    site = world.serve(session=Members(person("alice", user=user)))
    assert_unavailable(site.verify(site.token(person("alice"))))
    the_line(caplog)
    caplog.clear()
    # Nor can such a session be carried.
    assert_unavailable(site.generate(ALICE))
    the_line(caplog)


class Broken(Backend):
    blocks = False
    shared = False

    def __init__(self, world: World, failure: Any) -> None:
        self.clock, self.failure = world.clock, failure

    def put(self, key: str, value: bytes, **how: Any) -> None:
        raise self.failure

    def take(self, key: str) -> bytes | None:
        raise self.failure


class BrokenBlocked(Broken):
    blocks = True


class BrokenLater(Broken):
    async def aput(self, key: str, value: bytes, **how: Any) -> None:
        raise self.failure

    async def atake(self, key: str) -> bytes | None:
        raise self.failure


@pytest.mark.parametrize("colour", [Broken, BrokenBlocked, BrokenLater])
@pytest.mark.parametrize(
    "failure", [ConnectionError(SECRET_WORDS), StopIteration(SECRET_WORDS), NotSupported("no")]
)
def test_backend_is_unreachable(world: World, caplog: Log, colour: Any, failure: Exception) -> None:
    site = world.serve(backend=colour(world, failure))
    assert_unavailable(site.generate(ALICE), "BACKEND_UNAVAILABLE")
    the_line(caplog)
    for ask in (
        lambda: site.verify("some-token"),
        lambda: site.open("/?ott=some-token"),
        lambda: site.fetch("/?ott=some-token"),
    ):
        caplog.clear()
        assert_unavailable(ask(), "BACKEND_UNAVAILABLE")
        assert "some-token" not in the_line(caplog)
    assert site.seen == []


def test_backend_is_full(world: World, caplog: Log) -> None:
    site = world.serve(backend=MemoryBackend(maxsize=1, clock=world.clock))
    assert site.generate(ALICE).status == 200
    answer = site.generate({"cookie": "sid=bob-cookie"})
    assert_unavailable(answer, "BACKEND_FULL")
    the_line(caplog)


@pytest.mark.parametrize("value", ["text", 7, object()])
def test_backend_answers_nonsense(world: World, caplog: Log, value: Any) -> None:
    class Nonsense(MemoryBackend):
        def take(self, key: str) -> Any:
            return value

    site = world.serve(backend=Nonsense(clock=world.clock))
    assert_unavailable(site.verify("some-token"), "BACKEND_UNAVAILABLE")
    the_line(caplog)


def raises(*args: Any) -> Any:
    raise RuntimeError(SECRET_WORDS)


async def raises_later(*args: Any) -> Any:
    raise RuntimeError(SECRET_WORDS)


@pytest.mark.parametrize("hook", [raises, raises_later, lambda *a: 7, lambda *a: "no token"])
def test_generate_token_fails(world: World, caplog: Log, hook: Any) -> None:
    assert_unavailable(world.serve(generate_token=hook).generate(ALICE))
    assert "generate_token" in the_line(caplog)


@pytest.mark.parametrize("hook", [raises, raises_later, lambda token: 7, lambda token: ""])
def test_hasher_fails(world: World, caplog: Log, hook: Any) -> None:
    site = world.serve(store_token=hook)
    assert_unavailable(site.generate(ALICE))
    assert "store_token" in the_line(caplog)
    caplog.clear()
    assert_unavailable(site.verify("some-token"))
    the_line(caplog)


@pytest.mark.parametrize("hook", [raises, raises_later, lambda *a: None, lambda *a: "text"])
@pytest.mark.parametrize("accept", ["text/html", "application/json"])
def test_on_invalid_fails(world: World, caplog: Log, hook: Any, accept: str) -> None:
    answer = world.serve(on_invalid=hook).load("/?ott=dead", {"accept": accept})
    assert_unavailable(answer)
    assert "on_invalid" in the_line(caplog)


def test_hook_may_answer_with_an_error_of_ours(world: World, caplog: Log) -> None:
    def refuse(request: Any, error: Any) -> Response:
        raise SessionUnavailable("closed for the night")

    answer = world.serve(on_invalid=refuse).fetch("/?ott=dead")
    assert_unavailable(answer)
    assert "closed for the night" in the_line(caplog)


class OwnService:
    """A token service that somebody wrote."""

    def __init__(self, world: World, answer: Any) -> None:
        self.clock, self.answer = world.clock, answer

    def generate(self, session: Any, **how: Any) -> Any:
        return self._answer()

    def verify(self, token: str, **how: Any) -> Any:
        return self._answer()

    def revoke(self, session_id: str) -> int:
        return 0

    async def agenerate(self, session: Any, **how: Any) -> Any:
        return self._answer()

    async def averify(self, token: str, **how: Any) -> Any:
        return self._answer()

    async def arevoke(self, session_id: str) -> int:
        return 0

    def _answer(self) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(
    "failure", [ConnectionError(SECRET_WORDS), NotSupported("no"), BackendFull(), None, 7]
)
def test_token_service_of_ones_own_fails(world: World, caplog: Log, failure: Any) -> None:
    site = world.serve(tokens=OwnService(world, failure))
    code = "BACKEND_FULL" if isinstance(failure, BackendFull) else "BACKEND_UNAVAILABLE"
    for ask in (
        lambda: site.generate(ALICE),
        lambda: site.verify("some-token"),
        lambda: site.open("/?ott=some-token"),
        lambda: site.fetch("/?ott=some-token"),
    ):
        caplog.clear()
        assert_unavailable(ask(), code)
        the_line(caplog)


def test_apps_own_failure_stays_the_apps(world: World) -> None:
    class Oops(Exception):
        pass

    def fail(seen: Seen) -> Reply:
        raise Oops

    site = world.serve(fail)
    for target in ("/", f"/?ott={site.token()}"):
        with pytest.raises(Oops):
            site.fetch(target)


def test_failure_to_look_does_not_keep_the_app_from_responding(world: World, caplog: Log) -> None:
    adapter = Failing("current", RuntimeError(SECRET_WORDS))
    site = world.serve(session=adapter, set_ott_header_on_new_session=True)
    answer = site.fetch("/", ALICE)
    assert (answer.status, answer.body) == (200, b"hello")
    the_line(caplog)


@pytest.mark.parametrize("adapter", [Members, WaitingMembers, BlockingMembers])
def test_adapters_sync_and_async_do_everything(world: World, adapter: Any) -> None:
    async def whose(seen: Seen) -> Reply:
        session = await seen.ott.asession()
        return Reply(body=session.user_id.encode())

    site = world.serve(whose, session=adapter(person("alice"), person("bob")))
    token = site.generate(ALICE).json()["token"]
    assert site.verify(token).cookies == {"sid": "alice-cookie"}
    token = site.generate(ALICE).json()["token"]
    assert site.open(f"/?ott={token}").cookies == {"sid": "alice-cookie"}
    token = site.generate(ALICE).json()["token"]
    assert site.fetch(f"/?ott={token}").body == b"alice"
    assert site.fetch("/", {"cookie": "sid=bob-cookie"}).body == b"bob"


def test_hooks_may_be_async_and_all_at_once(world: World) -> None:
    async def make(session: Any, context: Any) -> str:
        await asyncio.sleep(0)
        return f"made-for-{session.user_id}"

    async def scramble(token: str) -> str:
        await asyncio.sleep(0)
        return token[::-1]

    async def invalid(request: Any, error: Any) -> Response:
        await asyncio.sleep(0)
        return Response(410)

    site = world.serve(
        session=WaitingMembers(person("alice")),
        generate_token=make,
        store_token=scramble,
        on_invalid=invalid,
    )
    assert site.generate(ALICE).json() == {"token": "made-for-alice"}
    assert site.verify("made-for-alice").status == 200
    assert site.fetch("/?ott=made-for-alice").status == 410


# Nothing leaks.


def test_secrets_are_in_no_log_or_repr(
    world: World, caplog: Log, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    said: list[str] = []

    def look(seen: Seen) -> Reply:
        handle = seen.ott
        said.append(repr(handle) + repr(handle.request) + repr(handle.session))
        return Reply()

    def invalid(request: Any, error: Any) -> Response:
        said.append(repr(request) + repr(error) + str(error))
        return Response(400, (("X-Secret", "the-secret-header"),), b"the-secret-body")

    site: Site = world.serve(look, on_invalid=invalid, secret="the-secret-of-the-site")
    tokens = [site.generate(ALICE).json()["token"] for _ in range(5)]
    site.verify(tokens[0])
    site.verify(tokens[0])
    site.open(f"/?ott={tokens[1]}")
    site.open(f"/?ott={tokens[1]}")
    site.fetch(f"/?ott={tokens[2]}", ALICE)
    site.fetch(f"/?ott={tokens[2]}", ALICE)
    site.fetch(f"/?ott={tokens[3]}&ott={tokens[4]}")
    site.fetch("/", ALICE)
    said.append(repr(Response(200, (("Set-Cookie", "sid=alice-cookie"),), tokens[0].encode())))
    said.append(repr(Cookie("sid", "alice-cookie")) + repr(person("alice")))
    said.append(repr(site.flow.options) + repr(site.flow.tokens) + repr(site.middleware))
    out, err = capfd.readouterr()
    everything = " ".join([*said, caplog.text, out, err])
    assert len(said) > 5
    for secret in (*tokens, "alice-cookie", "the-secret"):
        assert secret not in everything


def test_bad_body_gives_no_stack_trace_and_no_token(world: World, caplog: Log) -> None:
    site = world.serve()
    for body in (b"{", b"[" * 9000, json.dumps({"token": "leaky token"}).encode()):
        answer = site.post_verify(body)
        assert b"leaky" not in answer.body
        assert b"Traceback" not in answer.body
    assert caplog.records == []
    assert site.get("/?ott=leaky-token", NAVIGATION).body.find(b"leaky") == -1
    assert caplog.records == []


def test_failure_that_is_its_own_cause_is_told_in_one_line_as_well(
    world: World, caplog: Log
) -> None:
    class Ring(MemoryBackend):
        def take(self, key: str) -> bytes | None:
            first, second = OSError(SECRET_WORDS), ValueError(SECRET_WORDS)
            first.__cause__, second.__cause__ = second, first
            raise first

    members = Members(person("alice"))
    site = world.serve(
        session=members, tokens=OneTimeTokens(Ring(clock=world.clock), sessions=members)
    )
    assert site.verify("some-token").code == "BACKEND_UNAVAILABLE"
    assert the_line(caplog).count("ValueError") == 4


@pytest.mark.parametrize("service", [OneTimeTokens])
def test_failure_is_named_with_its_causes(world: World, caplog: Log, service: Any) -> None:
    class Deep(MemoryBackend):
        def take(self, key: str) -> bytes | None:
            try:
                raise OSError(SECRET_WORDS)
            except OSError as error:
                raise ValueError(SECRET_WORDS) from error

    members = Members(person("alice"))
    site = world.serve(session=members, tokens=service(Deep(clock=world.clock), sessions=members))
    site.verify("some-token")
    assert the_line(caplog).endswith("(ValueError, OSError)")
