"""CORS: the middleware's own headers, and those of the app and of a layer outside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flask
import pytest
from corsheaders.middleware import CorsMiddleware
from django.http import HttpResponse
from django.test import RequestFactory, override_settings
from django_project import configure
from flask_cors import CORS
from harness import (
    FETCH,
    NAVIGATION,
    Answer,
    Members,
    Reply,
    Seen,
    World,
    call_asgi,
    call_wsgi,
    make_environ,
    make_scope,
    messages_of,
    person,
    run,
)
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from ott_middleware import OTTMiddleware
from ott_middleware.errors import InvalidToken
from ott_middleware.http import Response

SPA = "https://spa.example"
PAGE = {**FETCH, "origin": SPA, "sec-fetch-site": "cross-site"}
ALICE = {"cookie": "sid=alice-cookie"}
TRUSTS = {"trusted_origins": [SPA]}
# How apps answer that page.
OF_APP = (
    ("Access-Control-Allow-Origin", SPA),
    ("Access-Control-Allow-Credentials", "true"),
    ("Vary", "Origin"),
)
NAMES = ("access-control-allow-origin", "access-control-allow-credentials", "vary")
NAMED = {NAMES[0]: SPA, NAMES[1]: "true"}
CORS_OF_PAGE = {**NAMED, NAMES[2]: "Origin"}


def cors_of(answer: Answer) -> dict[str, str]:
    """The CORS headers, of which none may stand twice; Vary with each name once."""
    found = {name: answer.header(name) for name in NAMES[:2]}
    varies = [each.strip() for line in answer.all("vary") for each in line.split(",")]
    listed = ", ".join(dict.fromkeys(each.title() for each in varies))
    return {name: value for name, value in {**found, NAMES[2]: listed}.items() if value}


def named_in(answer: Answer) -> dict[str, str]:
    """The CORS headers without Vary, which layers that know one origin leave out."""
    return {name: value for name, value in cors_of(answer).items() if name != "vary"}


def with_cors(seen: Seen) -> Reply:
    return Reply(200, [("Content-Type", "text/plain"), *OF_APP])


class TestTwoPaths:
    def test_unavailable_is_readable_with_its_retry_after(self, world: World) -> None:
        class Fails(Members):
            def current(self, request: Any) -> Any:
                raise LookupError

        answer = world.serve(session=Fails(), **TRUSTS).generate(PAGE)
        assert answer.status == 503
        assert cors_of(answer) == CORS_OF_PAGE
        assert answer.header("access-control-expose-headers") == "Retry-After"
        refused = world.serve(session=Fails(), **TRUSTS).generate()
        assert refused.status == 503
        assert refused.header("access-control-expose-headers") is None

    @pytest.mark.parametrize("path", ["generate", "verify"])
    @pytest.mark.parametrize("origin", ["null", "https://evil.example", "https://spa.example.evil"])
    def test_refused_origin_reads_nothing(self, world: World, path: str, origin: str) -> None:
        site = world.serve(**TRUSTS)
        method = "GET" if path == "generate" else "POST"
        headers = {**PAGE, **ALICE, "origin": origin}
        answer = site.send(method, f"/one-time-token/{path}", headers)
        assert answer.status == 403
        assert cors_of(answer) == {"vary": "Origin"}

    def test_null_origin_of_this_site_reads_its_own_response(self, world: World) -> None:
        # A page with `Referrer-Policy: no-referrer`; one's own responses need no CORS.
        answer = world.serve(**TRUSTS).verify("A" * 32, {**FETCH, "origin": "null"})
        assert answer.code == "INVALID_TOKEN"
        assert cors_of(answer) == {"vary": "Origin"}

    def test_private_network_is_not_named(self, world: World) -> None:
        asked = {"origin": SPA, "access-control-request-private-network": "true"}
        answer = world.serve(**TRUSTS).send("OPTIONS", "/one-time-token/verify", asked)
        assert answer.header("access-control-allow-private-network") is None

    def test_app_is_not_asked(self, world: World) -> None:
        site = world.serve(with_cors, **TRUSTS)
        answer = site.generate({**PAGE, **ALICE})
        assert (answer.status, cors_of(answer), site.seen) == (200, CORS_OF_PAGE, [])


class TestCallWithAToken:
    def test_redeemed_keeps_the_app_s_headers(self, world: World) -> None:
        site = world.serve(with_cors, **TRUSTS)
        answer = site.get(f"/data?ott={site.token()}", PAGE)
        assert (answer.body, answer.cookies) == (b"hello", {"sid": "alice-cookie"})
        assert cors_of(answer) == CORS_OF_PAGE

    def test_redeemed_adds_none_to_the_app_s(self, world: World) -> None:
        site = world.serve(**TRUSTS)
        assert cors_of(site.get(f"/data?ott={site.token()}", PAGE)) == {}

    def test_preflight_is_the_app_s(self, world: World) -> None:
        site = world.serve(with_cors, **TRUSTS)
        token = site.token()
        asked = {"origin": SPA, "access-control-request-method": "PUT"}
        assert site.send("OPTIONS", f"/data?ott={token}", asked).body == b"hello"
        assert [seen.query for seen in site.seen] == [""]
        assert site.verify(token).status == 200

    def test_refused_is_readable_by_a_trusted_page(self, world: World) -> None:
        answer = world.serve(with_cors, **TRUSTS).get(f"/data?ott={'A' * 32}", PAGE)
        assert answer.code == "INVALID_TOKEN"
        assert cors_of(answer) == CORS_OF_PAGE

    def test_unavailable_is_readable_by_a_trusted_page(self, world: World) -> None:
        class Fails(Members):
            def resolve(self, session: Any) -> Any:
                raise LookupError

        site = world.serve(session=Fails(person("alice")), **TRUSTS)
        answer = site.get(f"/data?ott={site.token()}", PAGE)
        assert answer.code == "SESSION_UNAVAILABLE"
        assert cors_of(answer) == CORS_OF_PAGE
        assert answer.header("access-control-expose-headers") == "Retry-After"

    @pytest.mark.parametrize("origin", ["https://evil.example", "null"])
    def test_refused_is_hidden_from_other_pages(self, world: World, origin: str) -> None:
        site = world.serve(with_cors, **TRUSTS)
        token = site.token()
        answer = site.get(f"/data?ott={token}", {**PAGE, "origin": origin})
        assert (answer.status, cors_of(answer)) == (403, {"vary": "Origin"})
        assert site.verify(token).status == 200

    def test_refused_without_origin_says_nothing(self, world: World) -> None:
        answer = world.serve(**TRUSTS).fetch(f"/data?ott={'A' * 32}")
        assert (answer.code, cors_of(answer)) == ("INVALID_TOKEN", {})

    def test_navigation_says_nothing(self, world: World) -> None:
        # A form of a trusted page; no script reads the response.
        headers = {**NAVIGATION, "origin": SPA}
        answer = world.serve(**TRUSTS).get(f"/data?ott={'A' * 32}", headers)
        assert (answer.status, named_in(answer)) == (400, {})

    @pytest.mark.parametrize("own", [(), OF_APP[:1], (("Vary", "Accept"),)])
    def test_hook_s_headers_stay(self, world: World, own: Any) -> None:
        def on_invalid(request: Any, error: InvalidToken) -> Response:
            return Response(410, own)

        answer = world.serve(on_invalid=on_invalid, **TRUSTS).get("/?ott=A", PAGE)
        expected = dict(CORS_OF_PAGE)
        if own == OF_APP[:1]:
            expected = {NAMES[0]: SPA}
        elif own:
            expected["vary"] = "Accept, Origin"
        assert (answer.status, cors_of(answer)) == (410, expected)

    def test_continue_keeps_the_app_s_headers(self, world: World) -> None:
        site = world.serve(with_cors, on_invalid="continue", **TRUSTS)
        answer = site.get("/?ott=A", PAGE)
        assert (answer.body, cors_of(answer)) == (b"hello", CORS_OF_PAGE)


def test_offered_token_is_exposed_beside_what_the_app_exposes(world: World) -> None:
    def sign_in(seen: Seen) -> Reply:
        exposes = ("Access-Control-Expose-Headers", "X-Total")
        return Reply(200, [*OF_APP, exposes, ("Set-Cookie", "sid=alice-cookie")])

    site = world.serve(sign_in, set_ott_header_on_new_session=True, **TRUSTS)
    answer = site.send("POST", "/sign-in", PAGE)
    assert answer.header("set-ott")
    assert answer.header("access-control-expose-headers") == "X-Total, set-ott"
    assert cors_of(answer) == CORS_OF_PAGE


# Real layers. Each function returns what sends a request to an app with that layer.

Ask = Callable[..., Answer]
OPTIONS: dict[str, Any] = {**TRUSTS, "session": Members(person("alice", expires_at=None))}
ALLOWS = {"allow_origins": [SPA], "allow_credentials": True, "allow_methods": ["GET", "POST"]}


def asgi(app: Any) -> Ask:
    def ask(method: str, target: str, headers: Any) -> Answer:
        return run(call_asgi(app, make_scope(method, target, headers), messages_of(b"")))  # type: ignore[no-any-return]  # it is one

    return ask


def wsgi(app: Any) -> Ask:
    return lambda method, target, headers: call_wsgi(app, make_environ(method, target, headers))


async def data(request: Any) -> PlainTextResponse:
    return PlainTextResponse("hello")


def starlette(*layers: Middleware) -> Any:
    return Starlette(routes=[Route("/data", data)], middleware=layers)


def starlette_inside() -> Ask:
    return asgi(OTTMiddleware(starlette(Middleware(CORSMiddleware, **ALLOWS)), **OPTIONS))


def starlette_outside() -> Ask:
    ott = Middleware(OTTMiddleware, **OPTIONS)  # type: ignore[arg-type]  # a function that is used as a class
    return asgi(starlette(Middleware(CORSMiddleware, **ALLOWS), ott))


def flask_inside() -> Ask:
    app = flask.Flask(__name__)
    CORS(app, origins=[SPA], supports_credentials=True)
    app.get("/data")(lambda: "hello")
    return wsgi(OTTMiddleware(app.wsgi_app, **OPTIONS))


def django_inside() -> Ask:
    configure()
    settings = {"CORS_ALLOWED_ORIGINS": [SPA], "CORS_ALLOW_CREDENTIALS": True}
    make: Any = CorsMiddleware(lambda request: HttpResponse("hello"))

    def app(environ: Any, start_response: Any) -> Any:
        with override_settings(**settings):
            response = make(RequestFactory().generic(environ["REQUEST_METHOD"], "/data", **environ))
        start_response(f"{response.status_code} OK", list(response.items()))
        return [response.content]

    return wsgi(OTTMiddleware(app, interface="wsgi", **OPTIONS))


LAYERS = (starlette_inside, starlette_outside, flask_inside, django_inside)


@pytest.mark.parametrize("layer", LAYERS)
class TestLayer:
    def test_call_of_the_app(self, layer: Callable[[], Ask]) -> None:
        answer = layer()("GET", "/data", PAGE)
        assert (answer.body, named_in(answer)) == (b"hello", NAMED)

    def test_generate(self, layer: Callable[[], Ask]) -> None:
        answer = layer()("GET", "/one-time-token/generate", {**PAGE, **ALICE})
        assert (answer.status, cors_of(answer)) == (200, CORS_OF_PAGE)

    def test_redeemed_and_refused_call(self, layer: Callable[[], Ask]) -> None:
        ask = layer()
        token = ask("GET", "/one-time-token/generate", {**PAGE, **ALICE}).json()["token"]
        redeemed = ask("GET", f"/data?ott={token}", PAGE)
        assert (redeemed.body, named_in(redeemed)) == (b"hello", NAMED)
        refused = ask("GET", f"/data?ott={token}", PAGE)
        assert (refused.code, cors_of(refused)) == ("INVALID_TOKEN", CORS_OF_PAGE)

    @pytest.mark.parametrize("path", ["/one-time-token/generate", "/data", "/data?ott=A"])
    def test_preflight(self, layer: Callable[[], Ask], path: str) -> None:
        asked = {"origin": SPA, "access-control-request-method": "GET"}
        answer = layer()("OPTIONS", path, asked)
        assert answer.status in (200, 204)
        assert named_in(answer) == NAMED
        assert "GET" in (answer.header("access-control-allow-methods") or "")

    @pytest.mark.parametrize("target", ["/one-time-token/generate", "/data?ott=A"])
    def test_other_page(self, layer: Callable[[], Ask], target: str) -> None:
        answer = layer()("GET", target, {**PAGE, **ALICE, "origin": "https://evil.example"})
        assert answer.status == 403
        assert NAMES[0] not in named_in(answer)


class TestLayerOutsideThatAllowsLess:
    """The layer outside decides what it knows; what it does not allow, the middleware may."""

    def test_origin_that_the_layer_does_not_know(self) -> None:
        outside = Middleware(CORSMiddleware, allow_origins=["https://other.example"])
        ott = Middleware(OTTMiddleware, **OPTIONS)  # type: ignore[arg-type]  # a function that is used as a class
        ask = asgi(starlette(outside, ott))
        answer = ask("GET", "/one-time-token/generate", {**PAGE, **ALICE})
        assert cors_of(answer) == CORS_OF_PAGE
        # Preflight requests do not come through: the layer's list must have the page as well.
        asked = {"origin": SPA, "access-control-request-method": "GET"}
        assert ask("OPTIONS", "/one-time-token/generate", asked).status == 400

    def test_star_without_credentials_takes_them_away(self) -> None:
        outside = Middleware(CORSMiddleware, allow_origins=["*"])
        ott = Middleware(OTTMiddleware, **OPTIONS)  # type: ignore[arg-type]  # a function that is used as a class
        answer = asgi(starlette(outside, ott))("GET", "/one-time-token/generate", PAGE)
        assert answer.header("access-control-allow-origin") == "*"
