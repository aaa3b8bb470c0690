"""`revoke_on_sign_out`: every way in which a response can take the session's cookie away."""

from __future__ import annotations

from typing import Any

import pytest
from harness import FETCH, NOW, Members, Reply, Seen, Site, World, person

from ott_middleware import MemoryBackend
from ott_middleware.http.response_headers import clears_cookies, cookie_changes

ALICE = {"cookie": "sid=alice-cookie"}
PAST = "Thu, 01 Jan 1970 00:00:00 GMT"


def cookie(line: str) -> tuple[str, str]:
    return ("Set-Cookie", line)


def clearing(value: str, name: str = "Clear-Site-Data") -> tuple[str, str]:
    return (name, value)


def site_that_sends(world: World, *headers: tuple[str, str], **options: Any) -> Site:
    def app(seen: Seen) -> Reply:
        return Reply(200, list(headers) if seen.path == "/out" else [])

    return world.serve(app, revoke_on_sign_out=True, **options)


ENDINGS: list[list[tuple[str, str]]] = [
    # Clear-Site-Data, as servers write it.
    [clearing('"cookies"')],
    [clearing('"*"')],
    [clearing('"cookies", "storage"')],
    [clearing('"cache","cookies"')],
    [clearing('"cache" ,\t"cookies" , "storage"')],
    [clearing('"cache"'), clearing('"cookies"')],
    [clearing('"cookies"', "CLEAR-SITE-DATA")],
    [clearing(' "cookies" ', "clear-site-data")],
    [clearing(',"cookies",')],
    # Browsers clear after they have set: the refreshed cookie goes as well.
    [clearing('"cookies"'), cookie("sid=alice-cookie; Path=/")],
    [cookie("sid=alice-cookie; Path=/"), clearing('"*"')],
    # Deletions of the one cookie.
    [cookie("sid=")],
    [cookie("sid=; Path=/")],
    [cookie('sid=""; Path=/')],
    [cookie('sid="" ; Path=/')],
    [cookie("sid=x; Max-Age=0")],
    [cookie("sid=x; Max-Age=-1")],
    [cookie("sid=x; Max-Age=-0")],
    [cookie("sid=alice-cookie; Max-Age=0")],
    [cookie(f"sid=alice-cookie; Expires={PAST}")],
    [cookie("sid=alice-cookie; Expires=Thu, 01-Jan-70 00:00:01 GMT")],
    [cookie("sid=alice-cookie; Expires=Wed, 31-Dec-69 23:59:59 GMT")],
    [cookie("sid=alice-cookie; Expires=Thu Jan 01 1970 00:00:00 GMT+0000 (Some Time)")],
    [cookie("sid=alice-cookie; Expires=Thu Jan  1 00:00:00 1970")],
    [cookie("sid=alice-cookie; Expires=1 January 1970, 0:0:0")],
    [cookie("sid=alice-cookie; Expires=Mon, 01 Jan 0001 00:00:00 GMT")],
    [cookie("sid=alice-cookie; Expires=Fri, 01 Jan 1500 00:00:00 GMT")],
    # An attribute that browsers cannot read is as if it were not there.
    [cookie("sid=alice-cookie; Max-Age=0; Max-Age=soon")],
    [cookie("sid=alice-cookie; Max-Age=60; Max-Age=0")],
    [cookie(f"sid=alice-cookie; Expires={PAST}; Expires=soon")],
    [cookie(f"sid=alice-cookie; Max-Age=; Expires={PAST}")],
    # Of several lines about one cookie the last counts.
    [cookie("sid=alice-cookie"), cookie("sid=; Max-Age=0")],
    [cookie("sid=alice-cookie; Path=/"), cookie("sid=x; Max-Age=0; Path=/")],
    [cookie("sid=alice-cookie"), cookie("sid=; Max-Age=0; Path=/")],
    [cookie("sid=alice-cookie; Path=/"), cookie("sid=; Max-Age=0")],
    [cookie("sid=alice-cookie; Domain=app.example"), cookie("sid=; Domain=.APP.example")],
    # The app may know better than this site behind which path or domain its cookie is.
    [cookie("sid=; Max-Age=0; Path=/mount")],
    [cookie("sid=; Max-Age=0; Domain=example")],
    # Another session's cookie, or one that is no session's.
    [cookie("sid=deleted")],
    [cookie("sid=bob-cookie")],
]


@pytest.mark.parametrize("headers", ENDINGS, ids=str)
def test_ending_revokes_the_sessions_tokens(world: World, headers: list[tuple[str, str]]) -> None:
    backend = MemoryBackend(clock=world.clock)
    site = site_that_sends(world, *headers, backend=backend)
    site.generate(ALICE)
    site.get("/page", ALICE)
    assert len(backend) == 1
    assert site.get("/out", ALICE).status == 200
    assert len(backend) == 0


NO_ENDINGS: list[list[tuple[str, str]]] = [
    [],
    # What is to be cleared is named in quotes, letter by letter; browsers ignore all else.
    [clearing("cookies")],
    [clearing("*")],
    [clearing("'cookies'")],
    [clearing('"Cookies"')],
    [clearing('"cookies";q=1')],
    [clearing('"cache", "storage"')],
    [clearing('"cache; \\"cookies\\""')],
    [clearing('"cook"'), clearing('ies"')],
    [clearing("")],
    [clearing('"cookies"', "Clear-Site-Data-Report")],
    # The session goes on.
    [cookie("sid=alice-cookie")],
    [cookie("sid=alice-cookie; Max-Age=60")],
    [cookie(f"sid=alice-cookie; Max-Age=60; Expires={PAST}")],
    [cookie("sid=alice-cookie; Expires=soon")],
    [cookie("sid=alice-cookie; Expires=1970")],
    [cookie("sid=alice-cookie; Expires=Thu, 01 Jan 1970")],
    [cookie("sid=alice-cookie; Expires=Thu, 01 Jan 1970 24:00:00 GMT")],
    [cookie("sid=alice-cookie; Expires=Thu, 32 Jan 1970 00:00:00 GMT")],
    [cookie("sid=alice-cookie; Expires=Sat, 01 Jan 2050 00:00:00 GMT")],
    [cookie("sid=; Max-Age=0"), cookie("sid=alice-cookie")],
    [cookie("sid2=; Max-Age=0"), cookie("SID=; Max-Age=0")],
    # An older cookie of the same name, elsewhere, is tidied away.
    [cookie("sid=alice-cookie; Path=/"), cookie("sid=; Max-Age=0; Path=/old")],
    [cookie("sid=alice-cookie; Path=/"), cookie("sid=; Max-Age=0; Path=/; Domain=old.example")],
    [cookie("sid=alice-cookie; Path=/; Secure; Partitioned"), cookie("sid=; Max-Age=0; Path=/")],
]


@pytest.mark.parametrize("headers", NO_ENDINGS, ids=str)
def test_other_response_revokes_nothing(world: World, headers: list[tuple[str, str]]) -> None:
    backend = MemoryBackend(clock=world.clock)
    site = site_that_sends(world, *headers, backend=backend)
    site.generate(ALICE)
    assert site.get("/out", ALICE).status == 200
    assert len(backend) == 1


PREFIXED = "__Host-sid=alice-cookie"


class Prefixed(Members):
    cookie_names = ("__Host-sid",)

    def current(self, request: Any) -> Any:
        return next((self.live[v] for v in request.cookies("__Host-sid") if v in self.live), None)


@pytest.mark.parametrize(
    ("headers", "left"),
    [
        ([cookie("__Host-sid=; Max-Age=0; Path=/; Secure")], 0),
        ([cookie("__Host-sid=; Max-Age=0")], 0),  # not every client minds the prefix
        ([clearing('"cookies"')], 0),
        # Browsers do not take the second line, so the first one stands.
        ([cookie("__Host-sid=; Path=/; Secure"), cookie(f"{PREFIXED}; Path=/")], 0),
        ([cookie("__Host-sid=; Path=/; Secure"), cookie(f"{PREFIXED}; Path=/x; Secure")], 0),
        ([cookie("__Host-sid=; Path=/; Secure"), cookie(f"{PREFIXED}; Secure")], 0),
        (
            [
                cookie("__Host-sid=; Path=/; Secure"),
                cookie(f"{PREFIXED}; Path=/; Secure; Domain=app.example"),
            ],
            0,
        ),
        ([cookie("__Host-sid=; Path=/; Secure"), cookie(f"{PREFIXED}; Path=/; Secure")], 1),
        ([cookie(f"{PREFIXED}; Path=/; Secure")], 1),
        ([cookie("sid=; Max-Age=0")], 1),
    ],
    ids=str,
)
def test_ending_of_a_cookie_with_a_prefix(
    world: World, headers: list[tuple[str, str]], left: int
) -> None:
    backend = MemoryBackend(clock=world.clock)
    site = site_that_sends(world, *headers, backend=backend, session=Prefixed(person("alice")))
    alice = {"cookie": PREFIXED}
    assert site.generate(alice).status == 200
    site.get("/out", alice)
    assert len(backend) == left


def test_ending_by_a_prefix_that_needs_secure() -> None:
    headers = (cookie("__Secure-sid=; Max-Age=0"), cookie("__secure-sid=x"))
    assert cookie_changes(headers, NOW) == {"__Secure-sid": None}
    assert cookie_changes((cookie("__Secure-sid=x; secure"),), NOW) == {"__Secure-sid": "x"}


@pytest.mark.parametrize("value", ['"cookies"', '"*"'])
def test_call_that_redeems_and_clears_sets_no_cookie(world: World, value: str) -> None:
    site = site_that_sends(world, clearing(value))
    other = site.token()
    answer = site.fetch(f"/out?ott={site.token()}")
    assert (answer.status, answer.cookies) == (200, {})
    assert site.verify(other).code == "INVALID_TOKEN"


def test_sign_in_that_clears_all_cookies_is_offered_no_token(world: World) -> None:
    def app(seen: Seen) -> Reply:
        return Reply(200, [cookie("sid=alice-cookie"), clearing('"cookies"')])

    site = world.serve(app, set_ott_header_on_new_session=True)
    assert site.get("/").header("set-ott") is None
    assert site.get("/", FETCH).header("set-ott") is None


def test_clear_site_data_forms() -> None:
    assert clears_cookies((("Vary", "Cookie"), clearing('"storage", "*"')))
    assert not clears_cookies((("Vary", '"cookies"'),))
    assert not clears_cookies(())
