"""A token in the query of any other request."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
from examples_of_hypothesis import examples
from harness import (
    FETCH,
    NAVIGATION,
    ORIGIN,
    Members,
    Reply,
    Seen,
    World,
    call_asgi,
    call_wsgi,
    echo,
    main_lines,
    make_environ,
    make_scope,
    person,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from ott_middleware import MemoryBackend, OneTimeTokens
from ott_middleware.flow.handle import Handle
from ott_middleware.http import Response

BOB = {"cookie": "sid=bob-cookie"}
ALICE = {"cookie": "sid=alice-cookie"}


def is_live(site: Any, token: str) -> bool:
    """Whether a token is still good; redeems it."""
    return bool(site.verify(token).status == 200)


# 1. The fast exit.


@pytest.mark.parametrize(
    "query", ["", "a=1", "bott=T", "ottx=T", "OTT=T", "a=ott", "a&b=%41%20", "%6Ftt2=x", "a=?ott=T"]
)
def test_request_without_the_parameter_is_the_apps(world: World, query: str) -> None:
    site = world.serve()
    assert site.open(f"/page?{query}", ALICE).body == b"hello"
    seen = site.seen[0]
    assert (seen.path, seen.query) == ("/page", query)
    assert isinstance(seen.ott, Handle)
    assert seen.ott.redeemed is None
    assert site.members.asked == []


def test_app_is_told_nothing_but_the_handle(world: World) -> None:
    site = world.serve()
    site.get("/page?x=1")
    new = {key for key in site.seen[0].carrier if "ott" in key}
    assert new == {"ott" if world.interface == "asgi" else "ott.handle"}


# 2. Cutting.


@pytest.mark.parametrize("spelled", ["ott", "%6Ftt", "%6ftt", "o%74t", "%6F%74%74"])
def test_every_spelling_of_the_name_counts(world: World, spelled: str) -> None:
    site = world.serve()
    answer = site.open(f"/page?{spelled}={site.token()}")
    assert (answer.status, answer.location) == (303, "./page")
    assert answer.cookies == {"sid": "alice-cookie"}


def test_value_may_be_percent_encoded(world: World) -> None:
    site = world.serve(generate_token=lambda session, context: "a-b")
    assert site.open(f"/page?ott={site.token().replace('-', '%2D')}").status == 303


def test_rest_of_the_query_stays_byte_for_byte(world: World) -> None:
    site = world.serve()
    query = "?a=1&a=2&b=%E9&ott={}&c=+&d"
    answer = site.open("/p" + query.format(site.token()))
    assert answer.location == "?a=1&a=2&b=%E9&c=+&d"
    site.fetch("/p" + query.format(site.token()))
    assert site.seen[0].query == "a=1&a=2&b=%E9&c=+&d"


@pytest.mark.parametrize(
    ("query", "rest"),
    [
        ("ott={}", ""),
        ("&ott={}", ""),
        ("&&ott={}&&", "&&&"),
        ("ott={}&ott={}", ""),
        ("x=%zz&ott={}&%", "x=%zz&%"),
        ("ott={}&a=b=c;d", "a=b=c;d"),
    ],
)
def test_odd_queries(world: World, query: str, rest: str) -> None:
    site = world.serve()
    token = site.token()
    assert site.fetch("/p?" + query.format(token, token)).cookies == {"sid": "alice-cookie"}
    assert site.seen[0].query == rest


def test_parameter_may_be_called_otherwise(world: World) -> None:
    site = world.serve(query_param="login-token")
    token = site.token()
    assert site.open(f"/?ott={token}").status == 200
    assert site.open(f"/?login%2Dtoken={token}").location == "./"


def test_links_can_be_turned_off(world: World) -> None:
    site = world.serve(query_param=None)
    token = site.token()
    assert site.open(f"/?ott={token}&None={token}").status == 200
    assert site.seen[0].query == f"ott={token}&None={token}"
    assert is_live(site, token)


def carriers(site: Any, token: str) -> dict[str, Any]:
    if site.interface == "asgi":
        return {"raw_path": f"/page?a=1&ott={token}".encode()}
    return {
        "RAW_URI": f"http://other.example/page?b&ott={token}#f",
        "REQUEST_URI": f"/page?a=1&%6Ftt={token}",
    }


@pytest.mark.parametrize("headers", [NAVIGATION, FETCH, {"sec-fetch-dest": "iframe"}])
def test_token_is_in_no_log_of_app_and_server(world: World, headers: dict[str, str]) -> None:
    site = world.serve()
    token = site.token()
    referer = {**headers, "referer": f"{ORIGIN}/from?x=1&ott={token}&y#z"}
    carrier = dict(carriers(site, token))
    # The server's own dictionary is looked at: what an access log is written from.
    if site.interface == "asgi":
        scope = make_scope("GET", f"/page?ott={token}&a=1", referer, carrier=carrier)
        asyncio.run(call_asgi(site.middleware, scope))
        assert scope["query_string"] == b"a=1"
        assert scope["raw_path"] == b"/page?a=1"
        assert dict(scope["headers"])[b"referer"] == f"{ORIGIN}/from?x=1&y#z".encode()
        assert token not in str({k: v for k, v in scope.items() if k not in ("ott", "ott.handle")})
    else:
        environ = make_environ("GET", f"/page?ott={token}&a=1", referer, carrier=carrier)
        call_wsgi(site.middleware, environ)
        assert environ["QUERY_STRING"] == "a=1"
        assert environ["RAW_URI"] == "http://other.example/page?b#f"
        assert environ["REQUEST_URI"] == "/page?a=1"
        assert environ["HTTP_REFERER"] == f"{ORIGIN}/from?x=1&y#z"
        assert token not in str(environ)


@pytest.mark.parametrize(
    "value", ["", "&ott=other", "x" * 513, "%00", "%0D%0A", "%E9", "a b", "a.b"]
)
def test_malformed_token_takes_nothing(world: World, value: str) -> None:
    backend = Counting(world)
    site = world.serve(backend=backend)
    token = site.token()
    target = f"/p?ott={token}{value}" if value.startswith("&") else f"/p?ott={value}"
    answer = site.fetch(target)
    assert (answer.status, answer.code) == (400, "INVALID_TOKEN")
    assert backend.takes == 0
    assert is_live(site, token)


class Counting(MemoryBackend):
    def __init__(self, world: World) -> None:
        super().__init__(clock=world.clock)
        self.takes = 0

    def take(self, key: str) -> bytes | None:
        self.takes += 1
        return super().take(key)


# 3. Never redeemed.


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("HEAD", {}),
        ("HEAD", NAVIGATION),
        ("OPTIONS", {}),
        ("GET", {"sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}),
        ("GET", {"sec-fetch-mode": "cors", "sec-fetch-dest": "image"}),
        ("GET", {"sec-fetch-mode": "cors", "sec-fetch-dest": "font"}),
        ("GET", {**NAVIGATION, "sec-fetch-dest": "iframe"}),
        ("GET", {**NAVIGATION, "sec-fetch-dest": "frame"}),
        ("GET", {**NAVIGATION, "sec-fetch-dest": "embed"}),
        ("GET", {**NAVIGATION, "sec-fetch-dest": "object"}),
    ],
)
def test_request_that_no_user_made_redeems_nothing(
    world: World, method: str, headers: dict[str, str]
) -> None:
    site = world.serve()
    token = site.token()
    answer = site.send(method, f"/p?a=1&ott={token}", headers)
    assert (answer.status, answer.all("set-cookie")) == (200, [])
    assert site.seen[0].query == "a=1"
    assert site.seen[0].ott.redeemed is None
    assert is_live(site, token)


@pytest.mark.parametrize(
    "headers",
    [{"sec-purpose": "prefetch;prerender"}, {"purpose": "prefetch"}, {"x-moz": "prefetch"}],
)
def test_prefetch_gets_an_empty_503(world: World, headers: dict[str, str]) -> None:
    site = world.serve()
    token = site.token()
    answer = site.open(f"/?ott={token}", headers)
    assert (answer.status, answer.body) == (503, b"")
    assert site.seen == []
    assert is_live(site, token)


def test_prefetch_without_a_token_is_the_apps(world: World) -> None:
    assert world.serve().open("/", {"sec-purpose": "prefetch"}).body == b"hello"


# 4. Navigation.


@pytest.mark.parametrize(
    "headers",
    [
        NAVIGATION,
        {**NAVIGATION, "sec-fetch-site": "cross-site"},
        {**NAVIGATION, "origin": "https://evil.example"},
        {**NAVIGATION, "service-worker-navigation-preload": "true"},
    ],
)
def test_navigation_is_redirected_signed_in(world: World, headers: dict[str, str]) -> None:
    site = world.serve()
    answer = site.get(f"/welcome?ott={site.token()}&x=1", headers)
    assert (answer.status, answer.location, answer.body) == (303, "?x=1", b"")
    assert answer.header("content-length") == "0"
    assert answer.cookies == {"sid": "alice-cookie"}
    assert site.seen == []


@pytest.mark.parametrize(
    "headers",
    [
        {"accept": "*/*"},
        {"accept": "text/*"},
        {"accept": "text/html;q=0"},
        {"accept": "application/json"},
        {},
        {**NAVIGATION, "sec-fetch-mode": "cors"},
        {"accept": "text/html", "sec-fetch-site": "same-origin"},
    ],
)
def test_call_is_what_is_no_navigation(world: World, headers: dict[str, str]) -> None:
    site = world.serve()
    answer = site.get(f"/?ott={site.token()}", headers)
    assert (answer.status, answer.body) == (200, b"hello")
    assert site.seen[0].ott.redeemed == "handoff"


def test_form_post_is_a_call(world: World) -> None:
    site = world.serve(echo)
    headers = {**NAVIGATION, "origin": ORIGIN, "content-type": "text/plain"}
    answer = site.send("POST", f"/?ott={site.token()}", headers, b"body")
    assert answer.json()["redeemed"] == "handoff"
    assert answer.json()["headers"]["cookie"] == "sid=alice-cookie"


HOSTILE = [
    "//evil.example/x",
    "/\\evil.example",
    "\\\\evil.example",
    "/%2f/evil",
    "/%2F%2Fevil.example",
    "///evil.example",
    "/%5Cevil.example",
    "/%09/evil.example",
    "/\t/evil.example",
    "/%0D%0ALocation:%20//evil",
    "/\r\n/evil.example",
    "/..//evil.example",
    "/.//evil.example",
    "/%2e%2e//evil.example",
    "http://evil.example/x",
    "http://evil.example",
    "HTTP://evil.example//y",
    "http:evil.example",
    "javascript:alert(1)",
    "evil.example",
    "@evil.example",
    "/\x00",
    "/\xff\xfe",
    "/%ff%00",
    "",
    "*",
]


def browser_host(location: str) -> str:
    """Where a browser on this host goes (WHATWG URL, what matters of it)."""
    cleaned = "".join(c for c in location if c not in "\t\n\r").strip(" ").replace("\\", "/")
    # Any number of slashes after the scheme's colon, or at the start, introduces a host.
    if cleaned.startswith("//"):
        cleaned = "//" + cleaned.lstrip("/")
    return urlsplit(urljoin("http://app.example/dir/", cleaned)).netloc


@pytest.mark.parametrize("path", HOSTILE)
@pytest.mark.parametrize("mount", ["", "/mounted", "//evil.example"])
def test_redirect_stays_on_this_host(world: World, path: str, mount: str) -> None:
    site = world.serve()
    answer = site.open(f"{path}?ott={site.token()}&a=b", mount=mount)
    assert answer.status == 303
    location = answer.location or ""
    assert location == "?a=b"
    old = site.load(f"{path}?ott={site.token()}&a=b", {"accept": "text/html"}, mount=mount)
    location = old.location or ""
    assert location.startswith("./")
    assert location.endswith("?a=b")
    assert location.isprintable()
    assert location.isascii()
    assert browser_host(location) == "app.example"


@settings(max_examples=examples(150), deadline=None)
@given(
    interface=st.sampled_from(["asgi", "wsgi"]),
    path=st.lists(
        st.sampled_from(
            [
                "/",
                "\\",
                "%2f",
                "%5c",
                "\t",
                "\n",
                "\r",
                "%0a",
                "..",
                ".",
                "evil.example",
                "http:",
                "@",
                ":",
                "%",
                "\xe9",
                "%00",
                " ",
                ";",
                "#",
            ]
        )
    ).map("".join),
    mount=st.sampled_from(["", "/m", "/%"]),
)
def test_redirect_of_any_path_stays_on_this_host(interface: str, path: str, mount: str) -> None:
    site = World(interface).serve()
    answer = site.open(f"{path.replace('?', '')}?ott={site.token()}", mount=mount)
    assert answer.status == 303
    location = answer.location or ""
    assert location.startswith("./")
    assert browser_host(location) == "app.example"
    assert location.isprintable()
    assert location.isascii()


@pytest.mark.parametrize(
    ("target", "location"),
    [
        ("/a%2Fb?ott={}", "./a%2Fb"),
        ("/a%20b?ott={}", "./a%20b"),
        ("/caf%C3%A9?ott={}", "./caf%C3%A9"),
        ("/caf%c3%a9?ott={}", "./caf%c3%a9"),
        ("/%E9?ott={}", "./%E9"),
        ("/a;p=1,2:@!$&'()*+~?ott={}", "./a;p=1,2:@!$&'()*+~"),
        ("/x?q=%0D%0A&ott={}", "?q=%0D%0A"),
        ('/x?q=a b"<>#\xe9&ott={}', '?q=a%20b"<>%23%E9'),
        ("http://other.example:99/x?ott={}", "./x"),
        ("https://other.example?ott={}&a", "?a"),
    ],
)
def test_location_is_the_same_url(world: World, target: str, location: str) -> None:
    site = world.serve()
    assert site.open(target.format(site.token())).location == location


def test_mount_point_stays(world: World) -> None:
    site = world.serve()
    for path, location in (("/x%2Fy", "./x%2Fy"), ("/", "./"), ("", "./mounted")):
        answer = site.open(f"{path}?ott={site.token()}", mount="/mounted")
        assert answer.location == location


@pytest.mark.parametrize(
    ("strict", "headers"),
    [
        ("Strict", {"sec-fetch-site": "none"}),
        ("Strict", {"sec-fetch-site": "same-origin"}),
        ("Lax", {"sec-fetch-site": "cross-site"}),
    ],
)
def test_arrival_by_other_ways_goes_right_on(
    world: World, strict: str, headers: dict[str, str]
) -> None:
    site = world.serve(session=Members(person("alice"), samesite=strict))
    answer = site.open(f"/?ott={site.token()}", headers)
    assert answer.status == 303
    assert answer.cookie("sid") >= {f"SameSite={strict}"}


# Who is signed in already.


def test_present_user_stays_signed_in(world: World) -> None:
    site = world.serve(on_switch="keep")
    token = site.token()
    answer = site.open(f"/p?ott={token}", BOB)
    assert (answer.status, answer.location, answer.all("set-cookie")) == (303, "./p", [])
    assert not is_live(site, token)
    assert "establish" not in site.members.asked


def test_call_of_another_user_stays_theirs(world: World) -> None:
    site = world.serve(echo, on_switch="keep")
    answer = site.fetch(f"/p?ott={site.token()}", BOB)
    assert answer.json()["headers"]["cookie"] == "sid=bob-cookie"
    assert answer.json()["redeemed"] is None
    assert answer.all("set-cookie") == []


def test_session_can_be_replaced(world: World) -> None:
    site = world.serve(echo, on_switch="replace")
    assert site.open(f"/p?ott={site.token()}", BOB).cookies == {"sid": "alice-cookie"}
    answer = site.fetch(f"/p?ott={site.token()}", BOB)
    assert answer.json()["headers"]["cookie"] == "sid=alice-cookie"


@pytest.mark.parametrize("on_switch", ["ask", "keep", "replace"])
def test_same_person_is_signed_in_anew(world: World, on_switch: str) -> None:
    again = person("alice", id="another", token="another-cookie")
    site = world.serve(session=Members(person("alice"), again), on_switch=on_switch)
    answer = site.open(f"/?ott={site.token()}", {"cookie": "sid=another-cookie"})
    assert answer.cookies == {"sid": "alice-cookie"}


def test_unknown_user_counts_as_another(world: World) -> None:
    unknown = person("x", user_id=None)
    site = world.serve(session=Members(person("alice"), unknown), on_switch="keep")
    answer = site.open(f"/?ott={site.token()}", {"cookie": "sid=x-cookie"})
    assert (answer.status, answer.all("set-cookie")) == (303, [])


def test_adapter_that_cannot_vouch_lets_every_link_in(world: World) -> None:
    site = world.serve(session="sid")
    token = site.generate(ALICE).json()["token"]
    assert site.open(f"/?ott={token}", BOB).cookies == {"sid": "alice-cookie"}


# 5. Calls.


def test_call_is_answered_signed_in(world: World) -> None:
    def show(seen: Seen) -> Reply:
        session = seen.ott.session
        return Reply(body=f"{session.user_id} {seen.ott.redeemed}".encode())

    site = world.serve(show)
    answer = site.fetch(f"/p?ott={site.token()}")
    assert answer.body == b"alice handoff"
    assert answer.cookies == {"sid": "alice-cookie"}
    assert site.seen[0].cookies == {"sid": "alice-cookie"}
    assert answer.header("cache-control") == "private, no-store"
    # The handle knows whom the token named: nobody is asked again.
    assert site.members.asked == ["current", "resolve", "establish"]


def test_other_cookies_stay(world: World) -> None:
    site = world.serve(on_switch="replace")
    site.fetch(f"/?ott={site.token()}", {"cookie": "a=1; sid=bob-cookie; b= 2;sid=x"})
    assert site.seen[0].headers["cookie"] == "a=1; b= 2; sid=alice-cookie"


CONDITIONS = [
    "range",
    "if-range",
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-unmodified-since",
]


def test_conditional_headers_of_another_users_copy_are_cut(world: World) -> None:
    site = world.serve()
    conditions = dict.fromkeys(CONDITIONS, "x")
    site.fetch(f"/?ott={site.token()}", conditions)
    assert not set(CONDITIONS) & set(site.seen[0].headers)
    site.fetch("/", conditions)
    assert set(CONDITIONS) <= set(site.seen[1].headers)


def cached(seen: Seen) -> Reply:
    return Reply(
        headers=[
            ("Content-Type", "text/plain"),
            ("Cache-Control", "public, max-age=600"),
            ("ETag", '"1"'),
            ("Expires", "Thu, 01 Jan 2099 00:00:00 GMT"),
            ("X-Mine", "1"),
            ("X-Mine", "2"),
        ]
    )


def test_response_to_a_call_is_private(world: World) -> None:
    site = world.serve(cached)
    answer = site.fetch(f"/?ott={site.token()}")
    assert answer.all("cache-control") == ["private, no-store"]
    assert answer.all("etag") == answer.all("expires") == []
    assert answer.all("x-mine") == ["1", "2"]
    assert site.fetch("/").header("cache-control") == "public, max-age=600"


@pytest.mark.parametrize("own", ["sid=fresh; Path=/", "sid=; Max-Age=0", "sid=gone; Max-Age=-1"])
def test_apps_own_cookie_stands_alone(world: World, own: str) -> None:
    site = world.serve(lambda seen: Reply(headers=[("Set-Cookie", own), ("Set-Cookie", "a=b")]))
    assert site.fetch(f"/?ott={site.token()}").all("set-cookie") == [own, "a=b"]


# 7. Dead links.


@pytest.mark.parametrize("headers", [{}, BOB, ALICE])
def test_signed_in_visitor_sees_no_error(world: World, headers: dict[str, str]) -> None:
    site = world.serve()
    token = site.token()
    assert is_live(site, token)
    answer = site.open(f"/p?a=1&ott={token}", headers)
    assert answer.all("set-cookie") == []
    assert (answer.status, answer.location) == ((303, "?a=1") if headers else (400, None))


def test_call_with_a_dead_token_is_an_error_for_anyone(world: World) -> None:
    answer = world.serve().fetch("/?ott=dead", ALICE)
    assert (answer.status, answer.json()) == (
        400,
        {"message": "Invalid token", "code": "INVALID_TOKEN"},
    )


def test_adapter_that_cannot_vouch_excuses_nobody(world: World) -> None:
    assert world.serve(session="sid").open("/?ott=dead", ALICE).status == 400


def test_error_page(world: World) -> None:
    site = world.serve()
    answer = site.open('/p?q="><script>&ott=dead%22%3E')
    assert answer.status == 400
    assert answer.header("content-type") == "text/html; charset=utf-8"
    assert answer.header("content-length") == str(len(answer.body))
    page = answer.body.decode()
    assert '<a href="?q=&quot;&gt;&lt;script&gt;">' in page
    assert "dead" not in page
    assert "<script" not in page
    assert "default-src 'none'" in (answer.header("content-security-policy") or "")
    assert site.seen == []


def test_error_is_json_for_who_does_not_want_html(world: World) -> None:
    answer = world.serve().get("/?ott=dead", {"accept": "application/json"})
    assert answer.code == "INVALID_TOKEN"


def test_error_page_is_for_calls_that_want_html(world: World) -> None:
    site = world.serve()
    answer = site.send("POST", "/?ott=dead", {"accept": "text/html"}, b"x")
    assert answer.header("content-type") == "text/html; charset=utf-8"
    evil = {**NAVIGATION, "origin": "https://evil.example"}
    refused = site.send("POST", "/?ott=dead", evil, b"x")
    assert refused.status == 403
    assert b"This request was refused" in refused.body


def test_error_says_what_happened_to_the_session(world: World) -> None:
    site = world.serve()
    token = site.token()
    site.members.live.clear()
    assert site.fetch(f"/?ott={token}").code == "SESSION_NOT_FOUND"


def test_errors_can_be_passed_over(world: World) -> None:
    site = world.serve(echo, on_invalid="continue")
    answer = site.open("/p?a=1&ott=dead")
    assert (answer.status, answer.location, answer.all("set-cookie")) == (303, "?a=1", [])
    answer = site.fetch("/p?a=1&ott=dead", {"cookie": "sid=stale"})
    assert answer.json()["query"] == "a=1"
    assert answer.json()["redeemed"] is None
    assert answer.json()["headers"]["cookie"] == "sid=stale"
    assert answer.all("set-cookie") == []


def test_passing_over_errors_is_for_dead_tokens_alone(world: World) -> None:
    site = world.serve(on_invalid="continue")
    assert site.fetch("/?ott=dead", {"origin": "https://evil.example"}).status == 403


def answer_teapot(request: Any, error: Any) -> Response:
    headers = (("Content-Type", "text/plain"), ("cache-control", "max-age=1"))
    return Response(418, headers, f"{request.location} {error.code}".encode())


async def answer_teapot_later(request: Any, error: Any) -> Response:
    return answer_teapot(request, error)


@pytest.mark.parametrize("hook", [answer_teapot, answer_teapot_later])
def test_errors_can_be_answered_by_a_hook(world: World, hook: Any) -> None:
    site = world.serve(on_invalid=hook)
    for answer in (site.open("/p?a=1&ott=dead"), site.fetch("/p?a=1&ott=dead")):
        assert (answer.status, answer.body) == (418, b"?a=1 INVALID_TOKEN")
        # Whatever the hook says: the URL holds what was a token.
        assert answer.all("cache-control") == ["no-store"]
        assert answer.all("referrer-policy") == ["no-referrer"]
    # Who is signed in needs no answer.
    assert site.open("/p?ott=dead", ALICE).status == 303


def test_hooks_page_may_hold_a_form(world: World) -> None:
    policy = (("referrer-policy", "strict-origin"),)
    site = world.serve(on_invalid=lambda request, error: Response(400, policy))
    assert site.open("/p?ott=dead").all("referrer-policy") == ["strict-origin"]


@pytest.mark.parametrize(
    "parts",
    [
        (99,),
        (True,),
        ("400",),
        (400, None),
        (400, "Date"),
        (400, iter(())),
        (400, (("X-Title", "łódź"),)),
        (400, (("X-Title", "a\r\nb: c"),)),
        (400, (("X Title", "a"),)),
        (400, ((b"X-Title", b"a"),)),
        (400, (("X-Title",),)),
        (400, (["X-Title", "secret"],)),
        (400, (), "text"),
        (400, (), None),
    ],
)
def test_hook_response_that_cannot_be_sent(
    world: World, parts: Any, caplog: pytest.LogCaptureFixture
) -> None:
    site = world.serve(on_invalid=lambda request, error: Response(*parts))
    answer = site.open("/p?ott=dead", {"accept": "application/json"})
    assert (answer.status, answer.code) == (503, "SESSION_UNAVAILABLE")
    (record,) = main_lines(caplog)
    assert "on_invalid" in record.message
    assert "secret" not in caplog.text


# Links made here.


class AtB(Members):
    """The members of a site whose framework names its host."""

    def own_hosts(self) -> tuple[str, ...]:
        return ("b.example",)


def test_link_signs_in_on_its_own_origin_only(world: World) -> None:
    links: list[str] = []

    async def mint(seen: Seen) -> Reply:
        links.append(await seen.ott.alink("https://b.example/in?a=1#top"))
        return Reply()

    backend = MemoryBackend(clock=world.clock)
    here = world.serve(mint, backend=backend, handoff_targets=["https://b.example"])
    there = world.serve(backend=backend, session=AtB(person("alice")))
    for _ in range(3):
        here.get("/", ALICE)
    before, _, token = links[0].removesuffix("#top").rpartition("&ott=")
    assert before == "https://b.example/in?a=1"
    assert here.open(f"/?ott={token}").status == 400
    secure = {"host": "b.example"}
    token = links[1].removesuffix("#top").rpartition("=")[2]
    assert there.open(f"/in?ott={token}", secure, scheme="https").status == 303
    token = links[2].removesuffix("#top").rpartition("=")[2]
    assert there.open(f"/in?ott={token}", secure).status == 303  # behind a TLS proxy


def test_call_stands_on_this_site_and_not_on_the_calling_page(world: World) -> None:
    site = world.serve(trusted_origins=["https://spa.example"])
    spa = {"origin": "https://spa.example", "sec-fetch-site": "cross-site"}
    assert site.fetch(f"/?ott={site.token(audience=ORIGIN)}", spa).status == 200
    elsewhere = site.token(audience="https://spa.example")
    assert site.fetch(f"/?ott={elsewhere}", spa).code == "INVALID_TOKEN"


def test_service_made_elsewhere_opens_links(world: World) -> None:
    members = Members(person("alice"))
    service = OneTimeTokens(MemoryBackend(clock=world.clock), sessions=members)
    site = world.serve(session=members, tokens=service)
    assert site.open(f"/?ott={service.generate(person('alice'))}").status == 303
