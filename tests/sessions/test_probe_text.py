"""`probe=(path, text)`: for apps that respond with 2xx to visitors that are not signed in."""

from __future__ import annotations

import gzip
import zlib
from typing import Any

import pytest
from harness import Reply, Seen, Site, World

from ott_middleware import ConfigurationError, CookieSession

TEXT = "Sign out & leave Zoë's page"
HTML = "text/html; charset=utf-8"
MOST = 64 * 1024


class App:
    """Shows `/prefs` to all visitors, and the text to `sid=alice` alone."""

    def __init__(self, body: bytes, **headers: str) -> None:
        self.body, self.headers = body, headers
        self.accepted: list[str] = []

    def __call__(self, seen: Seen) -> Reply:
        self.accepted.append(seen.headers.get("accept", ""))
        headers = [(name.replace("_", "-"), value) for name, value in self.headers.items()]
        return Reply(200, headers, self.body if seen.cookies.get("sid") == "alice" else b"Sign in")


def serve(world: World, app: Any, text: str = TEXT) -> Site:
    session = CookieSession("sid", probe=("/prefs", text), renews_key=True)
    return world.serve(app, session=session)


def is_found(site: Site) -> bool:
    assert site.generate({"cookie": "sid=mallory"}).code == "UNAUTHORIZED"
    answer = site.generate({"cookie": "sid=alice"})
    if answer.status == 200:
        return True
    assert answer.code == "UNAUTHORIZED"
    return False


class TestProbeText:
    @pytest.mark.parametrize(
        ("body", "content_type"),
        [
            (f"<p>{TEXT}</p>".encode(), HTML),
            (f"<p>{TEXT}</p>".encode(), "text/html"),
            (f"<p>{TEXT}</p>".encode("latin-1"), "text/html; charset=ISO-8859-1"),
            (f"<p>{TEXT}</p>".encode("cp1252"), 'text/html; charset="windows-1252"'),
            (f"<p>{TEXT}</p>".encode("utf-16"), "text/html;charset=utf-16"),
            (b"Sign out &amp; leave Zo&euml;&#39;s page", HTML),
            (b"Sign out &amp; leave Zo&#235;&#x27;s page", HTML),
            # A charset that is none, and codecs of Python that are none.
            (TEXT.encode(), "text/html; charset=nonsense"),
            (TEXT.encode(), "text/html; charset=zlib"),
            (TEXT.encode(), "text/html; charset=undefined"),
        ],
    )
    def test_text_is_found_in_any_spelling(
        self, world: World, body: bytes, content_type: str
    ) -> None:
        assert is_found(serve(world, App(body, content_type=content_type)))

    def test_page_without_the_text_is_a_strangers(self, world: World) -> None:
        assert not is_found(serve(world, App(b"<p>Sign out</p>", content_type=HTML)))
        assert not is_found(serve(world, App(TEXT.upper().encode(), content_type=HTML)))

    def test_page_is_asked_for_as_html(self, world: World) -> None:
        app = App(TEXT.encode())
        assert is_found(serve(world, app))
        assert set(app.accepted) == {"text/html, */*;q=0.5"}

    def test_status_counts_as_well(self, world: World) -> None:
        site = serve(world, lambda seen: Reply(403, (), TEXT.encode()))
        assert site.generate({"cookie": "sid=alice"}).code == "UNAUTHORIZED"

    def test_json_tells_the_user_too(self, world: World) -> None:
        site = serve(world, App(b'{"id": 7, "role": "member"}'), '"role": "member"')
        token = site.generate({"cookie": "sid=alice"}).json()["token"]
        assert site.verify(token).json()["session"]["userId"] == "7"

    @pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "deflate", "GZIP", "identity", ""])
    def test_body_that_is_compressed_unasked(self, world: World, encoding: str) -> None:
        pack = {"gzip": gzip.compress, "x-gzip": gzip.compress, "deflate": zlib.compress}
        body = pack.get(encoding.lower(), bytes)(TEXT.encode())

        def app(seen: Seen) -> Reply:
            signed_in = seen.cookies.get("sid") == "alice"
            return Reply(
                200,
                [("Content-Encoding", encoding)],
                body if signed_in else pack.get(encoding.lower(), bytes)(b"in"),
            )

        assert is_found(serve(world, app))

    @pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "gzip"])
    def test_body_that_cannot_be_read_is_a_failure(self, world: World, encoding: str) -> None:
        site = serve(world, App(TEXT.encode(), content_encoding=encoding))
        assert site.generate({"cookie": "sid=alice"}).code == "SESSION_UNAVAILABLE"

    def test_bomb_is_not_unpacked(self, world: World) -> None:
        bomb = gzip.compress(b"x" * 50_000_000 + TEXT.encode())
        assert len(bomb) < MOST
        assert not is_found_among(serve(world, App(bomb, content_encoding="gzip")))

    def test_text_beyond_64_kib_is_not_found_and_one_warning_says_so(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        site = serve(world, App(b"x" * MOST + TEXT.encode(), content_type=HTML))
        assert not is_found(site)
        assert not is_found(site)
        (record,) = caplog.records
        assert "longer than 64 KiB" in record.message
        assert "Sign out" not in record.message

    @pytest.mark.parametrize(
        "probe",
        [
            ("/prefs", ""),
            ("/prefs", "  "),
            ("/prefs", None),
            ("prefs", "text"),
            ("/prefs",),
            ("/prefs", "text", "more"),
            ("/prefs?x=1", "text"),
        ],
    )
    def test_pair_that_is_none_is_refused(self, probe: Any) -> None:
        with pytest.raises(ConfigurationError, match="probe: "):
            CookieSession("sid", probe=probe)


def is_found_among(site: Site) -> bool:
    return bool(site.generate({"cookie": "sid=alice"}).status == 200)
