"""`SealedSession(sign_out_path="/logout")`: the app's own log-out page ends the session."""

from __future__ import annotations

from typing import Any

import pytest
from harness import FETCH, NAVIGATION, ORIGIN, SECRET, Answer, Reply, Seen, Site, World

from ott_middleware import OTTMiddleware, SealedSession, Session, WSGIMiddleware
from ott_middleware.context import PROBE


def app(seen: Seen) -> Reply:
    if seen.path == "/switch":
        seen.ott.sign_in("bob")
    if seen.path in ("/logout", "/logout/"):
        user = seen.ott.session and seen.ott.session.user_id
        return Reply(303, [("Location", "/")], f"bye {user}".encode())
    return Reply()


def serve(world: World, call: Any = app, **options: Any) -> Site:
    adapter = SealedSession(SECRET, clock=world.clock, sign_out_path="/logout")
    return world.serve(call, session=adapter, **options)


def alice(site: Site) -> dict[str, str]:
    cookie = site.members.start("alice", remember=True).token
    return {"cookie": f"ott_session={cookie}"}


def ended(answer: Answer) -> bool:
    if not answer.all("set-cookie"):
        return False
    assert "Max-Age=0" in answer.cookie("ott_session")
    assert answer.header("cache-control") == "private, no-store"
    return True


ASKED = [
    NAVIGATION,
    {**NAVIGATION, "sec-fetch-site": "same-origin"},
    FETCH,
    {},
    {"accept": "*/*"},
    {"accept": "text/html,image/avif,image/webp,*/*;q=0.8"},
    {"referer": f"{ORIGIN}/account"},
    {"origin": ORIGIN, "sec-fetch-site": "same-origin"},
    # A click inside of a frame of this site.
    {
        **NAVIGATION,
        "sec-fetch-dest": "iframe",
        "sec-fetch-site": "same-origin",
        "sec-fetch-user": "?1",
    },
    # A script of this site, which takes images.
    {
        "sec-fetch-mode": "same-origin",
        "sec-fetch-dest": "empty",
        "sec-fetch-site": "same-origin",
        "accept": "image/svg+xml",
    },
]
NOT_ASKED = [
    # Another site sends the visitor there, by a link, a form or a script.
    {**NAVIGATION, "sec-fetch-site": "cross-site"},
    {**NAVIGATION, "sec-fetch-site": "same-site"},
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"referer": "https://evil.example/"},
    # An image, with Fetch Metadata and in an older browser; a frame; a script file.
    {"sec-fetch-mode": "no-cors", "sec-fetch-dest": "image", "sec-fetch-site": "same-origin"},
    {"sec-fetch-mode": "no-cors", "sec-fetch-dest": "script", "sec-fetch-site": "same-origin"},
    {"sec-fetch-mode": "cors", "sec-fetch-dest": "image", "sec-fetch-site": "same-origin"},
    {"accept": "image/webp,image/png,*/*;q=0.8", "referer": f"{ORIGIN}/forum"},
    {**NAVIGATION, "sec-fetch-dest": "iframe", "sec-fetch-site": "same-origin"},
    # A prefetch.
    {**NAVIGATION, "sec-purpose": "prefetch;prerender"},
    {"purpose": "prefetch"},
]


class TestSignOutPath:
    @pytest.mark.parametrize("method", ["GET", "POST"])
    @pytest.mark.parametrize("headers", ASKED)
    def test_request_ends_the_session(
        self, world: World, headers: dict[str, str], method: str
    ) -> None:
        site = serve(world)
        answer = site.send(method, "/logout", {**headers, **alice(site)})
        # The app saw the user, so that it can end what it keeps of the user itself.
        assert (answer.status, answer.location, answer.body) == (303, "/", b"bye alice")
        assert ended(answer)

    @pytest.mark.parametrize("method", ["GET", "POST"])
    @pytest.mark.parametrize("headers", NOT_ASKED)
    def test_request_that_no_visitor_made_ends_nothing(
        self, world: World, headers: dict[str, str], method: str
    ) -> None:
        site = serve(world)
        assert not ended(site.send(method, "/logout", {**headers, **alice(site)}))

    @pytest.mark.parametrize("method", ["HEAD", "OPTIONS"])
    def test_method_that_shows_no_page_ends_nothing(self, world: World, method: str) -> None:
        site = serve(world)
        assert not ended(site.send(method, "/logout", {**NAVIGATION, **alice(site)}))

    def test_page_of_a_trusted_origin_may_ask(self, world: World) -> None:
        site = serve(world, trusted_origins=["https://front.example"])
        asked = {"origin": "https://front.example", "sec-fetch-site": "cross-site"}
        assert ended(site.send("POST", "/logout", {**asked, **alice(site)}))

    @pytest.mark.parametrize(
        ("target", "counts"),
        [
            ("/logout", True),
            ("/logout/", True),
            ("/logout?next=/", True),
            ("/%6Cogout", True),
            ("/logout/all", False),
            ("/logouts", False),
            ("/help/logout", False),
            ("/Logout", False),
            ("/?path=/logout", False),
            ("/", False),
        ],
    )
    def test_path_is_compared_whole(self, world: World, target: str, counts: bool) -> None:
        site = serve(world)
        assert ended(site.get(target, {**NAVIGATION, **alice(site)})) is counts

    @pytest.mark.parametrize("path", ["/logout", "/logout/"])
    def test_slash_at_the_end_of_the_option(self, world: World, path: str) -> None:
        adapter = SealedSession(SECRET, clock=world.clock, sign_out_path=path)
        site = world.serve(app, session=adapter)
        assert ended(site.get("/logout", {**NAVIGATION, **alice(site)}))

    def test_path_is_below_the_mount_point(self, world: World) -> None:
        site = serve(world)
        assert ended(site.get("/logout", {**NAVIGATION, **alice(site)}, mount="/wiki"))
        assert not ended(site.get("/wiki/logout", {**NAVIGATION, **alice(site)}))

    @pytest.mark.parametrize("status", [200, 401, 404, 405, 500])
    def test_status_of_the_app_makes_no_difference(self, world: World, status: int) -> None:
        site = serve(world, lambda seen: Reply(status))
        assert ended(site.get("/logout", {**NAVIGATION, **alice(site)}))

    def test_visitor_without_a_session_gets_no_cookie(self, world: World) -> None:
        site = serve(world)
        assert site.get("/logout", NAVIGATION).all("set-cookie") == []
        assert site.get("/logout", {"cookie": "ott_session=forged"}).all("set-cookie") == []

    def test_live_tokens_are_revoked(self, world: World) -> None:
        site = serve(world)
        visitor = alice(site)
        token = site.generate(visitor).json()["token"]
        assert ended(site.get("/logout", {**NAVIGATION, **visitor}))
        assert site.verify(token).code == "INVALID_TOKEN"

    def test_sign_in_of_the_app_stands(self, world: World) -> None:
        def switch(seen: Seen) -> Reply:
            seen.ott.sign_in("bob")
            return Reply()

        site = serve(world, switch)
        answer = site.get("/logout", {**NAVIGATION, **alice(site)})
        assert answer.cookies["ott_session"]

    def test_probe_of_another_layer_ends_nothing(self, world: World) -> None:
        site = serve(world)
        answer = site.get("/logout", {**NAVIGATION, **alice(site)}, carrier={PROBE: True})
        assert not ended(answer)

    def test_link_that_leads_there_signs_out(self, world: World) -> None:
        site = serve(world)
        token = site.generate(alice(site)).json()["token"]
        assert ended(site.fetch(f"/logout?ott={token}"))

    def test_reason_is_logged(self, world: World, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level("DEBUG", "ott_middleware")
        site = serve(world)
        site.get("/logout", {"referer": "https://evil.example/", **alice(site)})
        assert "sign_out_path: not asked for by a visitor of this site" in caplog.text

    def test_remote_user_is_gone_with_the_next_request(self) -> None:
        seen: list[Any] = []

        def legacy(environ: Any, start_response: Any) -> list[bytes]:
            seen.append(environ.get("REMOTE_USER"))
            start_response("401 Unauthorized", [("WWW-Authenticate", 'Basic realm="x"')])
            return [b""]

        adapter = SealedSession(SECRET, remote_user=lambda s: s.user_id, sign_out_path="/logout")
        middleware = OTTMiddleware(legacy, session=adapter)
        assert isinstance(middleware, WSGIMiddleware)
        headers: list[Any] = []
        environ: dict[str, Any] = {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": "/logout",
            "QUERY_STRING": "",
            "wsgi.url_scheme": "http",
            "HTTP_HOST": "app.example",
            "HTTP_COOKIE": f"ott_session={adapter.start('ada', remember=True).token}",
        }
        middleware(environ, lambda status, pairs, exc=None: headers.extend(pairs))
        assert seen == ["ada"]
        assert any("Max-Age=0" in value for name, value in headers if name == "Set-Cookie")


class TestMatchByName:
    @pytest.mark.parametrize(
        ("match", "user_id"),
        [("id", "17"), ("email", "ada@example.com"), ("number", "5"), ("name", None)],
    )
    def test_value_becomes_the_user(self, world: World, match: str, user_id: str | None) -> None:
        user = {"id": "17", "email": "ada@example.com", "number": 5, "name": ""}
        source = SealedSession(SECRET, clock=world.clock)
        target = SealedSession("another secret of the target", match=match, clock=world.clock)
        token_service = world.serve(session=source)
        arrived = token_service.members.start(user, remember=True)
        site = world.serve(session=target)
        answer = site.verify(site.token(source.expose(arrived)))
        if user_id is None:
            assert answer.code == "NO_ACCOUNT"
            return
        assert answer.json()["session"]["userId"] == user_id
        assert answer.json()["user"] == {**user, "id": user_id}
        assert answer.json()["session"]["id"] != arrived.id

    @pytest.mark.parametrize("value", [True, False, None, ["x"], {"id": "x"}, 1.5, ""])
    def test_other_shapes_name_no_user(self, world: World, value: Any) -> None:
        source = SealedSession(SECRET, clock=world.clock)
        target = SealedSession(SECRET, match="field", clock=world.clock)
        site = world.serve(session=target)
        arrived = source.start({"id": "x", "field": value}, remember=True)
        assert site.verify(site.token(source.expose(arrived))).code == "NO_ACCOUNT"

    def test_match_by_id_needs_one(self, world: World) -> None:
        site = world.serve(session=SealedSession(SECRET, match="id", clock=world.clock))
        assert site.verify(site.token(Session(id="s", token="t"))).code == "NO_ACCOUNT"
