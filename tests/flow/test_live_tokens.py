"""A token that a request does not redeem stays alive: what else could show it."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from harness import FETCH, NAVIGATION, Members, Reply, Seen, Site, World, person

FRAME = {**NAVIGATION, "sec-fetch-dest": "iframe"}


class TestReferrerPolicy:
    @pytest.mark.parametrize("own", [None, "unsafe-url", "same-origin"])
    def test_frame_tells_its_url_to_no_other_request(self, world: World, own: str | None) -> None:
        headers = [] if own is None else [("Referrer-Policy", own)]
        site = world.serve(lambda seen: Reply(headers=headers))
        token = site.token()
        answer = site.open(f"/page?ott={token}", FRAME)
        assert answer.all("referrer-policy") == ["strict-origin"]
        assert site.open("/page", FRAME).all("referrer-policy") == ([own] if own else [])

    def test_policy_of_the_app_that_hides_the_url_stays(self, world: World) -> None:
        site = world.serve(lambda seen: Reply(headers=[("Referrer-Policy", "no-referrer")]))
        answer = site.open(f"/page?ott={site.token()}", FRAME)
        assert answer.all("referrer-policy") == ["no-referrer"]

    def test_watch_for_new_sessions_goes_on(self, world: World) -> None:
        headers = [("Set-Cookie", "sid=alice-cookie")]
        site = world.serve(lambda seen: Reply(headers=headers), set_ott_header_on_new_session=True)
        answer = site.open(f"/page?ott={site.token()}", FRAME)
        assert answer.all("referrer-policy") == ["strict-origin"]
        # A response to a link offers no token.
        assert answer.all("set-ott") == []


@pytest.fixture(scope="module", autouse=True)
def without_earlier_tests() -> None:
    """What earlier tests left, `gc.get_objects` leaves out: it knows none of these tokens."""
    gc.collect()
    gc.freeze()


def shown_by(token: str, *carriers: Any) -> list[str]:
    """The objects whose text has the token: those of the package, and scopes and environs."""
    mine = [
        each
        for each in gc.get_objects()
        if str(getattr(type(each), "__module__", "")).startswith("ott_middleware")
    ]
    return [repr(type(each)) for each in (*mine, *carriers) if token in repr(each)]


class TestReprs:
    @pytest.mark.parametrize("headers", [FRAME, NAVIGATION, FETCH], ids=["frame", "page", "call"])
    def test_no_object_shows_the_token(self, world: World, headers: dict[str, str]) -> None:
        token, seen_in = "", []

        def look(where: str, *carriers: Any) -> None:
            seen_in.append(where)
            assert shown_by(token, *carriers) == [], where

        class Looking(Members):
            def current(self, request: Any) -> Any:
                look("current", request, request.carrier)
                return super().current(request)

            def resolve(self, session: Any) -> Any:
                look("resolve")
                return super().resolve(session)

            def establish(self, session: Any, request: Any) -> Any:
                look("establish", request, request.carrier)
                return super().establish(session, request)

        def app(seen: Seen) -> Any:
            look("app", seen.carrier)
            return Reply()

        site: Site = world.serve(app, session=Looking(person("alice")))
        token = site.token()
        reply = site.open(f"/page?a=1&ott={token}", headers)
        look("afterwards", reply)
        site.open(f"/page?a=1&ott={token}", headers)
        look("used")
        if headers is FRAME:
            assert seen_in == ["app", "afterwards", "app", "used"]
        else:
            assert {"current", "resolve", "establish", "afterwards", "used"} <= set(seen_in)

    def test_verify_body_is_in_no_text(self, world: World) -> None:
        token, looked = "", []

        class Looking(Members):
            def resolve(self, session: Any) -> Any:
                looked.append(shown_by(token))
                return super().resolve(session)

        site = world.serve(session=Looking(person("alice")))
        token = site.token()
        assert site.verify(token).status == 200
        assert looked == [[]]
