"""The watch: which requests and responses the flow sees, and that no other needs it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from harness import (
    NOW,
    Clock,
    Members,
    Reply,
    Seen,
    World,
    call_asgi,
    call_wsgi,
    make_environ,
    make_scope,
    moment,
    person,
    run,
    set_cookie,
)

from ott_middleware import (
    ASGIMiddleware,
    CookieSession,
    MemoryBackend,
    SealedSession,
    Session,
    SignInAdapter,
    WSGIMiddleware,
)
from ott_middleware.context import PROBE, handle_in
from ott_middleware.crypto import CookieSeal
from ott_middleware.flow import Flow
from ott_middleware.http import Request
from ott_middleware.tokens.names import COUNTED

SECRET = "a secret of thirty-two characters"
SEALED = {"cookie": "theme=dark; ott_session=x"}
OTHER = {"cookie": "theme=dark"}
REVOKES = {"revoke_on_sign_out": True}
OFFERS = {"set_ott_header_on_new_session": True}


class ByHeader(SealedSession):
    """Finds a session by a header as well."""

    def current(self, request: Request) -> Session | None:
        found = super().current(request)
        return found or (person("alice") if request.header("x-user") else None)


@pytest.fixture
def decided(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of the requests that the flow has seen before the app."""
    paths: list[str] = []
    decide = Flow.decide

    async def noting(self: Flow, request: Request, *others: Any) -> Any:
        paths.append(request.path)
        return await decide(self, request, *others)

    monkeypatch.setattr(Flow, "decide", noting)
    return paths


@pytest.mark.parametrize(
    ("adapter", "options", "path", "headers", "sees"),
    [
        (SealedSession(SECRET), {}, "/", {}, False),
        (SealedSession(SECRET), {}, "/", SEALED, False),
        (SealedSession(SECRET), {}, "/?a=1&ott=x", {}, True),
        (SealedSession(SECRET), REVOKES, "/", {}, False),
        (SealedSession(SECRET), REVOKES, "/", OTHER, False),
        (SealedSession(SECRET), REVOKES, "/", SEALED, True),
        (SealedSession(SECRET), REVOKES, "/", [*OTHER.items(), *SEALED.items()], True),
        (SealedSession(SECRET), OFFERS, "/", OTHER, False),
        (SealedSession(SECRET), OFFERS, "/", SEALED, True),
        (SealedSession(SECRET, sign_out_path="/out/"), {}, "/", SEALED, False),
        (SealedSession(SECRET, sign_out_path="/out/"), {}, "/out", {}, True),
        (SealedSession(SECRET, sign_out_path="/out"), {}, "/out//", {}, True),
        (SealedSession(SECRET, sign_out_path="/hinausgehen-é"), {}, "/", {}, True),
        (ByHeader(SECRET), {}, "/", OTHER, False),
        (ByHeader(SECRET), REVOKES, "/", {}, False),
        (ByHeader(SECRET), REVOKES, "/", OTHER, True),
        (Members(), REVOKES, "/", {}, False),
        (Members(), REVOKES, "/", OTHER, True),
        (CookieSession("sid", "other_*"), OFFERS, "/", OTHER, False),
        (CookieSession("sid", "other_*"), OFFERS, "/", {"cookie": "a=b; other_7=x"}, True),
    ],
)
def test_flow_sees_what_it_must(
    world: World,
    decided: list[str],
    adapter: Any,
    options: dict[str, Any],
    path: str,
    headers: Any,
    sees: bool,
) -> None:
    assert world.serve(session=adapter, **options).get(path, headers).status in (200, 400)
    assert bool(decided) == sees


@pytest.mark.parametrize(("options", "sees"), [({}, False), (OFFERS, True), (REVOKES, True)])
def test_probe_is_seen_where_it_could_be_taken_for_a_visit(
    world: World, decided: list[str], options: dict[str, Any], sees: bool
) -> None:
    site = world.serve(session=SealedSession(SECRET), **options)
    site.get("/", carrier={PROBE: True})
    assert bool(decided) == sees


@pytest.mark.parametrize("outer", [None, "the handle of another layer"])
@pytest.mark.parametrize("options", [OFFERS, REVOKES])
def test_adapter_sees_no_handle_before_the_app_is_called(
    world: World, options: dict[str, Any], outer: str | None
) -> None:
    seen: list[Any] = []

    class Noting(Members):
        def current(self, request: Request) -> Session | None:
            seen.append(handle_in(request.carrier))
            return super().current(request)

    site = world.serve(session=Noting(), **options)
    carrier = {"ott": outer, "ott.handle": outer} if outer else {}
    assert site.get("/", {"cookie": "sid=alice-cookie"}, carrier=carrier).status == 200
    # By the handle, adapters tell that a view asks: its connections and middleware are at work.
    assert seen[0] == outer


def test_cookie_that_the_app_adds_for_itself_signs_nobody_in() -> None:
    adapter = SealedSession(SECRET)
    cookie = f"ott_session={adapter.start('alice', remember=True).token}".encode()

    async def bridge(scope: Any, receive: Any, send: Any) -> None:
        scope["headers"].append((b"cookie", cookie))
        headers = [(b"set-cookie", b"theme=dark")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body"})

    site = ASGIMiddleware(bridge, session=adapter, **OFFERS)
    assert run(call_asgi(site, make_scope("GET", "/"))).header("set-ott") is None


def test_session_by_a_header_is_revoked_where_the_adapter_knows_it(world: World) -> None:
    def app(seen: Seen) -> Reply:
        seen.ott.sign_in("bob")
        return Reply()

    site = world.serve(app, session=ByHeader(SECRET, clock=world.clock), revoke_on_sign_out=True)
    token = site.token(person("alice"))
    site.get("/", {"x-user": "alice", **OTHER})
    assert site.verify(token).code == "INVALID_TOKEN"


class ByCarrier(Members):
    """Finds what the app has put into the scope or environ."""

    def current(self, request: Any) -> Any:
        return request.carrier.get("app.member")


def test_adapter_sees_what_the_app_has_changed(world: World) -> None:
    def app(seen: Seen) -> Reply:
        seen.carrier["app.member"] = person("alice")
        return Reply(200, [set_cookie("sid", "alice-cookie")])

    site = world.serve(app, session=ByCarrier(), **OFFERS)
    assert site.get("/").header("set-ott") is not None


def test_request_is_read_as_it_came(world: World) -> None:
    def app(seen: Seen) -> Reply:
        seen.carrier.update({"scheme": "https", "wsgi.url_scheme": "https"})
        seen.ott.sign_in("alice")
        return Reply()

    site = world.serve(app, session=SealedSession(SECRET, clock=world.clock))
    assert "Secure" not in site.get("/").cookie("ott_session")


def test_asgi_headers_that_are_an_iterator_are_sent() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers: Iterator[Any] = iter([(b"set-cookie", b"sid=alice-cookie"), (b"x-mine", b"1")])
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body"})

    backend = MemoryBackend(clock=Clock(NOW))
    site = ASGIMiddleware(app, session=Members(person("alice")), backend=backend, **OFFERS)
    answer = run(call_asgi(site, make_scope()))
    assert answer.header("x-mine") == "1"
    assert answer.cookies == {"sid": "alice-cookie"}
    assert answer.header("set-ott") is not None


def test_asgi_response_without_headers_passes() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204})

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    site = ASGIMiddleware(app, session=Members(), **OFFERS)
    run(site(make_scope(), None, send))
    assert sent == [{"type": "http.response.start", "status": 204}]


def test_wsgi_response_that_begins_anew_keeps_its_sign_in() -> None:
    clock = Clock(NOW)

    def app(environ: Any, start_response: Any) -> list[bytes]:
        environ["ott.handle"].sign_in("alice")
        start_response("200 OK", [])
        try:
            raise LookupError
        except LookupError as error:
            start_response("500 Error", [("X-Mine", "1")], exc_info=(LookupError, error, None))
        return [b""]

    site = WSGIMiddleware(app, session=SealedSession(SECRET, clock=clock))
    answer = call_wsgi(site, make_environ())
    assert (answer.status, answer.header("x-mine")) == (500, "1")
    assert list(answer.cookies) == ["ott_session"]


def test_wsgi_response_that_begins_anew_without_a_sign_in_passes() -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Set-Cookie", "a=b")])
        try:
            raise LookupError
        except LookupError as error:
            start_response("500 Error", [], exc_info=(LookupError, error, None))
        return [b""]

    site = WSGIMiddleware(app, session=SealedSession(SECRET))
    answer = call_wsgi(site, make_environ())
    assert (answer.status, answer.headers) == (500, [])


class OwnSignIn(SignInAdapter):
    """Starts and ends sessions by itself; its log-out page may be any."""

    blocks = False
    vouches = True
    sign_out_path = "/"

    def current(self, request: Request) -> Session | None:
        return person("alice", expires_at=moment(NOW + 60)) if request.cookies("sid") else None

    def end(self, request: Request) -> Any:
        return [Members().attributes.cookie("sid", "")]


def test_log_out_page_at_the_root_ends_the_session(world: World) -> None:
    answer = world.serve(session=OwnSignIn()).get("/", {"cookie": "sid=x"})
    assert answer.cookies == {"sid": ""}


# A session that is found before the app is called, by an adapter that would say the same again.


class Counting(MemoryBackend):
    """Counts the calls of `revoke`."""

    revoked = 0

    def revoke(self, owner: str) -> int:
        self.revoked += 1
        return super().revoke(owner)


class Club:
    """A site with sealed sessions of a minute, which revokes tokens at sign-out."""

    def __init__(self, world: World, app: Any, **options: Any) -> None:
        adapter = SealedSession(SECRET, lifetime=timedelta(minutes=1), clock=world.clock)
        self.backend = Counting(clock=world.clock)
        self.site = world.serve(app, session=adapter, backend=self.backend, **REVOKES, **options)
        self.alice = {"cookie": f"ott_session={adapter.start('alice', remember=True).token}"}


async def read(seen: Seen) -> Reply:
    session = await seen.ott.asession()
    return Reply(body=session.user_id.encode() if session else b"nobody")


def test_cookie_is_opened_once_a_request(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    opens = CookieSeal.open

    def noting(self: CookieSeal, value: str) -> Any:
        opened.append(value)
        return opens(self, value)

    monkeypatch.setattr(CookieSeal, "open", noting)
    club = Club(world, read)
    assert club.site.get("/", club.alice).body == b"alice"
    assert len(opened) == 1


def test_session_that_was_found_is_read_without_waiting(world: World) -> None:
    club = Club(world, lambda seen: Reply(body=seen.ott.session.user_id.encode()))
    assert club.site.get("/", club.alice).body == b"alice"


def test_response_that_changes_no_cookie_is_sent_as_it_is(world: World) -> None:
    headers = [("X-Mine", "1"), ("Content-Type", "text/plain")]
    club = Club(world, lambda seen: Reply(200, headers))
    answer = club.site.get("/", club.alice)
    assert answer.headers == [(name.lower(), value) for name, value in headers]
    assert club.backend.revoked == 0


@pytest.mark.parametrize(
    ("header", "ends"),
    [
        (("Set-Cookie", "ott_session=; Max-Age=0"), True),
        (("set-cookie", "theme=light"), False),
        (("Clear-Site-Data", '"cookies"'), True),
        (("Clear-Site-Data", '"cache"'), False),
    ],
)
def test_response_that_changes_a_cookie_is_looked_at(
    world: World, header: tuple[str, str], ends: bool
) -> None:
    club = Club(world, lambda seen: Reply(200, [header]))
    club.site.get("/", club.alice)
    assert bool(club.backend.revoked) is ends


@pytest.mark.parametrize("headers", [[], [("Set-Cookie", "theme=light")]])
def test_session_that_expires_meanwhile_is_over(world: World, headers: Any) -> None:
    def app(seen: Seen) -> Reply:
        world.clock.forward(61)
        return Reply(200, headers)

    club = Club(world, app)
    club.site.get("/", club.alice)
    assert club.backend.revoked == len(COUNTED)


def test_app_that_asks_after_the_end_finds_no_session(world: World) -> None:
    async def app(seen: Seen) -> Reply:
        world.clock.forward(61)
        sync = seen.ott.session
        later = await read(seen)
        return Reply(body=later.body + str(sync).encode())

    club = Club(world, app)
    assert club.site.get("/", club.alice).body == b"nobodyNone"


def test_sign_out_page_is_watched_as_well(world: World) -> None:
    adapter = SealedSession(SECRET, clock=world.clock, sign_out_path="/out")
    site = world.serve(session=adapter, **REVOKES)
    alice = {"cookie": f"ott_session={adapter.start('alice', remember=True).token}"}
    token = site.generate(alice).json()["token"]
    assert site.get("/out", alice).cookies == {"ott_session": ""}
    assert site.verify(token).code == "INVALID_TOKEN"


def test_head_of_the_sign_out_page_ends_nothing(world: World) -> None:
    adapter = SealedSession(SECRET, clock=world.clock, sign_out_path="/out")
    backend = Counting(clock=world.clock)
    site = world.serve(session=adapter, backend=backend, **REVOKES)
    alice = {"cookie": f"ott_session={adapter.start('alice', remember=True).token}"}
    assert site.send("HEAD", "/out", alice).cookies == {}
    assert backend.revoked == 0
