from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ott_middleware.http.fetch_metadata import Kind, accepts_html, classify
from ott_middleware.http.link_previews import LINK_PREVIEWS
from ott_middleware.http.messages import Request

LATIN_1 = st.text(st.characters(max_codepoint=255))
HTML = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
IMAGE = "image/avif,image/webp,*/*;q=0.8"


def request(method: str = "GET", **headers: str) -> Request:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request(method, "https", "/", headers=named)


def sent(mode: str, destination: str | None = None, **headers: str) -> dict[str, str]:
    """The headers of a browser's request; `Accept` is that of a page, unless given."""
    destined = {} if destination is None else {"sec_fetch_dest": destination}
    return {"sec_fetch_mode": mode, **destined, "accept": HTML, **headers}


NAVIGATION, PAGE_FIRST, CALL = Kind.NAVIGATION, Kind.PAGE_FIRST, Kind.CALL
PREFETCH, PREVIEW, FRAME, PASSIVE = Kind.PREFETCH, Kind.PREVIEW, Kind.FRAME, Kind.PASSIVE

TABLE = [
    # A browser with Fetch Metadata.
    ("GET", sent("navigate", "document"), NAVIGATION),
    ("GET", sent("navigate", "document", accept="*/*"), NAVIGATION),
    ("GET", sent("navigate", "document", sec_fetch_user="?1"), NAVIGATION),
    ("GET", sent("navigate", "document", service_worker_navigation_preload="true"), NAVIGATION),
    ("GET", sent("navigate", "document", cookie="a=b", accept_language="de"), NAVIGATION),
    ("POST", sent("navigate", "document"), CALL),
    ("GET", sent("cors", "empty", accept="*/*"), CALL),
    ("GET", sent("cors", "empty"), CALL),
    ("GET", sent("cors", "image", accept=IMAGE), CALL),
    ("GET", sent("websocket", "websocket", accept="*/*"), CALL),
    ("GET", sent("same-origin", "empty", accept="*/*"), CALL),
    ("GET", sent("same-origin", "document"), CALL),
    ("GET", {"sec_fetch_site": "none", "accept": HTML}, CALL),
    ("GET", {"sec_fetch_user": "?1", "accept": HTML}, CALL),
    ("GET", {"sec_fetch_dest": "document", "accept": HTML}, CALL),
    # Handed on by a service worker.
    ("GET", sent("navigate", "empty"), PAGE_FIRST),
    ("GET", sent("navigate"), PAGE_FIRST),
    ("GET", sent("navigate", ""), PAGE_FIRST),
    ("GET", sent("navigate", "empty", accept="*/*"), PAGE_FIRST),
    ("GET", sent("navigate", "empty", referer="https://evil.example/"), PAGE_FIRST),
    ("GET", sent("same-origin", "empty"), PAGE_FIRST),
    ("POST", sent("navigate", "empty"), CALL),
    ("POST", sent("same-origin", "empty"), CALL),
    # Frames.
    *(
        (method, sent("navigate", each), FRAME)
        for method in ("GET", "POST")
        for each in ("iframe", "frame", "embed", "object", "fencedframe", "webidentity", "x")
    ),
    ("GET", {"sec_fetch_dest": "iframe"}, FRAME),
    ("GET", sent("cors", "fencedframe"), FRAME),
    ("GET", sent("nested-navigate", sec_fetch_user="?1"), FRAME),
    # Parts of a page.
    ("GET", sent("no-cors", "image", accept=IMAGE), PASSIVE),
    ("GET", sent("no-cors", "script", accept="*/*"), PASSIVE),
    ("GET", sent("no-cors", "empty"), PASSIVE),
    ("POST", sent("no-cors", "empty"), PASSIVE),
    ("HEAD", {}, PASSIVE),
    ("HEAD", sent("navigate", "document"), PASSIVE),
    ("HEAD", {"accept": HTML}, PASSIVE),
    ("OPTIONS", {"origin": "https://a.example"}, PASSIVE),
    # Without Fetch Metadata: an old browser, or plain http.
    ("GET", {"accept": HTML}, PAGE_FIRST),
    ("GET", {"accept": HTML, "cookie": "a=b", "accept_language": "de"}, PAGE_FIRST),
    ("GET", {"accept": HTML, "origin": "https://a.example"}, PAGE_FIRST),
    ("GET", {"accept": IMAGE, "accept_language": "de"}, PASSIVE),
    ("GET", {"accept": "*/*", "cookie": "a=b"}, PASSIVE),
    ("GET", {"cookie": "a=b"}, PASSIVE),
    ("GET", {"accept": "*/*", "cookie": "a=b", "origin": "https://a.example"}, CALL),
    ("GET", {"accept": "*/*", "accept_language": "de", "origin": "null"}, CALL),
    ("POST", {"accept": HTML, "cookie": "a=b"}, CALL),
    ("POST", {"accept": "*/*", "cookie": "a=b"}, CALL),
    # Clients that are no browser.
    ("GET", {}, CALL),
    ("GET", {"accept": "*/*"}, CALL),
    ("GET", {"accept": "application/json", "user_agent": "python-requests/2.32"}, CALL),
    ("GET", sent("cors", accept="*/*", accept_language="*", user_agent="node"), CALL),
]


class TestClassify:
    @pytest.mark.parametrize(("method", "headers", "kind"), TABLE)
    def test_table(self, method: str, headers: dict[str, str], kind: Kind) -> None:
        assert classify(request(method, **headers)) is kind

    @pytest.mark.parametrize(
        "name", ["sec_purpose", "purpose", "x_moz", "x_purpose", "x_sec_purpose"]
    )
    @pytest.mark.parametrize(
        "value",
        ["prefetch", "prefetch;prerender", "prefetch;anonymous-client-ip", "PREVIEW", "Prerender"],
    )
    def test_prefetch_however_spelled(self, name: str, value: str) -> None:
        for method, headers, _ in TABLE:
            assert classify(request(method, **headers, **{name: value})) is PREFETCH

    @pytest.mark.parametrize("headers", [{"sec_purpose": ""}, {"purpose": "x"}, {"dnt": "1"}])
    def test_prefetch_is_nothing_else(self, headers: dict[str, str]) -> None:
        assert classify(request(**headers)) is CALL

    def test_only_a_get_without_doubt_or_a_call_redeems_at_once(self) -> None:
        """Every combination of what browsers send: a frame is never NAVIGATION."""
        modes = (None, "navigate", "nested-navigate", "same-origin", "cors", "no-cors")
        destinations = (None, "document", "empty", "iframe", "frame", "fencedframe", "image")
        for mode, destination, accept, user in itertools.product(
            modes, destinations, (HTML, "*/*"), (None, "?1")
        ):
            named = {"sec_fetch_mode": mode, "sec_fetch_dest": destination, "sec_fetch_user": user}
            headers = {name: value for name, value in named.items() if value is not None}
            kind = classify(request(**headers, accept=accept))
            assert (kind is NAVIGATION) == (mode == "navigate" and destination == "document")
            if destination in ("iframe", "frame", "fencedframe"):
                assert kind is FRAME

    @given(method=LATIN_1, accept=LATIN_1, purpose=LATIN_1, mode=LATIN_1, agent=LATIN_1)
    def test_any_header(
        self, method: str, accept: str, purpose: str, mode: str, agent: str
    ) -> None:
        asked = request(method, accept=accept, sec_purpose=purpose, user_agent=agent)
        for each in (asked, request(method, accept=accept, sec_fetch_mode=mode)):
            assert isinstance(classify(each), Kind)
            assert accepts_html(each) in (True, False)

    @pytest.mark.parametrize("kind", Kind)
    def test_each_kind_is_one_of_four(self, kind: Kind) -> None:
        decided = [kind is PREFETCH, kind.never_redeems, kind.is_navigation, kind is CALL]
        assert decided.count(True) == 1


# As the programs send them, collected in November 2026.
PREVIEWS = [
    "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
    "Slackbot 1.0 (+https://api.slack.com/robots)",
    "Slack-ImgProxy 0.19 (+https://api.slack.com/robots)",
    "Mozilla/5.0 (Windows NT 6.1) SkypeUriPreview Preview/0.5 skype-url-preview@microsoft.com",
    "Mozilla/5.0 (compatible; MicrosoftPreview/2.0; +https://aka.ms/MicrosoftPreview)",
    "WhatsApp/2.23.20.0",
    "WhatsApp/2.23.20.0 A",
    "TelegramBot (like TwitterBot)",
    "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
    "facebookcatalog/1.0",
    "meta-externalfetcher/1.1",
    "Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)",
    "LinkedInBot/1.0 (compatible; Mozilla/5.0; Apache-HttpClient +http://www.linkedin.com)",
    "Twitterbot/1.0",
    "Mozilla/5.0 (Macintosh) Safari/601.2.4 facebookexternalhit/1.1 Facebot Twitterbot/1.0",
    "Mozilla/5.0 (Macintosh) AppleWebKit/605.1.15 (KHTML, like Gecko) (Applebot/0.1)",
    "Mozilla/5.0 Google-PageRenderer Google (+https://developers.google.com/+/web/snippet/)",
    "Mozilla/5.0 Safari/537.36 Google (+https://developers.google.com/+/web/snippet/)",
]
# The browsers inside of these programs, in which visitors open links.
IN_APP = [
    "Mozilla/5.0 (iPhone) AppleWebKit/605.1.15 Mobile/15E148 [FBAN/FBIOS;FBAV/300.0;FBBV/1]",
    "Mozilla/5.0 (Linux; Android 14; wv) Chrome/130.0 Mobile Safari/537.36 [FB_IAB/FB4A;FBAV/1;]",
    "Mozilla/5.0 (iPhone) AppleWebKit/605.1.15 Mobile/15E148 Instagram 219.0.0.12.117",
    "Mozilla/5.0 (iPhone) AppleWebKit/605.1.15 Mobile/15E148 [LinkedInApp]/9.1",
    "Mozilla/5.0 (iPhone) AppleWebKit/605.1.15 Mobile/15E148 Twitter for iPhone/10.1",
    "Mozilla/5.0 (Macintosh) Chrome/130.0 Electron/33.0 Safari/537.36 Slack_SSB/4.41",
    "Mozilla/5.0 (Windows NT 10.0) Chrome/130.0 Safari/537.36 Teams/24.1",
    "Mozilla/5.0 (Linux; Android 14) Chrome/130.0 Mobile Safari/537.36 Telegram-Android/11.0",
    "MyWhatsAppViewer/1.0 NotTwitterbot Discordbot2 x-Applebot",
]


class TestLinkPreviews:
    @pytest.mark.parametrize("agent", PREVIEWS)
    def test_programs(self, agent: str) -> None:
        for headers in ({}, {"accept": HTML}, sent("navigate", "document"), sent("cors", "empty")):
            assert classify(request(**headers, user_agent=agent)) is PREVIEW
        clicked = sent("navigate", "document", sec_fetch_user="?1", user_agent=agent)
        assert classify(request(**clicked)) is NAVIGATION

    @pytest.mark.parametrize("agent", IN_APP)
    def test_in_app_browsers(self, agent: str) -> None:
        assert classify(request(**sent("navigate", "document", user_agent=agent))) is NAVIGATION

    def test_each_token_is_sent_by_a_program(self) -> None:
        tokens = {token for each in LINK_PREVIEWS.values() for token in each}
        seldom = {"BingPreview", "Googlebot", "meta-externalagent"}
        assert {token for token in tokens if token not in " ".join(PREVIEWS)} == seldom

    def test_token_far_behind(self) -> None:
        agent = "x" * 1020 + " Twitterbot"
        assert classify(request(accept=HTML, user_agent=agent)) is PAGE_FIRST


@pytest.mark.parametrize(
    ("accept", "html"),
    [
        ("text/html", True),
        ("TEXT/HTML", True),
        ("application/json, text/html;q=0.1", True),
        ("text/html;charset=utf-8", True),
        ("Text/Html; level=1 ;q=0.5", True),
        ("text/html;q=0", False),
        ("text/html;q=0.0, */*", False),
        ("text/html;level=1;q=0", False),
        ("text/*", False),
        ("*/*", False),
        ("text/htmlx", False),
        ("application/xhtml+xml", False),
        ("", False),
        (None, False),
    ],
)
def test_accepts_html(accept: str | None, html: bool) -> None:
    assert accepts_html(request(**({} if accept is None else {"accept": accept}))) is html
