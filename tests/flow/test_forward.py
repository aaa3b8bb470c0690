"""How the app's answers are edited: a token for who signs in, cookies for `sign_in`."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Any

import pytest
from harness import (
    FETCH,
    NAVIGATION,
    NOW,
    Clock,
    Members,
    Reply,
    Seen,
    WaitingMembers,
    World,
    call_wsgi,
    main_lines,
    make_environ,
    moment,
    person,
)

from ott_middleware import Backend, MemoryBackend, OneTimeTokens, SealedSession, WSGIMiddleware
from ott_middleware.flow.forward import Forward

SECRET = "a secret of thirty-two characters"
ALICE = {"cookie": "sid=alice-cookie"}
BOB = {"cookie": "sid=bob-cookie"}


def signs_in(*headers: tuple[str, str], status: int = 200) -> Any:
    def app(seen: Seen) -> Reply:
        return Reply(status, [("Content-Type", "text/plain"), *headers])

    return app


AS_ALICE = ("Set-Cookie", "sid=alice-cookie; Path=/; HttpOnly")


def offering(world: World, app: Any, **options: Any) -> Any:
    return world.serve(app, set_ott_header_on_new_session=True, **options)


# set-ott.


@pytest.mark.parametrize("headers", [{}, BOB, {"cookie": "sid=dead"}])
def test_sign_in_is_offered_a_token(world: World, headers: dict[str, str]) -> None:
    site = offering(world, signs_in(AS_ALICE))
    answer = site.send("POST", "/login", headers, b"x")
    assert answer.status == 200
    assert answer.header("cache-control") == "no-store"
    assert answer.header("access-control-expose-headers") == "set-ott"
    assert answer.cookies == {"sid": "alice-cookie"}
    token = answer.header("set-ott")
    assert site.verify(token).json()["session"]["userId"] == "alice"


def test_sign_in_without_the_option_is_offered_no_token(world: World) -> None:
    answer = world.serve(signs_in(AS_ALICE)).get("/")
    assert answer.header("set-ott") is None
    assert answer.header("cache-control") is None


@pytest.mark.parametrize(
    ("headers", "cookies"),
    [
        (ALICE, [AS_ALICE]),  # the same person, once more
        ({}, []),
        (ALICE, []),
        ({}, [("Set-Cookie", "other=alice-cookie")]),
        ({}, [("Set-Cookie", "sid=dead")]),
        ({}, [("Set-Cookie", "sid=")]),
        ({}, [("Set-Cookie", "sid=alice-cookie; Max-Age=0")]),
        ({}, [("Set-Cookie", "sid=alice-cookie; expires=Thu, 01 Jan 1970 00:00:00 GMT")]),
        (ALICE, [("Set-Cookie", "sid=; Max-Age=0")]),  # signing out
        ({}, [AS_ALICE, ("Set-Cookie", "sid=; Max-Age=0")]),
    ],
)
def test_other_response_is_offered_no_token(
    world: World, headers: dict[str, str], cookies: list[tuple[str, str]]
) -> None:
    answer = offering(world, signs_in(*cookies)).get("/", headers)
    assert answer.header("set-ott") is None
    assert answer.header("cache-control") is None


def test_another_session_of_the_same_person_is_no_news(world: World) -> None:
    again = person("alice", id="another", token="another-cookie")
    site = offering(world, signs_in(AS_ALICE), session=Members(person("alice"), again))
    assert site.get("/", {"cookie": "sid=another-cookie"}).header("set-ott") is None


def test_headers_that_the_app_exposes_stay_exposed(world: World) -> None:
    site = offering(
        world,
        signs_in(
            AS_ALICE,
            ("Access-Control-Expose-Headers", "x-a, X-B"),
            ("access-control-expose-headers", "x-c,,"),
            ("Cache-Control", "public"),
            ("ETag", "1"),
            ("Expires", "never"),
            ("X-Mine", "1"),
        ),
    )
    answer = site.get("/")
    assert answer.header("access-control-expose-headers") == "x-a, X-B, x-c, set-ott"
    assert answer.header("cache-control") == "no-store"
    assert answer.header("etag") is answer.header("expires") is None
    assert answer.header("x-mine") == "1"


def test_exposed_header_is_named_once(world: World) -> None:
    exposed = ("Access-Control-Expose-Headers", "Set-OTT")
    answer = offering(world, signs_in(AS_ALICE, exposed)).get("/")
    assert answer.header("access-control-expose-headers") == "Set-OTT"


def test_redirect_after_signing_in_carries_it_too(world: World) -> None:
    answer = offering(world, signs_in(AS_ALICE, status=302)).get("/")
    assert answer.header("set-ott") is not None


def test_redemption_never_mints_a_token(world: World) -> None:
    backend = MemoryBackend(clock=world.clock)
    site = offering(world, signs_in(AS_ALICE), backend=backend)
    for answer in (
        site.fetch(f"/?ott={site.token()}"),
        site.open(f"/?ott={site.token()}"),
        site.verify(site.token()),
    ):
        assert answer.cookies == {"sid": "alice-cookie"}
        assert answer.header("set-ott") is None
    assert len(backend) == 0


def test_session_before_is_asked_for_before_the_app(world: World) -> None:
    # Signing in as somebody else ends the session that was there; and signing in as the same
    # person anew is no news, though the old session is gone by the time of the answer.
    def login(seen: Seen) -> Reply:
        del members.live["old-cookie"]
        return signs_in(AS_ALICE)(seen)

    old = person("alice", id="old", token="old-cookie")
    members = Members(person("alice"), old)
    site = offering(world, login, session=members)
    assert site.get("/", {"cookie": "sid=old-cookie"}).header("set-ott") is None


def test_adapter_is_not_asked_before_without_a_cookie(world: World) -> None:
    site = offering(world, signs_in())
    site.get("/")
    assert site.members.asked == []


def test_waiting_adapter_is_waited_for(world: World) -> None:
    site = offering(world, signs_in(AS_ALICE), session=WaitingMembers(person("alice")))
    assert site.get("/").header("set-ott") is not None


class Full(MemoryBackend):
    def put(self, *args: Any, **how: Any) -> None:
        raise ConnectionError("alice-cookie")


def test_signing_in_works_though_no_token_can_be_made(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    answer = offering(world, signs_in(AS_ALICE), backend=Full(clock=world.clock)).get("/")
    assert (answer.status, answer.cookies) == (200, {"sid": "alice-cookie"})
    assert answer.header("set-ott") is answer.header("cache-control") is None
    (record,) = main_lines(caplog)
    assert record.getMessage().startswith(
        "no token offered: BackendUnavailable: the backend raised ConnectionError at "
    )


def test_signing_in_works_though_the_adapter_fails(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(Members):
        def current(self, request: Any) -> Any:
            raise RuntimeError("alice-cookie")

    answer = offering(world, signs_in(AS_ALICE), session=Failing()).get("/")
    assert (answer.status, answer.cookies) == (200, {"sid": "alice-cookie"})
    assert answer.header("set-ott") is None
    assert len(main_lines(caplog)) == 1
    assert "alice-cookie" not in caplog.text


def test_cookie_that_carries_a_session_by_itself_is_news(world: World) -> None:
    site = offering(world, signs_in(AS_ALICE), session="sid", backend=None)
    assert site.get("/").header("set-ott") is not None
    assert site.get("/", ALICE).header("set-ott") is None


# sign_in and sign_out.


def sealed(world: World, app: Any, **options: Any) -> Any:
    adapter = SealedSession(SECRET, clock=world.clock)
    return world.serve(app, session=adapter, **options)


def sign_in(seen: Seen) -> Reply:
    seen.ott.sign_in({"id": "alice", "name": "Alice"})
    assert seen.ott.session.user_id == "alice"
    return Reply()


async def sign_out(seen: Seen) -> Reply:
    await seen.ott.asession()
    seen.ott.sign_out()
    assert seen.ott.session is None
    return Reply()


def door(seen: Seen) -> Any:
    return {"/in": sign_in, "/out": sign_out}.get(seen.path, lambda seen: Reply())(seen)


def test_sign_in_and_sign_out(world: World) -> None:
    site = sealed(world, door)
    answer = site.get("/in")
    assert "Max-Age=1209600" in answer.cookie("ott_session")
    cookie = {"cookie": f"ott_session={answer.cookies['ott_session']}"}
    assert site.generate(cookie).status == 200
    assert site.get("/", cookie).all("set-cookie") == []
    answer = site.get("/out", cookie)
    assert answer.cookies == {"ott_session": ""}
    assert "Max-Age=0" in answer.cookie("ott_session")


def test_cookie_of_sign_in_is_secure_over_https(world: World) -> None:
    site = sealed(world, door)
    answer = site.get("/in", scheme="https")
    assert "Secure" in answer.cookie("ott_session")
    answer = site.get("/out", {"cookie": "ott_session=x"}, scheme="https")
    assert "Secure" in answer.cookie("ott_session")


def test_sign_out_revokes_the_sessions_tokens(world: World) -> None:
    site = sealed(world, door)
    cookie = {"cookie": f"ott_session={site.get('/in').cookies['ott_session']}"}
    tokens = [site.generate(cookie).json()["token"] for _ in range(2)]
    assert site.verify(tokens[0]).status == 200
    site.get("/out", cookie)
    answer = site.verify(tokens[1])
    assert (answer.code, answer.all("set-cookie")) == ("INVALID_TOKEN", [])


def test_sign_out_of_nobody(world: World) -> None:
    answer = sealed(world, door).get("/out")
    assert (answer.status, answer.cookies) == (200, {"ott_session": ""})


class CannotRevoke(MemoryBackend):
    def __init__(self, clock: Clock) -> None:
        super().__init__(clock=clock)

    def revoke(self, owner: str) -> int:
        return Backend.revoke(self, owner)

    async def arevoke(self, owner: str) -> int:
        return self.revoke(owner)


@pytest.mark.parametrize("failure", [None, ConnectionError("secret of the store")])
def test_sign_out_works_though_nothing_can_be_revoked(
    world: World, caplog: pytest.LogCaptureFixture, failure: Exception | None
) -> None:
    class Failing(CannotRevoke):
        def revoke(self, owner: str) -> int:
            if failure is None:
                return super().revoke(owner)
            raise failure

    site = sealed(world, door, backend=Failing(world.clock))
    cookie = {"cookie": f"ott_session={site.get('/in').cookies['ott_session']}"}
    assert site.get("/out", cookie).cookies == {"ott_session": ""}
    (record,) = main_lines(caplog)
    assert record.levelno == logging.ERROR
    assert record.getMessage().startswith("tokens not revoked at sign-out: ")
    assert "secret of the store" not in caplog.text


def test_sign_in_by_the_handle_is_offered_a_token(world: World) -> None:
    site = sealed(world, door, set_ott_header_on_new_session=True)
    answer = site.get("/in")
    assert site.verify(answer.header("set-ott")).json()["session"]["userId"] == "alice"
    cookie = {"cookie": f"ott_session={answer.cookies['ott_session']}"}
    assert site.get("/out", cookie).header("set-ott") is None


def test_call_may_sign_out_at_once(world: World) -> None:
    site = sealed(world, door)
    alice = SealedSession(SECRET, clock=world.clock).start("alice", remember=True)
    answer = site.fetch(f"/out?ott={site.token(alice)}")
    assert answer.cookies == {"ott_session": ""}
    assert answer.header("cache-control") == "private, no-store"
    answer = site.fetch(f"/in?ott={site.token(alice)}")
    assert len(answer.all("set-cookie")) == 1


def test_cookie_after_the_response_began_is_refused(world: World) -> None:
    late: list[Any] = []

    def app(seen: Seen) -> Reply:
        late.append(seen.ott)
        return Reply()

    sealed(world, app).get("/")
    with pytest.raises(RuntimeError, match="before the response begins"):
        late[0].sign_in("alice")
    with pytest.raises(RuntimeError, match="before the response begins"):
        late[0].sign_out()


def test_adapter_that_cannot_begin_sessions_offers_no_sign_in(world: World) -> None:
    site = world.serve()
    site.get("/")
    handle = site.seen[0].ott
    # The first round finds the response open, the second one finds it begun.
    for _ in range(2):
        for call in (lambda: handle.sign_in("alice"), handle.sign_out):
            with pytest.raises(RuntimeError, match=r"Members can't sign .* SealedSession"):
                call()
        assert not handle.close()


def test_expired_session_is_established_nowhere(world: World) -> None:
    short = person("alice", expires_at=moment(NOW + 60))
    site = world.serve(session=Members(short))
    token = site.token(short)
    world.clock.forward(61)
    for headers in (NAVIGATION, FETCH):
        answer = site.get(f"/?ott={token}", headers)
        assert (answer.status, answer.all("set-cookie")) == (400, [])


def test_changes_of_a_request_are_in_no_repr() -> None:
    forward = Forward({"cookie": "sid=alice-cookie"}, remote_user="alice-cookie")
    assert "alice-cookie" not in repr(forward)


def test_cookie_of_a_redemption_is_in_no_variable_that_reporters_record(world: World) -> None:
    """Some record the local variables of all callers at each line that is logged as an error."""
    told: list[str] = []

    class Looks(Members):
        def current(self, request: Any) -> Any:
            # Later it is in the scope or environ that the app was called with.
            frame = None if site.seen else sys._getframe()
            while frame is not None:
                if "ott_middleware" in frame.f_code.co_filename:
                    told.extend(map(repr, frame.f_locals.values()))
                frame = frame.f_back
            return super().current(request)

    site = world.serve(session=Looks(person("alice")), revoke_on_sign_out=True)
    assert site.fetch(f"/x?ott={site.token()}").status == 200
    assert len(told) > 5
    assert "alice-cookie" not in " ".join(told)


def test_handle_token_is_redeemed_at_the_target_site(world: World) -> None:
    # What the handle generates is redeemed anywhere that shares the backend.
    backend = MemoryBackend(clock=world.clock)
    members = Members(person("alice"))
    elsewhere = OneTimeTokens(backend, sessions=members)

    async def mint(seen: Seen) -> Reply:
        token = await seen.ott.agenerate(audience="https://b.example", expires_in=1)
        return Reply(body=token.encode())

    site = world.serve(mint, session=members, backend=backend)
    token = site.get("/", ALICE).body.decode()
    session = asyncio.run(elsewhere.averify(token, audience="https://b.example"))
    assert session.user_id == "alice"


@pytest.mark.parametrize(
    ("again", "whose"),
    [([], None), ([("Set-Cookie", "sid=bob-cookie")], "bob"), ("same", "alice")],
)
def test_answer_that_begins_anew_is_judged_anew(again: Any, whose: str | None) -> None:
    """PEP 3333: start_response with exc_info. A token is offered for who is signed in by then."""
    first = [("Set-Cookie", "sid=alice-cookie")]

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", list(first))
        try:
            raise LookupError
        except LookupError as error:
            headers = list(first if again == "same" else again)
            start_response("200 OK", headers, (LookupError, error, None))
        return [b""]

    members, backend = Members(person("alice"), person("bob")), MemoryBackend(clock=Clock(NOW))
    site = WSGIMiddleware(app, session=members, backend=backend, set_ott_header_on_new_session=True)
    answer = call_wsgi(site, make_environ("GET", "/", {}))
    token = answer.header("set-ott")
    if whose is None:
        assert token is None
    else:
        assert site.flow.tokens.verify(str(token)).user_id == whose
    assert len(backend) == (0 if again == "same" else 1)
