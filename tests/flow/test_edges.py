"""Where two rules meet: what only shows when features are combined."""

from __future__ import annotations

import asyncio
import io
import json
import sys
from typing import Any

import pytest
from harness import (
    FETCH,
    NOW,
    SECRET,
    Members,
    Reply,
    World,
    call_asgi,
    make_environ,
    make_scope,
    messages_of,
    person,
)

from ott_middleware import (
    ASGIMiddleware,
    ConfigurationError,
    CookieSession,
    MemoryBackend,
    SealedSession,
    WSGIMiddleware,
)

ALICE = {"cookie": "sid=" + person("alice").token}


def signs_in(seen: Any) -> Reply:
    return Reply(200, [("Set-Cookie", f"sid={person('bob').token}")])


def test_token_that_is_offered_knows_the_request_it_is_made_in(world: World) -> None:
    paths = []

    def make(session: Any, context: Any) -> str:
        paths.append(context.request.path)
        return "made-for-bob"

    site = world.serve(signs_in, generate_token=make, set_ott_header_on_new_session=True)
    assert site.get("/sign-in").header("set-ott") == "made-for-bob"
    assert paths == ["/sign-in"]


def test_redemption_that_keeps_who_is_there_offers_no_token(world: World) -> None:
    site = world.serve(signs_in, set_ott_header_on_new_session=True, on_switch="keep")
    token = site.token(person("bob"))
    answer = site.fetch(f"/?ott={token}", ALICE)
    assert answer.status == 200
    assert answer.header("set-ott") is None
    assert site.get("/").header("set-ott") is not None


@pytest.mark.parametrize("named", ["http://app.example", "http://b.example"])
def test_browser_on_an_insecure_origin_gets_no_secure_origins_token(
    world: World, named: str
) -> None:
    site = world.serve(trusted_origins=["http://b.example"])
    token = site.token(audience=named.replace("http:", "https:"))
    assert site.verify(token, {"origin": named}).code == "INVALID_TOKEN"
    token = site.token(audience="https://b.example")
    assert site.verify(token, audience="http://b.example").code == "INVALID_TOKEN"


@pytest.mark.parametrize("mode", ["no-cors", "navigate"])
@pytest.mark.parametrize("referer", ["http://trusted.example/x", "http://app.example/x"])
def test_cross_site_request_without_an_origin_mints_nothing(
    world: World, mode: str, referer: str
) -> None:
    site = world.serve(trusted_origins=["http://trusted.example"])
    headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": mode, "referer": referer}
    assert site.generate({**ALICE, **headers}).status == 403
    assert site.generate({**ALICE, "origin": "http://trusted.example", **FETCH}).status == 200
    assert len(site.flow.tokens.backend) == 1


@pytest.mark.parametrize(
    ("length", "code"),
    [("99999", "PAYLOAD_TOO_LARGE"), ("9" * 30, "PAYLOAD_TOO_LARGE"), ("-1", "BAD_REQUEST")],
)
def test_declared_length_is_judged_before_the_body(world: World, length: str, code: str) -> None:
    site = world.serve()
    body = json.dumps({"token": site.token()}).encode()
    headers = {"content-type": "application/json", "content-length": length}
    assert site.post_verify(body, headers).code == code
    assert len(site.flow.tokens.backend) == 1


def test_signing_out_revokes_what_was_replaced_in_the_same_request(world: World) -> None:
    def app(seen: Any) -> Reply:
        if seen.path == "/twice":
            seen.ott.sign_in("bob")
            seen.ott.sign_out()
        elif seen.path == "/in":
            seen.ott.sign_in("alice")
        return Reply()

    site = world.serve(app, session=SealedSession(SECRET, clock=world.clock))
    cookie = site.get("/in").header("set-cookie")
    assert cookie is not None
    alice = {"cookie": cookie.partition(";")[0]}
    token = site.generate(alice).json()["token"]
    assert site.get("/twice", alice).status == 200
    assert site.verify(token).code == "INVALID_TOKEN"


def test_probe_goes_by_the_origin_that_browsers_see(world: World) -> None:
    schemes = []

    def app(seen: Any) -> Reply:
        schemes.append(seen.carrier.get("scheme") or seen.carrier["wsgi.url_scheme"])
        return Reply()

    session = CookieSession("sid", probe="/me")
    site = world.serve(app, session=session, public_origin="https://app.example")
    assert site.generate({"cookie": "sid=1"}).status == 200
    assert schemes == ["https"]


def test_adapter_that_probes_serves_one_app(world: World) -> None:
    adapter = CookieSession("sid", probe="/me")
    world.serve(session=adapter)
    with pytest.raises(ConfigurationError, match="make another"):
        world.serve(session=adapter)


def test_probed_app_may_go_on_after_its_answer() -> None:
    finished = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})
        await asyncio.sleep(0.01)
        finished.append(scope["path"])

    async def main() -> int:
        middleware = ASGIMiddleware(app, session=CookieSession("sid", probe="/me"))
        scope = make_scope("GET", "/one-time-token/generate", {"cookie": "sid=1"})
        answer = await call_asgi(middleware, scope, messages_of(b""))
        assert finished == []
        await asyncio.sleep(0.05)
        return int(answer.status)

    assert asyncio.run(main()) == 200
    assert finished == ["/me"]


def test_mount_of_any_letters_can_be_probed() -> None:
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope["path"], scope["raw_path"]))
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    async def main() -> int:
        middleware = ASGIMiddleware(app, session=CookieSession("sid", probe="/me"))
        scope = make_scope("GET", "/one-time-token/generate", {"cookie": "sid=1"})
        scope |= {"root_path": "/日本", "path": "/日本" + scope["path"]}
        return int((await call_asgi(middleware, scope, messages_of(b""))).status)

    assert asyncio.run(main()) == 200
    assert seen == [("/日本/me", b"/%E6%97%A5%E6%9C%AC/me")]


def test_answer_that_is_begun_anew_offers_the_same_token() -> None:
    answers = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        cookie = ("Set-Cookie", f"sid={person('bob').token}")
        start_response("200 OK", [cookie])
        try:
            raise OSError("the app failed")
        except OSError:
            # By keyword: servers take it, so the middleware does.
            start_response("500 Sorry", [cookie], exc_info=sys.exc_info())
        return [b""]

    def start_response(status: str, headers: Any, exc_info: Any = None) -> Any:
        answers.append((status, dict(headers)["set-ott"], exc_info is not None))
        return io.BytesIO().write

    site = WSGIMiddleware(
        app,
        session=Members(person("bob")),
        backend=MemoryBackend(clock=lambda: NOW),
        set_ott_header_on_new_session=True,
    )
    list(site(make_environ("GET", "/"), start_response))
    (first, token, _), (second, again, told) = answers
    assert (first, second, told) == ("200 OK", "500 Sorry", True)
    assert token == again
    assert site.flow.tokens.verify(token).user_id == "bob"


def test_cookie_never_outlives_its_session() -> None:
    adapter = SealedSession(SECRET, lifetime=60, max_age=99999, clock=lambda: NOW)
    (cookie,) = adapter.establish(person("alice", expires_at=None), None)  # type: ignore[arg-type]  # it asks nothing of the request
    assert cookie.max_age == 60


def test_probe_is_answered_by_the_session_of_an_inner_layer(world: World) -> None:
    """The outer layer asks the app, whose sessions are the inner layer's."""

    def app(seen: Any) -> Reply:
        if seen.path == "/in":
            seen.ott.sign_in("alice")
        elif seen.path == "/me":
            return Reply(200 if seen.ott.session else 401)
        return Reply()

    inner = world.serve(app, session=SealedSession(SECRET, clock=world.clock))
    front = ASGIMiddleware if world.interface == "asgi" else WSGIMiddleware
    outer = world.serve(app)
    outer.middleware = front(inner.middleware, session=CookieSession("ott_session", probe="/me"))
    cookie = outer.get("/in").header("set-cookie")
    assert cookie is not None
    assert outer.generate({"cookie": cookie.partition(";")[0]}).status == 200
    assert outer.generate({"cookie": "ott_session=forged"}).status == 401
