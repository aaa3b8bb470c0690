"""Tokens in the handshakes of WebSockets."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from datetime import timedelta
from typing import Any

import pytest
from harness import FETCH, HOST, NOW, SECRET, Members, Site, World, make_scope, person, run
from sockets import (
    DENIAL_RESPONSE,
    ORIGIN,
    Outcome,
    SocketSite,
    headers_of,
    socket_scope,
)

from ott_middleware import (
    ASGIMiddleware,
    MemoryBackend,
    SealedSession,
    Session,
    SessionAdapter,
    get_handle,
)
from ott_middleware.errors import BackendUnavailable, InvalidTarget, SessionSwitch
from ott_middleware.flow import Handle
from ott_middleware.testing import Clock
from ott_middleware.tokens.names import CHANNELS

ALICE = {"origin": ORIGIN, "cookie": "sid=alice-cookie"}
WAYS = ["url", "protocol"]


def offer(site: SocketSite, token: str, way: str, target: str = "/socket", **how: Any) -> Outcome:
    """A handshake with a token in the URL, or in the sub-protocols."""
    if way == "url":
        return site.connect(f"{target}?ott={token}", **how)
    return site.connect(target, protocols=["ott", f"ott.{token}", *how.pop("more", ())], **how)


@pytest.mark.parametrize("way", WAYS)
class TestSignedInSocket:
    def test_opens_once(self, way: str) -> None:
        site = SocketSite()
        token = site.ticket()
        assert offer(site, token, way).opened
        assert site.handle.redeemed == "websocket"
        assert site.handle.session == person("alice")
        again = offer(site, token, way)
        assert (again.status, again.code) == (403, "INVALID_TOKEN")
        assert len(site.scopes) == 1

    def test_app_finds_the_session_cookie(self, way: str) -> None:
        site = SocketSite()
        headers = {"origin": ORIGIN, "cookie": "a=1; sid=dead; b=2"}
        offer(site, site.ticket(), way, headers=headers)
        pairs = headers_of(site.scope)["cookie"].split("; ")
        assert sorted(pairs) == ["a=1", "b=2", "sid=alice-cookie"]

    def test_response_sets_no_cookie(self, way: str) -> None:
        given = [(b"set-cookie", b"app=1"), (b"x", b"y")]
        site = SocketSite(accept={"headers": given})
        accept = offer(site, site.ticket(), way).first
        assert accept["headers"] == given

    def test_nothing_outlives_the_socket(self, way: str) -> None:
        site = SocketSite()
        offer(site, site.ticket(), way)
        site.connect("/socket")
        assert site.handle.redeemed is None
        assert site.handle.session is None
        assert "cookie" not in headers_of(site.scope)

    def test_app_sees_no_token(self, way: str) -> None:
        site = SocketSite()
        token = site.ticket()
        more = ["chat"] if way == "protocol" else []
        offer(site, token, way, "/socket", more=more) if more else offer(site, token, way)
        assert token not in repr({**site.scope, "ott": None})
        assert site.scope["query_string"] == b""
        assert site.scope["subprotocols"] == more
        assert headers_of(site.scope).get("sec-websocket-protocol") == (more[0] if more else None)

    def test_session_is_read_by_awaiting(self, way: str) -> None:
        found: list[Any] = []

        async def look(scope: Any) -> None:
            found.append(await get_handle(scope).asession())

        site = SocketSite(look=look)
        offer(site, site.ticket(), way)
        assert found == [person("alice")]

    def test_one_of_twenty_at_once_opens(self, way: str) -> None:
        site = SocketSite()
        token = site.ticket()
        if way == "url":
            scopes = [socket_scope(f"/?ott={token}") for _ in range(20)]
        else:
            scopes = [socket_scope("/", protocols=["ott", f"ott.{token}"]) for _ in range(20)]

        async def all_at_once() -> list[Outcome]:
            return list(await asyncio.gather(*map(site.connect_scope, scopes)))

        outcomes = run(all_at_once())
        assert sorted(outcome.status for outcome in outcomes) == [101] + [403] * 19

    @pytest.mark.parametrize("channel", ["handoff", "confirm"])
    def test_token_of_another_channel_stays(self, way: str, channel: str) -> None:
        site = SocketSite()
        token = site.ticket(channel=channel)
        assert offer(site, token, way).status == 403
        assert site.is_alive(token, channel)

    def test_confirm_value_is_no_token(self, way: str) -> None:
        site = SocketSite()
        token = site.ticket(channel="confirm")
        assert offer(site, f"confirm.{token}", way).status == 403
        assert site.is_alive(token, "confirm")

    def test_dead_token_is_denied_beside_a_live_session(self, way: str) -> None:
        site = SocketSite(on_invalid="continue")
        denied = offer(site, "used-or-expired", way, headers=ALICE)
        assert (denied.status, denied.code) == (403, "INVALID_TOKEN")
        assert site.scopes == []

    def test_name_of_the_parameter(self, way: str) -> None:
        site = SocketSite(query_param="t.k")
        token = site.ticket()
        ignored = offer(site, token, way)
        assert ignored.opened
        assert site.handle.redeemed is None
        if way == "url":
            assert site.connect(f"/?t.k={token}").opened
        else:
            opened = site.connect(protocols=["t.k", f"t.k.{token}"])
            assert opened.first["subprotocol"] == "t.k"
        assert site.handle.redeemed == "websocket"

    def test_links_turned_off(self, way: str) -> None:
        site = SocketSite(query_param=None)
        token = site.ticket()
        assert offer(site, token, way).opened
        assert token in repr(site.scope)
        assert isinstance(site.handle, Handle)
        assert site.is_alive(token)

    def test_adapter_that_forks(self, way: str) -> None:
        """`handle.session` is the one that the app reads from its cookie."""

        site = SocketSite(session=Forking(person("alice")), look=lambda s: get_handle(s).session)
        offer(site, site.ticket(), way)
        assert headers_of(site.scope)["cookie"] == "sid=forked-cookie"
        assert site.handle.session.token == "forked-cookie"

    def test_adapter_without_cookies(self, way: str) -> None:
        class Headers(Members):
            cookie_names = ()

            def resolve(self, session: Session) -> Any:
                return person("alice", token="")

            def establish(self, session: Session, request: Any) -> Any:
                return []

        site = SocketSite(session=Headers())
        assert offer(site, site.ticket(), way).opened
        assert "cookie" not in headers_of(site.scope)
        assert site.handle.session.user_id == "alice"

    def test_sealed_session(self, way: str) -> None:
        adapter = SealedSession(SECRET)
        site = SocketSite(session=adapter, backend=MemoryBackend())
        session = adapter.start("alice", remember=True)
        token = site.middleware.flow.tokens.generate(session, channel="websocket")
        assert offer(site, token, way).opened
        assert site.handle.session.user_id == "alice"
        assert headers_of(site.scope)["cookie"].startswith("ott_session=")


class TestOriginRule:
    @pytest.mark.parametrize(
        ("headers", "scheme", "code"),
        [
            ({"origin": f"http://{HOST}"}, "ws", None),
            ({"origin": f"ws://{HOST}"}, "ws", None),
            ({"origin": f"wss://{HOST}"}, "wss", None),
            ({"origin": f"https://{HOST}"}, "wss", None),
            # A proxy ends TLS, or says `https` of a socket.
            ({"origin": f"https://{HOST}"}, "ws", None),
            ({"origin": f"https://{HOST}"}, "https", None),
            ({"origin": "https://front.example"}, "wss", None),
            ({}, "ws", None),  # no browser
            ({"origin": "null", "sec-fetch-site": "same-origin"}, "ws", None),
            ({"origin": f"http://{HOST}"}, "wss", "INVALID_ORIGIN"),
            ({"origin": f"ws://{HOST}"}, "wss", "INVALID_ORIGIN"),
            ({"origin": "https://evil.example"}, "wss", "INVALID_ORIGIN"),
            ({"origin": "wss://evil.example"}, "wss", "INVALID_ORIGIN"),
            ({"origin": "null"}, "ws", "MISSING_OR_NULL_ORIGIN"),
            ({"sec-fetch-site": "cross-site"}, "ws", "MISSING_OR_NULL_ORIGIN"),
        ],
    )
    @pytest.mark.parametrize("way", WAYS)
    def test_origin(self, headers: dict[str, str], scheme: str, code: str | None, way: str) -> None:
        site = SocketSite(trusted_origins=["https://front.example"])
        token = site.ticket()
        outcome = offer(site, token, way, headers=headers, scheme=scheme)
        if code is None:
            assert outcome.opened
        else:
            assert (outcome.status, outcome.code) == (403, code)
            assert site.is_alive(token)

    def test_trusted_origin_of_a_socket(self) -> None:
        site = SocketSite(trusted_origins=["wss://front.example"])
        outcome = offer(site, site.ticket(), "url", headers={"origin": "https://front.example"})
        assert outcome.opened

    @pytest.mark.parametrize("public", ["https://pub.example", "wss://pub.example"])
    def test_public_origin(self, public: str) -> None:
        site = SocketSite(public_origin=public)
        token = site.ticket(audience="wss://pub.example")
        headers = {"origin": "https://pub.example", "host": "inner"}
        assert offer(site, token, "url", headers=headers).opened

    def test_token_of_another_site_is_used_up(self) -> None:
        site = SocketSite()
        token = site.ticket(audience="https://b.example")
        assert offer(site, token, "url").code == "INVALID_TOKEN"
        assert not site.is_alive(token)

    def test_app_decides_about_sockets_without_a_token(self) -> None:
        site = SocketSite()
        assert site.connect(headers={"origin": "https://evil.example"}).opened


class TestSubProtocols:
    @pytest.mark.parametrize(
        ("target", "protocols"),
        [
            ("/", ["ott.TOKEN"]),
            ("/", ["chat", "ott.TOKEN"]),
            ("/", ["OTT", "ott.TOKEN"]),
            ("/", ["ott", "ott.TOKEN", "ott.TOKEN"]),
            ("/", ["ott", "ott.TOKEN", "ott.other"]),
            ("/", ["ott", "ott.other", "ott.TOKEN"]),
            ("/", ["ott", "ott.TOKEN", "ott."]),
            ("/", ["ott", "ott."]),
            ("/", ["ott", "ott.TOKEN.x"]),
            ("/", ["ott", "ott.TOKEN=x"]),
            ("/", ["ott", f"ott.{'x' * 513}"]),
            ("/?ott=TOKEN", ["ott", "ott.TOKEN"]),
            ("/?ott=TOKEN", ["ott", "ott.other"]),
            ("/?ott=other", ["ott", "ott.TOKEN"]),
            ("/?ott=", ["ott", "ott.TOKEN"]),
            ("/?ott=TOKEN&ott=other", []),
            ("/?ott=", []),
            ("/?ott", []),
            (f"/?ott={'x' * 513}", []),
        ],
    )
    @pytest.mark.parametrize("extension", [False, True])
    def test_ambiguous_handshake_takes_nothing(
        self, target: str, protocols: list[str], extension: bool
    ) -> None:
        site = SocketSite()
        token = site.ticket()
        protocols = [each.replace("TOKEN", token) for each in protocols]
        how = {"carrier": DENIAL_RESPONSE} if extension else {}
        outcome = site.connect(target.replace("TOKEN", token), protocols=protocols, **how)
        assert (outcome.status, outcome.code) == (403, "INVALID_TOKEN")
        assert site.is_alive(token)
        assert site.scopes == []

    @pytest.mark.parametrize(
        ("target", "protocols"),
        [
            ("/?ott=TOKEN", ["chat"]),
            ("/?ott=TOKEN&ott=TOKEN", []),
            ("/?%6ftt=TOKEN", []),
            ("/?ott=TOKEN", ["ott"]),
            ("/", ["ott.TOKEN", "ott"]),
            ("/", ["chat", "ott", "v2", "ott.TOKEN"]),
            ("/", [" ott", " ott.TOKEN "]),
            ("/", ["\tott", "a", "\tott.TOKEN\t"]),
            ("/?ott_seen=x", ["ott", "ott.TOKEN"]),
        ],
    )
    def test_clear_handshake_signs_in(self, target: str, protocols: list[str]) -> None:
        site = SocketSite()
        token = site.ticket()
        protocols = [each.replace("TOKEN", token) for each in protocols]
        assert site.connect(target.replace("TOKEN", token), protocols=protocols).opened
        assert site.handle.redeemed == "websocket"
        assert token not in repr({**site.scope, "ott": None})
        assert b"ott" not in site.scope["query_string"]

    @pytest.mark.parametrize(
        ("protocols", "accept", "chosen"),
        [
            (["ott", "ott.TOKEN"], {}, "ott"),
            (["ott", "ott.TOKEN", "chat"], {"subprotocol": None}, "ott"),
            (["ott", "ott.TOKEN", "chat"], {"subprotocol": "chat"}, "chat"),
            (["ott"], {}, "ott"),
            (["chat"], {}, None),
            ([], {}, None),
        ],
    )
    def test_acceptance_names_one(self, protocols: list[str], accept: Any, chosen: Any) -> None:
        site = SocketSite(accept=accept)
        token = site.ticket()
        given = [each.replace("TOKEN", token) for each in protocols]
        outcome = site.connect(
            "/" if "ott.TOKEN" in protocols else f"/?ott={token}", protocols=given
        )
        assert outcome.first.get("subprotocol") == chosen
        assert outcome.sent[1] == {"type": "websocket.send", "text": "hello"}

    def test_header_of_the_apps_own_stands(self) -> None:
        accept = {"headers": [(b"Sec-WebSocket-Protocol", b"chat")]}
        site = SocketSite(accept=accept)
        first = offer(site, site.ticket(), "protocol", more=["chat"]).first
        assert "subprotocol" not in first

    def test_message_of_the_app_is_not_changed_in_place(self) -> None:
        accept: dict[str, Any] = {"type": "websocket.accept"}
        site = SocketSite()
        site._accept = accept
        offer(site, site.ticket(), "protocol")
        assert accept == {"type": "websocket.accept"}

    def test_name_alone_is_no_token(self) -> None:
        site = SocketSite()
        outcome = site.connect(protocols=["chat", "ott"])
        assert outcome.first["subprotocol"] == "ott"
        assert site.scope["subprotocols"] == ["chat"]
        assert site.handle.redeemed is None

    @pytest.mark.parametrize("protocols", [["otter", "ottx.1"], ["Ott"], ["chat.ott", "x-ott."]])
    def test_others_are_the_apps(self, protocols: list[str]) -> None:
        site = SocketSite()
        outcome = site.connect(protocols=protocols)
        assert "subprotocol" not in outcome.first
        assert site.scope["subprotocols"] == protocols
        assert headers_of(site.scope)["sec-websocket-protocol"] == ", ".join(protocols)

    def test_servers_list_is_left_alone(self) -> None:
        """The server compares the app's choice with what the client offers."""
        site = SocketSite()
        scope = socket_scope(protocols=["ott", f"ott.{site.ticket()}", "chat"])
        listed, headers = scope["subprotocols"], scope["headers"]
        before = list(listed), list(headers)
        assert run(site.connect_scope(scope)).opened
        assert (listed, headers) == before

    def test_server_that_leaves_the_list_out(self) -> None:
        site = SocketSite()
        token = site.ticket()
        scope = socket_scope(protocols=["ott", f"ott.{token}", "chat"])
        del scope["subprotocols"]
        assert run(site.connect_scope(scope)).first["subprotocol"] == "ott"
        assert site.handle.redeemed == "websocket"
        assert headers_of(site.scope)["sec-websocket-protocol"] == "chat"

    def test_several_headers(self) -> None:
        site = SocketSite()
        token = site.ticket()
        scope = socket_scope(protocols=["ott", "chat", f"ott.{token}"])
        scope["headers"] = [
            *(pair for pair in scope["headers"] if pair[0] != b"sec-websocket-protocol"),
            *((b"Sec-WebSocket-Protocol", each) for each in (b"ott", b"chat,ott", b"v2")),
            (b"sec-websocket-protocol", f"ott.{token}".encode()),
        ]
        assert run(site.connect_scope(scope)).opened
        left = [value for name, value in site.scope["headers"] if b"rotocol" in name]
        assert left == [b"chat", b"v2"]

    def test_copies_are_cut(self) -> None:
        site = SocketSite()
        token = site.ticket()
        protocols = ["ott", f"ott.{token}", "chat"]
        header = ", ".join(protocols)
        copies = {
            "asgi.scope": {
                "subprotocols": tuple(protocols),
                "headers": [(b"sec-websocket-protocol", header.encode())],
                "raw": {
                    "Sec-WebSocket-Protocol": [header],
                    "X-Forwarded-Sec-WebSocket-Protocol": 7,
                },
            },
            "wsgi_environ": {"HTTP_SEC_WEBSOCKET_PROTOCOL": header},
            "list": [["Sec-WebSocket-Protocol", header]],
            "subprotocols": protocols,
            "nested": {"subprotocols": [b"ott", 7]},
        }
        headers = {
            "origin": ORIGIN,
            "x-forwarded-sec-websocket-protocol": header,
            "x-note": "ott",
        }
        assert site.connect(protocols=protocols, headers=headers, carrier=copies).opened
        scope = {**site.scope, "ott": None}
        assert token not in repr(scope)
        assert scope["asgi.scope"]["subprotocols"] == ("chat",)
        assert scope["asgi.scope"]["headers"] == [(b"sec-websocket-protocol", b"chat")]
        assert scope["wsgi_environ"] == {"HTTP_SEC_WEBSOCKET_PROTOCOL": "chat"}
        assert scope["list"] == [["Sec-WebSocket-Protocol", "chat"]]
        assert scope["nested"] == {"subprotocols": [7]}
        assert scope["asgi.scope"]["raw"]["Sec-WebSocket-Protocol"] == ["chat"]
        assert headers_of(scope)["x-forwarded-sec-websocket-protocol"] == "chat"
        assert headers_of(scope)["x-note"] == "ott"

    def test_copies_of_the_target_are_cut(self) -> None:
        site = SocketSite()
        token = site.ticket()
        headers = {
            "origin": ORIGIN,
            "referer": f"{ORIGIN}/?ott={token}&a=1",
            "x-original-url": f"/socket?ott={token}&a=1",
        }
        assert site.connect(f"/socket?ott={token}&a=1", headers=headers).opened
        assert token not in repr({**site.scope, "ott": None})
        assert headers_of(site.scope)["referer"] == f"{ORIGIN}/?a=1"

    def test_identities_are_kept(self) -> None:
        site = SocketSite()
        token = site.ticket()
        headers = {"origin": ORIGIN, "x-forwarded-user": f"ott, ott.{token}"}
        assert offer(site, token, "protocol", headers=headers).opened
        assert headers_of(site.scope)["x-forwarded-user"] == f"ott, ott.{token}"

    @pytest.mark.parametrize(
        "protocols",
        [
            ["ott", *["ott.x"] * 10_000],
            ["ott"] * 16_000,
            ["a"] * 32_000,
            [*["a"] * 30_000, "ott", "ott.x"],
            ["ott", "ott." + "x" * 65_000],
            [" " * 65_000, "ott", "ott.x"],
            [" " * 32_000 + "o", "ott" + " " * 32_000 + "x"],
            ["ott" + " " * 20] * 2_800,
            [","] * 16_000,
            ["ott", *["%"] * 32_000],
            ["ott", *(f"%{number}" for number in range(11_000))],
            ["ott", *["%6ftt"] * 10_000],
            ["ott", "%20" * 21_000],
        ],
        ids=range(13),
    )
    def test_64_kb_are_quick(self, protocols: list[str], untraced: None) -> None:
        site = SocketSite()
        scope = socket_scope(protocols=protocols)
        began = time.process_time()
        run(site.connect_scope(scope))
        assert time.process_time() - began < 0.1


class TestDenial:
    @pytest.mark.parametrize("extension", [False, True])
    def test_dead_token(self, extension: bool) -> None:
        how = {"carrier": DENIAL_RESPONSE} if extension else {}
        outcome = SocketSite().connect("/?ott=unknown", **how)
        assert (outcome.status, outcome.code) == (403, "INVALID_TOKEN")
        if extension:
            assert outcome.headers["content-type"] == "application/json"
            assert outcome.headers["cache-control"] == "no-store"
            assert json.loads(outcome.sent[1]["body"])["message"] == "Invalid token"
        else:
            assert outcome.first["code"] == 4401

    @pytest.mark.parametrize("extension", [False, True])
    def test_backend_that_fails(self, extension: bool) -> None:
        class Down(MemoryBackend):
            def take(self, key: str) -> bytes | None:
                raise BackendUnavailable

        how = {"carrier": DENIAL_RESPONSE} if extension else {}
        outcome = SocketSite(backend=Down()).connect("/?ott=T", **how)
        assert outcome.code == "BACKEND_UNAVAILABLE"
        if extension:
            assert outcome.status == 503
            assert outcome.headers["retry-after"] == "5"
        else:
            assert outcome.first["code"] == 1013

    def test_adapter_that_fails_takes_nothing(self) -> None:
        class Down(Members):
            down = True

            def current(self, request: Any) -> Any:
                if self.down:
                    raise OSError
                return super().current(request)

        site = SocketSite(session=Down(person("alice")))
        token = site.ticket()
        denied = offer(site, token, "url", carrier=DENIAL_RESPONSE)
        assert (denied.status, denied.code) == (503, "SESSION_UNAVAILABLE")
        site.middleware.flow.options.adapter.down = False
        assert offer(site, token, "url").opened

    @pytest.mark.parametrize("extension", [False, True])
    def test_rate_limit(self, extension: bool) -> None:
        site = SocketSite(rate_limit="2/minute")
        how = {"carrier": DENIAL_RESPONSE} if extension else {}
        token = site.ticket()
        for _ in range(2):
            assert site.connect("/?ott=unknown").status == 403
        denied = offer(site, token, "url", **how)
        assert denied.code == "TOO_MANY_REQUESTS"
        if extension:
            assert denied.status == 429
            assert 0 < int(denied.headers["retry-after"]) <= 60
        else:
            assert denied.first["code"] == 1013
        assert site.is_alive(token)

    def test_ended_session(self) -> None:
        site = SocketSite()
        token = site.ticket()
        site.middleware.flow.options.adapter.live.clear()
        denied = offer(site, token, "url", carrier=DENIAL_RESPONSE)
        assert (denied.status, denied.code) == (403, "SESSION_NOT_FOUND")

    def test_client_that_is_gone(self) -> None:
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "websocket.disconnect", "code": 1006}

        async def send(message: Any) -> None:
            sent.append(message)

        run(SocketSite().middleware(socket_scope("/?ott=T"), receive, send))
        assert sent == []

    def test_reason_is_in_the_log(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG, "ott_middleware")
        site = SocketSite()
        offer(site, site.ticket(channel="handoff"), "url")
        assert "websocket refused: " in caplog.text
        assert "made for the channel handoff, presented as websocket" in caplog.text
        assert caplog.records[-1].ott_reason == "other_channel"


class TestAnotherUser:
    @pytest.mark.parametrize("way", WAYS)
    def test_signed_in_user_is_not_replaced(self, way: str) -> None:
        site = SocketSite()
        token = site.ticket("bob")
        denied = offer(site, token, way, headers=ALICE, carrier=DENIAL_RESPONSE)
        assert (denied.status, denied.code) == (SessionSwitch.status, "SESSION_SWITCH")
        assert site.scopes == []
        assert not site.is_alive(token)
        assert "establish" not in site.middleware.flow.options.adapter.asked

    def test_keep(self) -> None:
        site = SocketSite(on_switch="keep")
        denied = offer(site, site.ticket("bob"), "url", headers=ALICE, carrier=DENIAL_RESPONSE)
        assert denied.status == 409

    def test_replace(self) -> None:
        site = SocketSite(on_switch="replace")
        assert offer(site, site.ticket("bob"), "url", headers=ALICE).opened
        assert site.handle.session.user_id == "bob"
        assert headers_of(site.scope)["cookie"] == "sid=bob-cookie"

    def test_same_user(self) -> None:
        site = SocketSite()
        assert offer(site, site.ticket(), "url", headers=ALICE).opened


class Forking(Members):
    """Begins sessions of its own, and deletes those that no browser has."""

    def resolve(self, session: Session) -> Any:
        return person("alice", token="")

    def establish(self, session: Session, request: Any) -> Any:
        forked = person("alice", token="forked-cookie")
        self.live[forked.token] = forked
        return [self.attributes.cookie("sid", forked.token)]

    def discard(self, cookies: Any, request: Any) -> None:
        assert request.cookies("sid") == ["forked-cookie"]
        for cookie in cookies:
            del self.live[cookie.value]


class TestEnd:
    def test_session_of_the_socket_is_deleted(self) -> None:
        site = SocketSite(session=Forking(), look=lambda scope: get_handle(scope).session)
        assert offer(site, site.ticket(), "url").opened
        assert site.handle.session.token == "forked-cookie"
        assert site.middleware.flow.options.adapter.live == {}

    def test_after_an_app_that_fails(self) -> None:
        def look(scope: Any) -> None:
            raise LookupError

        site = SocketSite(session=Forking(), look=look)
        with pytest.raises(LookupError):
            offer(site, site.ticket(), "url")
        assert site.middleware.flow.options.adapter.live == {}

    def test_shared_session_lives_on(self) -> None:
        class Sharing(Forking):
            def resolve(self, session: Session) -> Any:
                return person("alice")

        site = SocketSite(session=Sharing())
        assert offer(site, site.ticket(), "url").opened
        assert "forked-cookie" in site.middleware.flow.options.adapter.live

    def test_failure_is_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        class Failing(Forking):
            def discard(self, cookies: Any, request: Any) -> None:
                raise OSError

        site = SocketSite(session=Failing())
        assert offer(site, site.ticket(), "url").opened
        assert "a session was not deleted: SessionUnavailable" in caplog.text


class TestHandle:
    def test_every_socket_has_one(self) -> None:
        site = SocketSite()
        assert site.connect(headers=ALICE).opened
        assert site.handle is site.scope["ott"]
        assert site.handle.redeemed is None
        assert site.handle.session == person("alice")
        assert site.handle.request.method == "GET"
        assert site.handle.request.scheme == "http"

    @pytest.mark.parametrize(
        ("scheme", "seen"), [("ws", "http"), ("wss", "https"), ("https", "https")]
    )
    def test_scheme(self, scheme: str, seen: str) -> None:
        site = SocketSite()
        site.connect(scheme=scheme)
        assert site.handle.request.scheme == seen

    @pytest.mark.parametrize("adapter", [SealedSession(SECRET), Members(person("alice"))])
    @pytest.mark.parametrize("token", [False, True])
    def test_signs_no_user_in_or_out(self, adapter: SessionAdapter, token: bool) -> None:
        site = SocketSite(session=adapter, backend=MemoryBackend())
        if token and isinstance(adapter, SealedSession):
            session = adapter.start("alice", remember=True)
            ticket = site.middleware.flow.tokens.generate(session, channel="websocket")
            assert site.connect(f"/?ott={ticket}").opened
        else:
            site.connect()
        for call in (lambda: site.handle.sign_in("bob"), site.handle.sign_out):
            with pytest.raises(RuntimeError, match="a WebSocket sets no cookie"):
                call()

    def test_starts_no_handoff(self) -> None:
        """The cookie that the way back needs could not be set."""
        site = SocketSite(issuer="https://a.example", secret=SECRET, public_origin=ORIGIN)
        site.connect()
        with pytest.raises(RuntimeError, match="a WebSocket sets no cookie"):
            site.handle.handoff()

    def test_makes_links(self) -> None:
        made: list[str] = []

        async def look(scope: Any) -> None:
            made.append(await get_handle(scope).alink(f"{ORIGIN}/next"))
            made.append(await get_handle(scope).agenerate(channel="websocket"))

        site = SocketSite(look=look)
        site.connect(headers=ALICE)
        token = made[0].partition("?ott=")[2]
        assert site.is_alive(token, "handoff", audience=ORIGIN)
        assert site.is_alive(made[1], "websocket")

    def test_same_objects_pass(self) -> None:
        calls: list[Any] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            calls.append((scope, receive, send))

        async def receive() -> Any: ...

        async def send(message: Any) -> None: ...

        middleware: Any = ASGIMiddleware(app, session=Members(), set_ott_header_on_new_session=True)
        scope = socket_scope("/?a=%6f", protocols=["chat"])
        before = dict(scope)
        run(middleware(scope, receive, send))
        assert [tuple(map(id, call)) for call in calls] == [(id(scope), id(receive), id(send))]
        assert isinstance(scope.pop("ott"), Handle)
        assert scope == before

    def test_server_may_leave_out_what_it_may(self) -> None:
        site = SocketSite()
        scope = {"type": "websocket", "path": "/", "headers": []}
        assert run(site.connect_scope(dict(scope))).opened
        assert site.handle.session is None
        scope["query_string"] = f"ott={site.ticket()}".encode()
        assert run(site.connect_scope({**scope, "extensions": None})).opened
        assert site.handle.redeemed == "websocket"

    def test_prefetch_headers_do_not_apply(self) -> None:
        site = SocketSite()
        headers = {"origin": ORIGIN, "sec-purpose": "prefetch", "purpose": "prefetch"}
        assert offer(site, site.ticket(), "url", headers=headers).opened

    def test_events(self) -> None:
        seen: list[Any] = []
        site = SocketSite(on_event=seen.append)
        token = site.ticket()
        offer(site, token, "url")
        offer(site, token, "url")
        deadline = time.monotonic() + 5
        while len(seen) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert [(event.kind, event.channel) for event in seen] == [
            ("redeemed", "websocket"),
            ("refused", "websocket"),
        ]


def ask_for(site: Site, query: str, cookie: str = "sid=alice-cookie") -> Any:
    headers = {**FETCH, "cookie": cookie, "origin": ORIGIN}
    return site.get(f"/one-time-token/generate?{query}", headers)


class TestGeneratePath:
    def test_websocket_token(self, world: World) -> None:
        """A WSGI app's token opens a socket of the ASGI server on the same store."""
        backend = MemoryBackend(clock=world.clock)
        token = ask_for(world.serve(backend=backend), "channel=websocket").json()["token"]
        sockets = SocketSite(backend=backend)
        assert offer(sockets, token, "url").opened

    @pytest.mark.parametrize(
        ("query", "channel"),
        [
            ("", "handoff"),
            ("channel=handoff", "handoff"),
            ("channel=websocket", "websocket"),
            ("channel=websocket&channel=websocket", "websocket"),
            ("%63hannel=web%73ocket", "websocket"),
            ("channels=1", "handoff"),
        ],
    )
    def test_channel(self, world: World, query: str, channel: str) -> None:
        site = world.serve()
        token = ask_for(site, query).json()["token"]
        for other in set(CHANNELS) - {channel}:
            with pytest.raises(Exception, match="Invalid token"):
                site.flow.tokens.verify(token, channel=other)
        assert site.flow.tokens.verify(token, channel=channel).user_id == "alice"

    @pytest.mark.parametrize(
        "query",
        [
            "channel=",
            "channel",
            "channel=confirm",
            "channel=Websocket",
            "channel=ws",
            "channel=websocket&channel=handoff",
            "channel=websocket&channel=",
            "a;channel=websocket",
            "channel=websocket;a",
            f"channel=websocket&a={'x' * 5000}",
        ],
    )
    def test_other_values_are_refused(self, world: World, query: str) -> None:
        answer = ask_for(world.serve(), query)
        assert (answer.status, answer.code) == (400, "VALIDATION_ERROR")
        assert (
            '[query.channel] Invalid input: expected "handoff" or "websocket"'
            in (answer.json()["message"])
        )

    def test_no_session_comes_first(self, world: World) -> None:
        assert ask_for(world.serve(), "channel=ws", cookie="a=b").status == 401

    def test_audience(self, world: World) -> None:
        site = world.serve(handoff_targets=["wss://b.example"])
        for audience in ("https://b.example", "wss://b.example"):
            token = ask_for(site, f"channel=websocket&audience={audience}").json()["token"]
            with pytest.raises(Exception, match="Invalid token"):
                site.flow.tokens.verify(token, channel="websocket")
            token = ask_for(site, f"audience={audience}&channel=websocket").json()["token"]
            found = site.flow.tokens.verify(
                token, channel="websocket", audience="https://b.example"
            )
            assert found.user_id == "alice"


class TestLifetime:
    @pytest.mark.parametrize(
        ("expires_in", "seconds"), [(3, 30), (0.25, 15), (timedelta(seconds=31), 30)]
    )
    def test_generate_path(self, world: World, expires_in: Any, seconds: int) -> None:
        site = world.serve(expires_in=expires_in)
        for late in (False, True):
            token = ask_for(site, "channel=websocket").json()["token"]
            world.clock.forward(seconds - 1)
            world.clock.forward(2 if late else 0)
            if late:
                with pytest.raises(Exception, match="Invalid token"):
                    site.flow.tokens.verify(token, channel="websocket")
            else:
                site.flow.tokens.verify(token, channel="websocket")

    def test_handle(self) -> None:
        made: list[str] = []

        async def look(scope: Any) -> None:
            handle = get_handle(scope)
            made.append(await handle.agenerate(channel="websocket"))
            made.append(await handle.agenerate(channel="websocket", expires_in=1))
            made.append(await handle.agenerate())

        site = SocketSite(look=look)
        site.connect(headers=ALICE)
        site.clock.forward(31)
        channels = ("websocket", "websocket", "handoff")
        assert list(map(site.is_alive, made, channels)) == [False, True, True]


class TestLink:
    def link(self, url: str, channel: str, **options: Any) -> str:
        made: list[str] = []

        async def look(scope: Any) -> None:
            made.append(await get_handle(scope).alink(url, channel=channel))

        site = SocketSite(look=look, **options)
        site.connect(headers=ALICE)
        return made[0]

    def test_of_a_socket(self) -> None:
        targets = ["https://b.example/app/"]
        made = self.link("wss://b.example/app/s?a=1", "websocket", handoff_targets=targets)
        assert made.startswith("wss://b.example/app/s?a=1&ott=")
        made = self.link(f"ws://{HOST}/s", "websocket")
        assert made.startswith(f"ws://{HOST}/s?ott=")
        # Browsers take the URL of a page's scheme for a socket too.
        assert self.link(f"http://{HOST}/s", "websocket").startswith(f"http://{HOST}/s?ott=")

    def test_opens_the_socket_of_the_other_site(self) -> None:
        backend = MemoryBackend(clock=Clock(NOW))
        made = self.link(
            "wss://b.example/s", "websocket", handoff_targets=["https://b.example"], backend=backend
        )
        target = SocketSite(backend=backend, public_origin="https://b.example")
        headers = {"origin": "https://b.example", "host": "b.example"}
        path = made.removeprefix("wss://b.example")
        assert target.connect(path, headers=headers, scheme="wss").opened
        assert target.handle.session.user_id == "alice"

    @pytest.mark.parametrize(
        "url", ["wss://evil.example/", "wss://b.example/other", "ws://b.example/"]
    )
    def test_to_no_target(self, url: str) -> None:
        with pytest.raises(InvalidTarget):
            self.link(url, "websocket", handoff_targets=["https://b.example/app/"])

    @pytest.mark.parametrize("url", ["wss://b.example/", "WS://b.example/"])
    def test_of_another_channel(self, url: str) -> None:
        with pytest.raises(InvalidTarget, match="pass channel='websocket'"):
            self.link(url, "handoff", handoff_targets=["ws://b.example", "wss://b.example"])


class TestNestedLayers:
    def test_outer_layer_redeems(self) -> None:
        inner = SocketSite()
        outer: Any = ASGIMiddleware(
            inner.middleware,
            session=inner.middleware.flow.options.adapter,
            tokens=inner.middleware.flow.tokens,
        )
        site = SocketSite()
        site.middleware = outer
        token = inner.ticket()
        assert offer(site, token, "protocol").first["subprotocol"] == "ott"
        assert inner.handle.session == person("alice")

    def test_http_is_as_it_was(self) -> None:
        """Headers and keys of a WebSocket mean nothing in an HTTP request."""
        seen: list[Any] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            seen.append(dict(scope))

        middleware: Any = ASGIMiddleware(app, session=Members())
        token = "t" * 32
        scope = make_scope("GET", f"/?ott={token}", {"sec-websocket-protocol": f"ott, ott.{token}"})
        scope["method"] = "HEAD"
        scope["subprotocols"] = ["ott", f"ott.{token}"]
        run(middleware(scope, None, None))
        assert seen[0]["subprotocols"] == ["ott", f"ott.{token}"]
        assert headers_of(seen[0])["sec-websocket-protocol"] == f"ott, ott.{token}"
