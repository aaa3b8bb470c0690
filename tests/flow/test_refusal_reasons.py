"""Every refusal has one line in the log that says why, for the developer alone."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from typing import Any

import pytest
from harness import FETCH, HOST, NAVIGATION, ORIGIN, SECRET, Answer, Members, Site, World
from log_watch import Watch, watches

from ott_middleware import MemoryBackend, SealedSession
from ott_middleware.backends import Backend
from ott_middleware.errors import InvalidToken
from ott_middleware.tokens.recent import RecentTokens

COOKIE = {"cookie": "sid=alice-cookie"}


def reasons(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """The words and lines of the reasons that were logged."""
    return [
        (record.ott_reason, record.getMessage())
        for record in caplog.records
        if hasattr(record, "ott_reason")
    ]


@pytest.fixture(autouse=True)
def debug(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "ott_middleware")


def one(caplog: pytest.LogCaptureFixture, word: str, *says: str) -> None:
    """One reason was logged: this word, in a line that says this."""
    ((found, line),) = reasons(caplog)
    assert found == word, line
    for each in says:
        assert each in line
    assert line.endswith(f"({word})")
    assert caplog.records[-1].levelno == logging.DEBUG


Ask = Callable[[Site], Answer]

# What is refused before anything is taken: the request, the word, the line.
REQUESTS: dict[str, tuple[Ask, str, str]] = {
    "no cookie": (lambda s: s.generate(), "no_session", "no cookie 'sid'"),
    "dead cookie": (
        lambda s: s.generate({"cookie": "sid=nobodys-cookie"}),
        "no_session",
        "Members.current found none",
    ),
    "client requests": (lambda s: s.generate(COOKIE), "client_requests_disabled", "its handle"),
    "method": (
        lambda s: s.send("POST", "/one-time-token/generate"),
        "method",
        "'POST' is not among GET, OPTIONS",
    ),
    "hostile method": (
        lambda s: s.send("GET\nX" * 20, "/one-time-token/verify"),
        "method",
        "another text is not among POST",
    ),
    "prefetch": (lambda s: s.generate({"sec-purpose": "prefetch"}), "prefetch", "prefetch"),
    "untrusted": (
        lambda s: s.generate({"origin": "https://evil.example"}),
        "untrusted_origin",
        f"https://evil.example is neither this site's own origin ({ORIGIN})",
    ),
    "no host": (
        lambda s: s.generate({"origin": "https://evil.example", "host": "a b"}),
        "untrusted_origin",
        "own origin (not known)",
    ),
    "no origin at all": (
        lambda s: s.generate({"origin": "https://evil.example/\x1b[2J?secret"}),
        "untrusted_origin",
        "Origin holds no origin",
    ),
    "referer": (
        lambda s: s.generate({"referer": "https://evil.example/ada?x=1"}),
        "untrusted_origin",
        "https://evil.example is",
    ),
    "bad referer": (
        lambda s: s.generate({"referer": "about:ada"}),
        "untrusted_origin",
        "Referer holds no origin",
    ),
    "null": (lambda s: s.generate({"origin": "null"}), "missing_origin", "Origin: null"),
    "no headers": (
        lambda s: s.generate({"sec-fetch-site": "cross-site"}),
        "missing_origin",
        "Sec-Fetch-Site is 'cross-site'",
    ),
    "odd metadata": (
        lambda s: s.generate({"sec-fetch-site": "a\tb"}),
        "missing_origin",
        "Sec-Fetch-Site is another text",
    ),
    "trusted referer": (
        lambda s: s.generate({"sec-fetch-site": "cross-site", "referer": f"{ORIGIN}/"}),
        "missing_origin",
        "another site made a browser send",
    ),
    "audience": (
        lambda s: s.get("/one-time-token/generate?audience=https://x.example", COOKIE),
        "client_requests_disabled",
        "",
    ),
    "no body": (lambda s: s.post_verify(b""), "body", "expected object, received undefined"),
    "no json": (lambda s: s.post_verify(b"{"), "body", "no JSON"),
    "deep": (lambda s: s.post_verify(b"[" * 500), "body", "deeper than 100 levels"),
    "array": (lambda s: s.post_verify(b"[]"), "body", "received array"),
    "token missing": (lambda s: s.post_verify(b"{}"), "body", "[body.token]"),
    "audience of a browser": (
        lambda s: s.verify("x" * 32, COOKIE, audience="https://b.example"),
        "body",
        "one with Cookie",
    ),
    "bad length": (
        lambda s: s.post_verify(b"{}", {"content-length": "two"}),
        "body",
        "Content-Length is no number",
    ),
    "too large": (lambda s: s.post_verify(b" " * 20_000), "body_size", "larger than any"),
    "form": (
        lambda s: s.post_verify(b"a=1", {"content-type": "text/plain; charset=utf-8"}),
        "content_type",
        "'text/plain', not application/json",
    ),
    "hostile type": (
        lambda s: s.post_verify(b"a=1", {"content-type": "ada@club.example"}),
        "content_type",
        "another text, not",
    ),
    "no token": (lambda s: s.verify("a b"), "malformed_token", "has not the form of a token"),
    "unknown": (lambda s: s.verify("x" * 32), "unknown_token", "never made, used, revoked or"),
    "two links": (lambda s: s.fetch("/?ott=a&ott=b"), "malformed_token", "two different"),
    "empty link": (lambda s: s.fetch("/?ott="), "malformed_token", "has not the form"),
    "link of another page": (
        lambda s: s.fetch("/?ott=x", {"origin": "https://evil.example"}),
        "untrusted_origin",
        "https://evil.example",
    ),
    "link prefetched": (
        lambda s: s.open("/?ott=x", {"sec-purpose": "prefetch"}),
        "prefetch",
        "link not redeemed",
    ),
    "link in a frame": (
        lambda s: s.open("/?ott=x", {"sec-fetch-dest": "iframe"}),
        "not_opened",
        "link not redeemed",
    ),
    "link by HEAD": (lambda s: s.send("HEAD", "/?ott=x"), "not_opened", "link not redeemed"),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_request_refused(name: str, world: World, caplog: pytest.LogCaptureFixture) -> None:
    ask, word, says = REQUESTS[name]
    site = world.serve(disable_client_request=True)
    answer = ask(site)
    one(caplog, word, says)
    assert "_" not in word or word not in str(answer), "no client is told"


def test_audience_that_is_no_target(world: World, caplog: pytest.LogCaptureFixture) -> None:
    site = world.serve()
    for query, says in (("https://x.example", "https://x.example is neither"), ("x", "no origin")):
        caplog.clear()
        assert site.get(f"/one-time-token/generate?audience={query}", COOKIE).status == 400
        one(caplog, "target", says)


class TestToken:
    def test_used(self, world: World, caplog: pytest.LogCaptureFixture) -> None:
        site = world.serve()
        token = site.token()
        assert site.verify(token).status == 200
        world.clock.forward(12)
        answer = site.verify(token)
        assert answer.code == "INVALID_TOKEN"
        one(caplog, "used_token", "verify refused", "used already, 12 s ago")

    def test_expired(self, world: World, caplog: pytest.LogCaptureFixture) -> None:
        site = world.serve()
        token = site.token()
        world.clock.forward(180 + 42)
        assert site.fetch(f"/?ott={token}").code == "INVALID_TOKEN"
        one(caplog, "expired_token", "link refused", "expired 42 s ago")

    def test_expired_in_a_backend_that_keeps_it(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Keeps:
            def __init__(self) -> None:
                self.values: dict[str, bytes] = {}

            def put(self, key: str, value: bytes, *, expires_at: float) -> None:
                self.values[key] = value

            def take(self, key: str) -> bytes | None:
                return self.values.pop(key, None)

        site = world.serve(backend=Keeps())
        site.flow.tokens.clock = world.clock
        token = site.token()
        world.clock.forward(185)
        assert site.verify(token).code == "INVALID_TOKEN"
        one(caplog, "expired_token", "expired 5 s ago")

    def test_revoked(self, world: World, caplog: pytest.LogCaptureFixture) -> None:
        site = world.serve()
        token = site.token()
        site.flow.tokens.revoke("session-of-alice")
        assert site.verify(token).code == "INVALID_TOKEN"
        one(caplog, "unknown_token", "made here and gone since", "revoked")

    def test_bound_to_another_origin(self, world: World, caplog: pytest.LogCaptureFixture) -> None:
        site = world.serve(public_origin=ORIGIN)
        assert site.verify(site.token(audience="https://b.example")).code == "INVALID_TOKEN"
        one(caplog, "other_audience", f"bound to https://b.example, and redeemed for {ORIGIN}")

    def test_bound_where_no_origin_is_configured(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        site = world.serve()
        token = site.token(audience="https://b.example")
        assert site.verify(token, {"host": "c.example"}).code == "INVALID_TOKEN"
        one(caplog, "other_audience", "redeemed where no origin is configured")

    def test_server_names_an_origin(self, world: World, caplog: pytest.LogCaptureFixture) -> None:
        site = world.serve()
        assert site.verify(site.token(), audience="https://b.example").code == "INVALID_TOKEN"
        one(caplog, "other_audience", "bound to no origin", "https://b.example")

    def test_opened_by_no_secret(self, world: World, caplog: pytest.LogCaptureFixture) -> None:
        backend = MemoryBackend(clock=world.clock)
        source = world.serve(backend=backend, secret=SECRET)
        target = world.serve(backend=backend, secret=SECRET[::-1])
        assert target.verify(source.token()).code == "INVALID_TOKEN"
        ((word, line),) = reasons(caplog)
        assert (word, "no secret= of this site" in line) == ("unreadable_token", True)

    def test_channel_that_does_not_exist(self) -> None:
        tokens = World("wsgi").serve().flow.tokens
        with pytest.raises(InvalidToken) as caught:
            tokens.verify("x" * 32, channel="no such")
        assert caught.value.reason.word == "other_channel"


class TestSession:
    def test_ended(self, world: World, caplog: pytest.LogCaptureFixture) -> None:
        site = world.serve()
        token = site.token()
        site.members.live.clear()
        assert site.verify(token).code == "SESSION_NOT_FOUND"
        one(caplog, "session_ended", "Members.resolve found no live session")

    def test_expired(self, world: World, caplog: pytest.LogCaptureFixture) -> None:
        site = world.serve()
        token = site.token(expires_in=600)
        world.clock.forward(3601)
        assert site.verify(token).code == "SESSION_EXPIRED"
        one(caplog, "session_expired", "expired after the token was generated")

    def test_no_account(self, world: World, caplog: pytest.LogCaptureFixture) -> None:
        backend = MemoryBackend(clock=world.clock)
        source = world.serve(backend=backend)
        sealed = SealedSession(SECRET, match=lambda session: None, clock=world.clock)
        site = world.serve(session=sealed, backend=backend)
        assert site.open(f"/?ott={source.token()}").status == 400
        one(caplog, "no_account", "SealedSession: match= returned None")

    def test_another_user_is_signed_in(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        site = world.serve(on_switch="keep")
        token = site.token()
        answer = site.open(f"/?ott={token}", {"cookie": "sid=bob-cookie"})
        assert (answer.status, answer.cookies) == (303, {})
        one(caplog, "other_user", "link not redeemed", "on_switch='keep'")

    def test_double_click(self, world: World, caplog: pytest.LogCaptureFixture) -> None:
        site = world.serve()
        token = site.token()
        site.verify(token)
        answer = site.open(f"/?ott={token}", COOKIE)
        assert (answer.status, answer.cookies) == (303, {})
        one(caplog, "used_token", "link refused")


@pytest.mark.parametrize("on_invalid", ["continue", lambda request, error: 1 / 0])
def test_on_invalid_is_no_silence(
    on_invalid: Any, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    site = world.serve(on_invalid=on_invalid)
    site.fetch("/?ott=unknown")
    words = [word for word, _ in reasons(caplog)]
    assert words == ["unknown_token", *(["hook_failed"] if callable(on_invalid) else [])]


def test_failure_is_one_line_for_everyone(world: World, caplog: pytest.LogCaptureFixture) -> None:
    class Breaks(Members):
        def current(self, request: Any) -> Any:
            raise OSError

    site = world.serve(session=Breaks())
    assert site.generate(COOKIE).status == 503
    ((word, line),) = reasons(caplog)
    assert (word, line.startswith("SESSION_UNAVAILABLE: ")) == ("hook_failed", True)
    assert [r.levelno for r in caplog.records if hasattr(r, "ott_reason")] == [logging.ERROR]


class TestRecentTokens:
    backend = Backend()

    def test_other_channel(self) -> None:
        recent = RecentTokens()
        recent.note_generated(self.backend, "t", "websocket", 10)
        reason = recent.why_missing(self.backend, "t", "handoff", 0)
        assert reason.word == "other_channel"
        assert "made for the channel websocket, presented as handoff" in reason.detail

    def test_same_text_in_another_backend(self) -> None:
        recent, other = RecentTokens(), Backend()
        recent.note_used(self.backend, "t", "handoff", 0)
        assert recent.why_missing(other, "t", "handoff", 0).word == "unknown_token"

    def test_oldest_is_forgotten(self) -> None:
        recent = RecentTokens(most=2)
        for name in ("a", "b", "a", "c"):
            recent.note_used(self.backend, name, "handoff", 0)
        words = [recent.why_missing(self.backend, n, "handoff", 0).word for n in "abc"]
        assert words == ["used_token", "unknown_token", "used_token"]

    def test_child_of_a_fork_forgets(self) -> None:
        recent = RecentTokens()
        recent.note_used(self.backend, "t", "handoff", 0)
        recent._lock.acquire()
        recent.renew_after_fork()
        assert recent.why_missing(self.backend, "t", "handoff", 0).word == "unknown_token"
        recent.note_used(self.backend, "t", "handoff", 0)


class TestWatch:
    """The check of the whole test run, in `log_watch`."""

    def watched(self, act: Callable[[], object]) -> list[str]:
        watch = Watch()
        watches.append(watch)
        try:
            act()
        finally:
            watches.remove(watch)
        return watch.complaints()

    def test_silent_refusal_is_found(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        site = world.serve()
        monkeypatch.setattr(site.flow.services.reports, "_log", lambda *_: None)
        (complaint,) = self.watched(lambda: site.verify("x"))
        assert "refused without a reason" in complaint
        (complaint,) = self.watched(lambda: site.open("/?ott=x", {"sec-fetch-dest": "iframe"}))
        assert "a link was ignored" in complaint

    def test_secret_in_a_line_is_found(self, world: World) -> None:
        log = logging.getLogger("ott_middleware.hooks")
        site = world.serve(secret=SECRET)
        token = site.token()
        # Like a token: `token_watch` looks for the real one in all lines of the run.
        random = "q1W2e3R4t5Y6u7I8o9P0-_aSdFgHjKlZ"

        def says(text: str) -> list[str]:
            def act() -> None:
                world.serve(secret=SECRET)
                site.verify(token, {"cookie": "sid=alice-cookie"})
                site.fetch("/?ott=short-token")
                log.debug("%s", text)

            return self.watched(act)

        for text in ("ada@club.example", SECRET, "x-alice-cookie-x", random, "short-token"):
            assert says(text), text
        assert not says("nothing to see")


def test_all_of_a_line_is_plain(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A client's text does not break a line in two, or colour a terminal."""
    site = world.serve()
    hostile = "\x1b[31mred\r\nfake line"
    site.send("GET", "/one-time-token/generate", {"host": HOST, "sec-fetch-site": "a b"})
    site.post_verify(json.dumps({"token": hostile, "audience": hostile}).encode(), {**FETCH})
    site.post_verify(json.dumps({"token": "x", "audience": hostile}).encode())
    site.get("/?ott=%1b%5B31m", {**NAVIGATION})
    assert len(reasons(caplog)) == 4
    for _, line in reasons(caplog):
        assert re.fullmatch(r"[\x20-\x7e]+", line)
