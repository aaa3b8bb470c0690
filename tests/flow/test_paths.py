"""The two paths: generate and verify."""

from __future__ import annotations

import json
from typing import Any

import pytest
from harness import (
    FETCH,
    HOST,
    NOW,
    ORIGIN,
    PRIVATE,
    Clock,
    Members,
    Reply,
    Seen,
    World,
    moment,
    person,
)

from ott_middleware import MemoryBackend, OneTimeTokens, SealedSession

SIGNED_IN = {"cookie": "sid=alice-cookie"}
BOTH = [("GET", "generate"), ("POST", "verify")]


def untouched(site: Any, token: str) -> bool:
    """Whether a token is still good; redeems it."""
    return bool(site.verify(token).status == 200)


# Generate.


def test_generate_answers_a_token_that_redeems(world: World) -> None:
    site = world.serve()
    answer = site.generate(SIGNED_IN)
    assert answer.status == 200
    assert list(answer.json()) == ["token"]
    assert answer.header("content-type") == "application/json"
    assert answer.header("content-length") == str(len(answer.body))
    assert answer.header("x-content-type-options") == "nosniff"
    assert len(answer.json()["token"]) == 32
    assert site.verify(answer.json()["token"]).json()["session"]["userId"] == "alice"
    assert site.seen == []


def test_two_tokens_of_one_session_differ(world: World) -> None:
    site = world.serve()
    assert site.generate(SIGNED_IN).json() != site.generate(SIGNED_IN).json()


@pytest.mark.parametrize("cookie", ["", "sid=nobody", "sid=", "other=alice-cookie"])
def test_generate_needs_a_session(world: World, cookie: str) -> None:
    answer = world.serve().generate({"cookie": cookie} if cookie else {})
    assert (answer.status, answer.json()) == (
        401,
        {"message": "Unauthorized", "code": "UNAUTHORIZED"},
    )


def test_expired_session_generates_nothing(world: World) -> None:
    site = world.serve()
    world.clock.forward(3600)
    assert site.generate(SIGNED_IN).code == "UNAUTHORIZED"


def test_client_requests_can_be_disabled(world: World) -> None:
    site = world.serve(disable_client_request=True)
    answer = site.generate(SIGNED_IN)
    assert (answer.status, answer.json()) == (
        400,
        {"message": "Client requests are disabled", "code": "CLIENT_REQUESTS_DISABLED"},
    )
    # Who is not signed in does not learn what is disabled.
    assert site.generate().code == "UNAUTHORIZED"


def test_server_generates_where_client_requests_are_disabled(world: World) -> None:
    made: list[str] = []

    async def mint(seen: Seen) -> Any:
        made.append(await seen.ott.agenerate())
        return Reply()

    site = world.serve(mint, disable_client_request=True)
    site.get("/", SIGNED_IN)
    assert site.verify(made[0]).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-purpose": "prefetch"},
        {"sec-purpose": "prefetch;prerender"},
        {"purpose": "prefetch"},
        {"x-moz": "Prefetch"},
    ],
)
def test_prefetch_mints_nothing(world: World, headers: dict[str, str]) -> None:
    backend = MemoryBackend(clock=world.clock)
    answer = world.serve(backend=backend).generate({**SIGNED_IN, **headers})
    assert (answer.status, answer.body) == (503, b"")
    assert len(backend) == 0


def test_generate_token_makes_the_token(world: World) -> None:
    made: list[Any] = []

    def make(session: Any, context: Any) -> str:
        made.append((session.user_id, context))
        return "made-by-hand"

    site = world.serve(generate_token=make)
    assert site.generate(SIGNED_IN).json() == {"token": "made-by-hand"}
    (user, context) = made[0]
    assert user == "alice"
    assert context.request.path == "/one-time-token/generate"
    assert (context.channel, context.audience) == ("handoff", None)
    assert context.expires_at == NOW + 180


def test_generate_token_may_be_async(world: World) -> None:
    async def make(session: Any, context: Any) -> str:
        return "made-by-hand"

    assert world.serve(generate_token=make).generate(SIGNED_IN).json() == {"token": "made-by-hand"}


def test_live_token_is_never_overwritten(world: World) -> None:
    site = world.serve(generate_token=lambda session, context: "always-the-same")
    first = site.generate({"cookie": "sid=alice-cookie"})
    assert first.status == 200
    second = site.generate({"cookie": "sid=bob-cookie"})
    assert (second.status, second.code) == (503, "SESSION_UNAVAILABLE")
    assert site.verify("always-the-same").json()["session"]["userId"] == "alice"


# Verify.


def test_verify_answers_the_session_and_sets_its_cookie(world: World) -> None:
    site = world.serve()
    answer = site.verify(site.token())
    assert answer.status == 200
    assert answer.json() == {
        "session": {
            "id": "session-of-alice",
            "userId": "alice",
            "createdAt": "2026-11-23T09:30:57.773Z",
            "expiresAt": "2026-11-23T10:31:57.773Z",
        },
        "user": {"id": "alice", "name": "Alice"},
    }
    assert answer.cookies == {"sid": "alice-cookie"}
    assert answer.cookie("sid") == {"HttpOnly", "Path=/", "SameSite=Lax"}
    assert site.seen == []


def test_cookie_value_stays_out_of_the_body(world: World) -> None:
    site = world.serve()
    assert b"alice-cookie" not in site.verify(site.token()).body


def test_body_carries_the_value_where_no_cookie_is_set(world: World) -> None:
    site = world.serve(disable_set_session_cookie=True)
    answer = site.verify(site.token())
    assert answer.json()["session"]["token"] == "alice-cookie"
    assert answer.all("set-cookie") == []


def test_unknown_values_are_null(world: World) -> None:
    bare = person("x", user_id=None, user=None, created_at=None, expires_at=None)
    site = world.serve(session=Members(bare))
    assert site.verify(site.token(bare)).json() == {
        "session": {"id": "session-of-x", "userId": None, "createdAt": None, "expiresAt": None},
        "user": None,
    }


def test_dates_have_three_digits_and_a_z_wherever_they_stand(world: World) -> None:
    # The answer of `resolve` is what is told; it need not be what was sealed.
    since = moment(1_795_426_317.000999)
    site = world.serve(session=Members(person("alice", user={"since": since})))
    answer = site.verify(site.token(person("alice")))
    assert answer.json()["user"] == {"since": "2026-11-23T09:31:57.000Z"}


def test_token_is_good_once(world: World) -> None:
    site = world.serve()
    token = site.token()
    assert site.verify(token).status == 200
    again = site.verify(token)
    assert (again.status, again.json()) == (
        400,
        {"message": "Invalid token", "code": "INVALID_TOKEN"},
    )
    assert again.all("set-cookie") == []


@pytest.mark.parametrize(
    "token",
    [
        "unknown",
        "",
        "x" * 512,
        "x" * 513,
        "x" * 8000,
        "with space",
        "a.b",
        "é",
        "\r\nSet-Cookie: a=b",
        "\0",
        "\ud800",
        "confirm.abc",
    ],
)
def test_token_that_is_not_live_is_invalid(world: World, token: str) -> None:
    answer = world.serve().verify(token)
    assert (answer.status, answer.code) == (400, "INVALID_TOKEN")
    assert answer.all("set-cookie") == []


def test_token_expires(world: World) -> None:
    site = world.serve()
    early, late = site.token(), site.token()
    world.clock.forward(179.9)
    assert site.verify(early).status == 200
    world.clock.forward(0.1)
    assert site.verify(late).code == "INVALID_TOKEN"


def test_expires_in_is_minutes(world: World) -> None:
    site = world.serve(expires_in=0.5)
    early, late = site.token(), site.token()
    world.clock.forward(29)
    assert site.verify(early).status == 200
    world.clock.forward(1)
    assert site.verify(late).code == "INVALID_TOKEN"


def test_session_that_ended_is_not_found_and_the_token_is_burnt(world: World) -> None:
    site = world.serve()
    token = site.token()
    ended = site.members.live.pop("alice-cookie")
    answer = site.verify(token)
    assert (answer.status, answer.json()) == (
        400,
        {"message": "Session not found", "code": "SESSION_NOT_FOUND"},
    )
    assert answer.all("set-cookie") == []
    site.members.live["alice-cookie"] = ended
    assert site.verify(token).code == "INVALID_TOKEN"


def test_session_that_expired_is_told_and_the_token_is_burnt(world: World) -> None:
    site = world.serve(session=Members(person("alice", expires_at=moment(NOW + 60))))
    token = site.token(person("alice", expires_at=moment(NOW + 60)))
    world.clock.forward(60)
    answer = site.verify(token)
    assert (answer.status, answer.json()) == (
        400,
        {"message": "Session expired", "code": "SESSION_EXPIRED"},
    )
    assert answer.all("set-cookie") == []
    world.clock.now = NOW
    assert site.verify(token).code == "INVALID_TOKEN"


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (None, "null"),
        (1, "number"),
        (1.5, "number"),
        ([], "array"),
        ({}, "object"),
        (True, "boolean"),
    ],
)
def test_token_that_is_no_string(world: World, value: Any, kind: str) -> None:
    answer = world.serve().verify(value)
    assert (answer.status, answer.json()) == (
        400,
        {
            "message": f"[body.token] Invalid input: expected string, received {kind}",
            "code": "VALIDATION_ERROR",
        },
    )


def test_token_that_is_missing(world: World) -> None:
    answer = world.serve().post_verify(b'{"Token": "x"}')
    assert answer.json()["message"] == (
        "[body.token] Invalid input: expected string, received undefined"
    )


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "undefined"),
        (b"[]", "array"),
        (b'"x"', "string"),
        (b"1", "number"),
        (b"-1.5e3", "number"),
        (b"null", "null"),
        (b"true", "boolean"),
    ],
)
def test_body_that_is_no_object(world: World, body: bytes, kind: str) -> None:
    answer = world.serve().post_verify(body)
    assert (answer.status, answer.json()) == (
        400,
        {
            "message": f"[body] Invalid input: expected object, received {kind}",
            "code": "VALIDATION_ERROR",
        },
    )


def test_body_without_a_content_type(world: World) -> None:
    site = world.serve()
    token = site.token()
    body = json.dumps({"token": token}).encode()
    answer = site.send("POST", "/one-time-token/verify", {}, body)
    assert answer.json()["message"] == "[body] Invalid input: expected object, received undefined"
    assert untouched(site, token)


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"{'token': 1}",
        b'{"token": "x"} more',
        b"\xff\xfe",
        b'{"token": "\xe9"}',
        b'{"token": NaN}',
        b'{"token": -Infinity}',
        b"[" * 16000,
        b'{"a":' * 3000,
        b"\0",
    ],
)
def test_malformed_json(world: World, body: bytes) -> None:
    answer = world.serve().post_verify(body)
    assert (answer.status, answer.json()) == (
        400,
        {"message": "Invalid JSON in request body", "code": "BAD_REQUEST"},
    )


def test_json_of_any_length_of_number_is_read(world: World) -> None:
    site = world.serve()
    body = b'{"n": ' + b"9" * 10000 + b', "token": "' + site.token().encode() + b'"}'
    assert site.post_verify(body).status == 200


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "Application/JSON; charset=utf-8", "application/json;charset=UTF-8"],
)
def test_json_by_its_content_type(world: World, content_type: str) -> None:
    site = world.serve()
    body = b"\xef\xbb\xbf" + json.dumps({"token": site.token()}).encode()
    assert site.post_verify(body, {"content-type": content_type}).status == 200


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json-patch+json",
        "text/plain; a=application/json",
        "\xe9",
        ";",
    ],
)
def test_content_types_that_are_refused(world: World, content_type: str) -> None:
    site = world.serve()
    token = site.token()
    body = json.dumps({"token": token}).encode()
    answer = site.post_verify(body, {"content-type": content_type})
    assert (answer.status, answer.code) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert untouched(site, token)


def padded(token: str, size: int) -> bytes:
    body = json.dumps({"token": token, "pad": ""}).encode()
    return body[:-2] + b"x" * (size - len(body)) + b'"}'


def test_body_may_have_16_kib(world: World) -> None:
    site = world.serve()
    token = site.token()
    answer = site.post_verify(padded(token, 16 * 1024 + 1))
    assert (answer.status, answer.code) == (413, "PAYLOAD_TOO_LARGE")
    assert site.post_verify(padded(token, 16 * 1024)).status == 200


def test_body_in_chunks(world: World) -> None:
    site = world.serve()
    token = site.token()
    body = padded(token, 16 * 1024)
    assert site.post_verify([body, b"x"]).code == "PAYLOAD_TOO_LARGE"
    assert site.post_verify([body[:1], b"", body[1:5000], body[5000:]]).status == 200


@pytest.mark.parametrize(("allowed", "path"), BOTH)
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "PUT", "PATCH", "DELETE", "TRACE"])
def test_methods_that_are_refused(world: World, allowed: str, path: str, method: str) -> None:
    if method == allowed:
        return
    site = world.serve()
    answer = site.send(method, f"/one-time-token/{path}", SIGNED_IN)
    assert answer.status == 405
    assert answer.header("allow") == f"{allowed}, OPTIONS"
    if method == "HEAD":
        assert answer.body == b""
    else:
        assert answer.json() == {"message": "Method not allowed", "code": "METHOD_NOT_ALLOWED"}
    assert site.seen == []


@pytest.mark.parametrize(
    "path",
    [
        "/one-time-token/",
        "/one-time-token/generate/",
        "/one-time-token/Generate",
        "/one-time-token/verify/x",
        "/x/one-time-token/generate",
        "//one-time-token/generate",
        "/one-time-token/generate%00",
    ],
)
def test_other_paths_are_the_apps(world: World, path: str) -> None:
    site = world.serve()
    assert site.get(path).body == b"hello"
    assert len(site.seen) == 1
    assert site.seen[0].ott.redeemed is None


def test_base_path_moves_both_paths(world: World) -> None:
    site = world.serve(base_path="/api/auth")
    assert site.generate(SIGNED_IN).body == b"hello"
    answer = site.get("/api/auth/one-time-token/generate", SIGNED_IN)
    token = answer.json()["token"]
    body = json.dumps({"token": token}).encode()
    content = {"content-type": "application/json"}
    answer = site.send("POST", "/api/auth/one-time-token/verify", content, body)
    assert answer.cookies == {"sid": "alice-cookie"}


def test_percent_encoding_of_the_path_is_of_no_matter(world: World) -> None:
    assert world.serve().get("/one%2Dtime-token/gener%61te", SIGNED_IN).status == 200


def test_mounted_app_is_asked_below_its_mount_point(world: World) -> None:
    site = world.serve()
    assert site.get("/one-time-token/generate", SIGNED_IN, mount="/mounted").status == 200


# Every answer.


def answers(world: World) -> dict[str, Any]:
    site = world.serve(trusted_origins=["https://spa.example"])
    trusted = {"origin": "https://spa.example"}
    return {
        "generate": site.generate(SIGNED_IN),
        "unauthorized": site.generate(),
        "prefetch": site.generate({"sec-purpose": "prefetch"}),
        "verify": site.verify(site.token()),
        "invalid": site.verify("no"),
        "method": site.send("PUT", "/one-time-token/verify"),
        "preflight": site.send("OPTIONS", "/one-time-token/verify", trusted),
        "origin": site.verify("no", {"origin": "https://evil.example"}),
        "large": site.post_verify(b"x" * 20000),
        "redirect": site.open(f"/?ott={site.token()}"),
        "error page": site.open("/?ott=no"),
        "error": site.fetch("/?ott=no"),
        "link prefetch": site.open("/?ott=no", {"sec-purpose": "prefetch"}),
    }


def test_response_of_the_middleware_is_never_stored_or_referred_from(world: World) -> None:
    for what, answer in answers(world).items():
        for name, value in PRIVATE.items():
            assert answer.header(name) == value, what


def test_body_never_makes_the_official_client_navigate(world: World) -> None:
    for answer in answers(world).values():
        if answer.header("content-type") == "application/json":
            assert answer.header("x-content-type-options") == "nosniff"
            assert not {"url", "redirect"} & set(answer.json())


# The cookie.


def test_cookie_is_secure_over_https(world: World) -> None:
    site = world.serve()
    target = "/one-time-token/verify"
    body = json.dumps({"token": site.token()}).encode()
    content = {"content-type": "application/json"}
    answer = site.send("POST", target, content, body, scheme="https")
    assert answer.cookie("sid") == {"HttpOnly", "Path=/", "SameSite=Lax", "Secure"}


def test_public_origin_says_that_it_is_https(world: World) -> None:
    site = world.serve(public_origin="https://app.example")
    assert "Secure" in site.verify(site.token()).cookie("sid")


def test_cookie_does_not_outlive_the_session(world: World) -> None:
    site = world.serve(session=Members(person("alice"), max_age=86400))
    assert "Max-Age=3600" in site.verify(site.token()).cookie("sid")
    world.clock.forward(100.5)
    assert "Max-Age=3499" in site.verify(site.token()).cookie("sid")


def test_shorter_cookie_stays_shorter(world: World) -> None:
    site = world.serve(session=Members(person("alice"), max_age=60))
    assert "Max-Age=60" in site.verify(site.token()).cookie("sid")


def test_session_not_to_be_remembered_ends_with_the_browser(world: World) -> None:
    forgetful = person("alice", persistent=False)
    site = world.serve(session=Members(forgetful, max_age=60))
    attributes = site.verify(site.token(forgetful)).cookie("sid")
    assert not any(attribute.startswith(("Max-Age", "Expires")) for attribute in attributes)


# The Origin rule.


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, None),
        ({"origin": ORIGIN}, None),
        ({"origin": "http://APP.example:80"}, None),
        ({"origin": "https://app.example"}, None),  # a TLS proxy
        ({"origin": "https://spa.example"}, None),
        ({"origin": "https://a.sub.example"}, None),
        ({"origin": "app://desktop"}, None),
        ({"referer": f"{ORIGIN}/page?x=1"}, None),
        ({"referer": "https://spa.example/"}, None),
        ({"origin": "null", "sec-fetch-site": "same-origin"}, None),
        ({"sec-fetch-site": "same-origin"}, None),
        ({"sec-fetch-site": "none"}, None),
        ({"origin": "https://spa.example", "sec-fetch-site": "cross-site"}, None),
        ({"origin": "https://evil.example"}, "INVALID_ORIGIN"),
        ({"origin": "http://app.example:8080"}, "INVALID_ORIGIN"),
        ({"origin": "https://app.example:8443"}, "INVALID_ORIGIN"),
        ({"origin": "https://sub.example"}, "INVALID_ORIGIN"),
        ({"origin": "https://evilsub.example"}, "INVALID_ORIGIN"),
        ({"origin": "https://app.example.evil"}, "INVALID_ORIGIN"),
        ({"origin": "https://app.example@evil"}, "INVALID_ORIGIN"),
        ({"origin": "http://spa.example"}, "INVALID_ORIGIN"),
        ({"origin": ""}, "INVALID_ORIGIN"),
        ({"origin": "\xe9"}, "INVALID_ORIGIN"),
        ({"origin": f"{ORIGIN},https://evil.example"}, "INVALID_ORIGIN"),
        ({"origin": "https://evil.example", "referer": f"{ORIGIN}/"}, "INVALID_ORIGIN"),
        ({"origin": "https://evil.example", "sec-fetch-site": "same-origin"}, "INVALID_ORIGIN"),
        ({"referer": "https://evil.example/"}, "INVALID_ORIGIN"),
        ({"referer": "/page"}, "INVALID_ORIGIN"),
        ({"referer": f"https://evil.example/?{ORIGIN}/"}, "INVALID_ORIGIN"),
        ({"origin": "null"}, "MISSING_OR_NULL_ORIGIN"),
        ({"origin": "null", "sec-fetch-site": "none"}, "MISSING_OR_NULL_ORIGIN"),
        ({"origin": "null", "sec-fetch-site": "cross-site"}, "MISSING_OR_NULL_ORIGIN"),
        ({"sec-fetch-site": "cross-site"}, "MISSING_OR_NULL_ORIGIN"),
        ({"sec-fetch-site": "same-site"}, "MISSING_OR_NULL_ORIGIN"),
    ],
)
def test_origin_rule(world: World, headers: dict[str, str], code: str | None) -> None:
    backend = MemoryBackend(clock=world.clock)
    site = world.serve(
        backend=backend,
        trusted_origins=["https://spa.example", "https://*.sub.example", "app://desktop"],
    )
    token = site.token()
    verified = site.verify(token, headers)
    linked = site.get(f"/?ott={token}", {"accept": "*/*", **headers})
    generated = site.generate({**SIGNED_IN, **headers})
    if code is None:
        assert verified.status == generated.status == 200
        return
    message = {
        "INVALID_ORIGIN": "Invalid origin",
        "MISSING_OR_NULL_ORIGIN": "Missing or null Origin",
    }[code]
    for answer in (verified, linked, generated):
        assert (answer.status, answer.json()) == (403, {"message": message, "code": code})
        assert answer.all("set-cookie") == []
    # Nothing was taken, nothing was minted, and the app was not asked.
    assert len(backend) == 1
    assert site.seen == []
    assert untouched(site, token)


def test_token_meant_for_http_is_not_good_at_https(world: World) -> None:
    site = world.serve(public_origin="https://app.example")
    assert site.verify("no", {"origin": "https://app.example"}).code == "INVALID_TOKEN"
    assert site.verify("no", {"origin": "http://app.example"}).code == "INVALID_ORIGIN"


def test_public_origin_stands_in_for_host(world: World) -> None:
    site = world.serve(public_origin="https://public.example")
    assert site.verify("no", {"origin": "https://public.example"}).code == "INVALID_TOKEN"
    assert site.verify("no", {"origin": ORIGIN}).code == "INVALID_ORIGIN"


def test_own_origin_is_none_without_a_host(world: World) -> None:
    site = world.serve()
    answer = site.get("/one-time-token/generate", {"origin": ORIGIN}, host=None)
    assert answer.code == "INVALID_ORIGIN"
    assert site.get("/one-time-token/generate", SIGNED_IN, host=None).status == 200


def test_origin_is_judged_before_the_body(world: World) -> None:
    site = world.serve()
    evil = {"origin": "https://evil.example"}
    assert site.post_verify(b"{", evil).code == "INVALID_ORIGIN"
    assert site.post_verify(b"x" * 20000, evil).code == "INVALID_ORIGIN"


# CORS.


@pytest.mark.parametrize(("method", "path"), BOTH)
def test_trusted_origin_may_read_the_answer(world: World, method: str, path: str) -> None:
    site = world.serve(trusted_origins=["https://*.spa.example"])
    answer = site.send(method, f"/one-time-token/{path}", {"origin": "https://a.spa.example"})
    assert answer.header("access-control-allow-origin") == "https://a.spa.example"
    assert answer.header("access-control-allow-credentials") == "true"
    assert answer.header("vary") == "Origin"
    assert answer.header("access-control-allow-methods") is None


@pytest.mark.parametrize(("method", "path"), BOTH)
@pytest.mark.parametrize("origin", [None, ORIGIN, "https://evil.example", "null", "*"])
def test_cors_names_no_other_origin(
    world: World, method: str, path: str, origin: str | None
) -> None:
    site = world.serve(trusted_origins=["https://spa.example"])
    headers = {} if origin is None else {"origin": origin}
    varies = {method: "Origin", "OPTIONS": "Origin, Access-Control-Request-Headers"}
    for asked, vary in varies.items():
        answer = site.send(asked, f"/one-time-token/{path}", headers)
        assert answer.header("access-control-allow-origin") is None
        assert answer.header("access-control-allow-credentials") is None
        assert answer.header("vary") == vary


@pytest.mark.parametrize(("method", "path"), BOTH)
def test_preflight(world: World, method: str, path: str) -> None:
    site = world.serve(trusted_origins=["https://spa.example"])
    answer = site.send(
        "OPTIONS",
        f"/one-time-token/{path}",
        {
            "origin": "https://spa.example",
            "access-control-request-method": method,
            "access-control-request-headers": "content-type, x-mine",
        },
    )
    assert (answer.status, answer.body) == (204, b"")
    assert answer.header("allow") == f"{method}, OPTIONS"
    assert answer.header("access-control-allow-origin") == "https://spa.example"
    assert answer.header("access-control-allow-credentials") == "true"
    assert answer.header("access-control-allow-methods") == method
    assert answer.header("access-control-allow-headers") == "content-type, x-mine"
    assert answer.header("access-control-max-age") == "600"


@pytest.mark.parametrize("wanted", ["*", "a\x0bb", "\xe9", "", "x" * 513])
def test_preflight_names_no_strange_headers(world: World, wanted: str) -> None:
    site = world.serve(trusted_origins=["https://spa.example"])
    headers = {"origin": "https://spa.example", "access-control-request-headers": wanted}
    answer = site.send("OPTIONS", "/one-time-token/verify", headers)
    assert answer.status == 204
    assert answer.header("access-control-allow-headers") is None


# Channel and audience.


def test_audience_is_the_origin_of_this_site(world: World) -> None:
    site = world.serve(trusted_origins=["https://spa.example"])
    spa = {"origin": "https://spa.example"}
    assert site.verify(site.token(audience="https://spa.example"), spa).code == "INVALID_TOKEN"
    assert site.verify(site.token(audience=ORIGIN)).status == 200
    assert site.verify(site.token(audience=ORIGIN), {"origin": ORIGIN}).status == 200
    assert site.verify(site.token(audience="https://app.example")).status == 200  # a TLS proxy
    assert site.verify(site.token(audience=ORIGIN), spa).status == 200
    assert site.verify(site.token(audience="https://spa.example")).code == "INVALID_TOKEN"


def test_token_that_turns_up_elsewhere_is_burnt(world: World) -> None:
    site = world.serve()
    token = site.token(audience="https://b.example")
    assert site.verify(token).code == "INVALID_TOKEN"
    assert site.verify(token, audience="https://b.example").code == "INVALID_TOKEN"


def test_server_names_the_audience(world: World) -> None:
    site = world.serve()
    token = site.token(audience="https://b.example")
    assert site.verify(token, audience="https://b.example").status == 200


@pytest.mark.parametrize("headers", [{"origin": ORIGIN}, {"cookie": "a=b"}])
def test_browser_names_no_audience(world: World, headers: dict[str, str]) -> None:
    site = world.serve()
    token = site.token(audience="https://b.example")
    answer = site.verify(token, headers, audience="https://b.example")
    assert answer.code == "VALIDATION_ERROR"
    assert site.verify(token, audience="https://b.example").status == 200


def test_null_audience_is_none_and_a_number_is_refused(world: World) -> None:
    site = world.serve()
    token = site.token()
    answer = site.verify(token, audience=7)
    assert answer.json()["message"] == (
        "[body.audience] Invalid input: expected string, received number"
    )
    assert site.verify(token, audience=None).status == 200


@pytest.mark.parametrize("audience", ["", "no origin", "\ud800", "\0", "é"])
def test_audience_that_is_no_origin_opens_nothing_bound(world: World, audience: str) -> None:
    site = world.serve()
    token = site.token(audience="https://b.example")
    assert site.verify(token, audience=audience).code == "INVALID_TOKEN"


def test_bound_token_is_refused_without_a_host(world: World) -> None:
    site = world.serve()
    token = site.token(audience=ORIGIN)
    body = json.dumps({"token": token}).encode()
    content = {"content-type": "application/json"}
    answer = site.send("POST", "/one-time-token/verify", content, body, host=None)
    assert answer.code == "INVALID_TOKEN"


# A token service of one's own.


def test_ready_service(world: World) -> None:
    members = Members(person("alice"))
    service = OneTimeTokens(MemoryBackend(clock=world.clock), sessions=members, expires_in=1)
    site = world.serve(session=members, tokens=service)
    token = site.generate(SIGNED_IN).json()["token"]
    assert site.verify(token).status == 200
    late = service.generate(person("alice"))
    world.clock.forward(60)
    assert site.verify(late).code == "INVALID_TOKEN"


def test_default_backend_is_memory(world: World) -> None:
    forever = person("alice", expires_at=None)
    site = world.serve(backend=None, session=Members(forever))
    assert site.verify(site.generate(SIGNED_IN).json()["token"]).status == 200


def test_sealed_sessions_by_the_same_paths(world: World) -> None:
    here = Clock(NOW)
    adapter = SealedSession("a secret of thirty-two characters", clock=here)
    site = world.serve(session=adapter)
    value = adapter.start("alice", remember=True).token
    token = site.generate({"cookie": f"ott_session={value}"}).json()["token"]
    answer = site.verify(token)
    assert answer.json()["session"]["userId"] == "alice"
    assert "Max-Age=1209600" in answer.cookie("ott_session")


def test_fetch_metadata_of_a_script_is_no_hindrance(world: World) -> None:
    site = world.serve()
    headers = {**SIGNED_IN, **FETCH, "referer": f"http://{HOST}/page"}
    assert site.generate(headers).status == 200
