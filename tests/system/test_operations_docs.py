"""The pages for operators: their Python runs, as it stands there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from documents import ROOT, ask, blocks, run
from harness import NAVIGATION
from paste.deploy import loadapp

from ott_middleware import RedisBackend, SQLAlchemyBackend, SQLiteBackend, WSGIMiddleware, crypto
from ott_middleware.backends.sqlalchemy import table
from ott_middleware.backends.sqlite import backend as sqlite

DOCS = ROOT / "docs"


def at(host: str) -> dict[str, Any]:
    return {"host": host, "scheme": "https"}


def cookies(answer: Any) -> dict[str, str]:
    """The request header with what a response has set."""
    pairs = [value.partition(";")[0] for name, value in answer.headers if name == "set-cookie"]
    return {"cookie": "; ".join(pairs)}


def location(answer: Any) -> str:
    assert answer.status == 303, answer
    target: str = dict(answer.headers)["location"]
    return target


class TestRateLimits:
    def test_option(self) -> None:
        wrapped = run(DOCS / "rate_limits.md")["wrapped"]
        limit = wrapped.flow.services.rate_limit
        assert [tuple(rate) for rate in limit._rates] == [(20, 60)]
        assert ask(wrapped, "GET", "/", {}).body == b"Hello"


class TestProxies:
    def test_site_behind_plain_http(self) -> None:
        wrapped = run(DOCS / "proxies.md")["wrapped"]
        assert ask(wrapped, "GET", "/", {}, host="b.example", scheme="http").body == b"Hello"


class TestSubdomains:
    def test_handoff(self) -> None:
        page = run(DOCS / "subdomains.md")
        www, app = page["www"], page["app"]
        signed_in = ask(www, "GET", "/", {}, **at("www.shop.example"))
        assert cookies(signed_in)["cookie"].startswith("__Host-www=")
        link = location(ask(www, "GET", "/app", cookies(signed_in), **at("www.shop.example")))
        assert link.startswith("https://app.shop.example/?ott=")
        path = link.removeprefix("https://app.shop.example")
        arrived = ask(app, "GET", path, NAVIGATION, **at("app.shop.example"))
        seen = ask(app, "GET", "/", cookies(arrived), **at("app.shop.example"))
        assert seen.body == b"Hello ada"


class TestCustomerDomains:
    def test_user_arrives_at_her_tenant_alone(self) -> None:
        page = run(DOCS / "customer_domains.md")
        hub, application = page["wrapped_hub"], page["application"]
        ada = cookies(ask(hub, "GET", "/sign-in", {}, **at("hub.example")))
        opened = {}
        for host in page["DOMAINS"]:
            link = location(ask(hub, "GET", f"/open/{host}", ada, **at("hub.example")))
            assert link.startswith(f"https://{host}/?ott=")
            path = link.removeprefix(f"https://{host}")
            opened[host] = ask(application, "GET", path, NAVIGATION, **at(host))
        acme, globex = page["DOMAINS"]
        assert opened[acme].status == 303
        assert opened[globex].status == 400
        session = cookies(opened[acme])
        assert ask(application, "GET", "/", session, **at(acme)).body == b"Hello 7"
        # User 7 of one tenant is another person than user 7 of another.
        assert ask(application, "GET", "/", session, **at(globex)).body == b"Hello guest"

    def test_link_is_for_one_domain(self) -> None:
        page = run(DOCS / "customer_domains.md")
        hub, application = page["wrapped_hub"], page["application"]
        ada = cookies(ask(hub, "GET", "/sign-in", {}, **at("hub.example")))
        acme, globex = page["DOMAINS"]
        link = location(ask(hub, "GET", f"/open/{acme}", ada, **at("hub.example")))
        path = link.removeprefix(f"https://{acme}")
        assert ask(application, "GET", path, NAVIGATION, **at(globex)).status == 400
        assert ask(hub, "GET", "/open/evil.example", ada, **at("hub.example")).body == b"The hub"
        assert ask(application, "GET", "/", {}, **at("evil.example")).status == 404


class TestSignOut:
    def test_at_both_sites(self) -> None:
        page = run(DOCS / "sign_out.md")
        a, b = page["a"], page["b"]
        at_a, at_b = at("a.example"), at("b.example")
        ada = cookies(ask(a, "GET", "/sign-in", {}, **at_a))
        path = location(ask(a, "GET", "/other", ada, **at_a)).removeprefix("https://b.example")
        there = cookies(ask(b, "GET", path, NAVIGATION, **at_b))
        assert ask(b, "GET", "/", there, **at_b).body == b"Hello ada"
        origin = {"origin": "https://a.example"}
        left = ask(a, "POST", "/sign-out", {**ada, **origin}, **at_a)
        assert cookies(left) == {"cookie": "ott_session="}
        # The other site's session goes on until the visitor comes past.
        assert ask(b, "GET", "/", there, **at_b).body == b"Hello ada"
        assert location(left) == "https://b.example/sign-out-too"
        ended = ask(b, "GET", "/sign-out-too", {**there, **NAVIGATION}, **at_b)
        assert cookies(ended) == {"cookie": "ott_session="}
        assert location(ended) == "https://a.example/goodbye"

    def test_unused_link_is_revoked(self) -> None:
        page = run(DOCS / "sign_out.md")
        a, b = page["a"], page["b"]
        ada = cookies(ask(a, "GET", "/sign-in", {}, **at("a.example")))
        link = location(ask(a, "GET", "/other", ada, **at("a.example")))
        ask(a, "POST", "/sign-out", ada, **at("a.example"))
        path = link.removeprefix("https://b.example")
        assert ask(b, "GET", path, NAVIGATION, **at("b.example")).status == 400


OLD, NEW = "the-old-secret-of-both-sites", "the-new-secret-of-both-sites"
STEPS = (OLD, f"{OLD} {NEW}", f"{NEW} {OLD}", NEW)
SITES = ("a.example", "b.example")


def source_and_target(environ: Any, start_response: Any) -> list[bytes]:
    ott = environ["ott.handle"]
    if environ["PATH_INFO"] == "/sign-in":
        ott.sign_in({"id": "ada"})
    if environ["PATH_INFO"].startswith("/to/"):
        to = ott.link(environ["PATH_INFO"].replace("/to/", "https://", 1))
        start_response("303 See Other", [("Location", to)])
        return []
    start_response("200 OK", [])
    return [ott.session.user_id.encode() if ott.session else b"guest"]


class TestRotation:
    """Two sites that hand over in both directions, each at its own step of a rotation."""

    @pytest.fixture
    def build(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
        backends: list[SQLiteBackend] = []

        def make_backend(path: Path) -> SQLiteBackend:
            backends.append(SQLiteBackend(path, durability="none"))
            return backends[-1]

        page = run(DOCS / "rotate_secrets.md")
        page["SQLiteBackend"] = make_backend

        def build(which: int, secrets: str) -> Any:
            values = {
                "OTT_SECRET": secrets,
                "SESSION_SECRET": f"a-secret-of-{SITES[which]}-alone",
                "ORIGIN": f"https://{SITES[which]}",
                "TARGETS": f"https://{SITES[1 - which]}",
            }
            for name, value in values.items():
                monkeypatch.setenv(name, value)
            return page["build"](source_and_target, tmp_path / "tokens.db")

        yield build
        for backend in backends:
            backend.close()

    @staticmethod
    def hand_over(source: Any, target: Any, which: int) -> bytes:
        here, there = at(SITES[which]), at(SITES[1 - which])
        ada = cookies(ask(source, "GET", "/sign-in", {}, **here))
        link = location(ask(source, "GET", f"/to/{SITES[1 - which]}/", ada, **here))
        path = link.removeprefix(f"https://{SITES[1 - which]}")
        arrived = ask(target, "GET", path, NAVIGATION, **there)
        return ask(target, "GET", "/", cookies(arrived), **there).body

    def test_no_link_is_lost_within_a_step_or_between_two(self, build: Any) -> None:
        for which in (0, 1):
            sources = [build(which, secrets) for secrets in STEPS]
            targets = [build(1 - which, secrets) for secrets in STEPS]
            for source, target in product(range(4), repeat=2):
                if abs(source - target) <= 1:
                    arrived = self.hand_over(sources[source], targets[target], which)
                    assert arrived == b"ada", (source, target)

    def test_first_step_left_out(self, build: Any, caplog: pytest.LogCaptureFixture) -> None:
        source, target = build(0, STEPS[2]), build(1, STEPS[0])
        with caplog.at_level("DEBUG", "ott_middleware"):
            assert self.hand_over(source, target, 0) == b"guest"
        assert "unreadable_token" in caplog.text


class TestChooseBackend:
    def test_urls(self) -> None:
        def app(environ: Any, start_response: Any) -> list[bytes]:
            start_response("200 OK", [])
            return [b'{"id": "ada"}']

        text = (DOCS / "choose_backend.md").read_text(encoding="utf-8")
        urls = re.findall(r"^\| [^|]+ \| `(\w[^`]*://[^`]+)`", text, flags=re.M)
        assert [url.partition(":")[0].partition("+")[0] for url in urls] == [
            *("sqlite", "redis", "postgresql", "mysql")
        ]
        build = run(DOCS / "choose_backend.md")["build"]
        # Nothing is opened before it is used.
        kinds = [
            type(build(app, url, "a secret of 16 bytes and more").flow.services.tokens.backend)
            for url in urls
        ]
        assert kinds == [SQLiteBackend, RedisBackend, SQLAlchemyBackend, SQLAlchemyBackend]


class TestFromJWTInURL:
    def test_both_ways_work_meanwhile(self) -> None:
        page = run(DOCS / "from_jwt_in_url.md")
        source, target = page["source"].wsgi_app, page["target"].wsgi_app
        a, b = at("a.example"), at("b.example")
        ada = cookies(ask(source, "GET", "/sign-in", {}, **a))
        for path, works_again in (("/before", True), ("/after", False)):
            answer = ask(source, "GET", path, ada, **a)
            link = dict(answer.headers)["location"].removeprefix("https://b.example")
            first, second = (ask(target, "GET", link, NAVIGATION, **b) for _ in range(2))
            seen = [
                json.loads(ask(target, "GET", "/", cookies(r), **b).body) for r in (first, second)
            ]
            assert seen[0] == {"id": 7, "email": "ada@example.com"}
            # What the migration is for: the next reader of the URL has a use for a JWT.
            assert bool(seen[1]) is works_again


class TestFromSharedCookie:
    def test_each_site_has_its_own_cookie(self) -> None:
        page = run(DOCS / "from_shared_cookie.md")
        www, panel = page["www"].wsgi_app, page["panel"].wsgi_app
        here, there = at("www.shop.example"), at("app.shop.example")
        ada = cookies(ask(www, "GET", "/sign-in", {}, **here))
        assert ada["cookie"].startswith("__Host-www=")
        answer = ask(www, "GET", "/to-the-other-site", ada, **here)
        link = dict(answer.headers)["location"].removeprefix("https://app.shop.example")
        arrived = ask(panel, "GET", link, NAVIGATION, **there)
        assert cookies(arrived)["cookie"].startswith("__Host-app=")
        home = ask(panel, "GET", "/", cookies(arrived), **there)
        assert json.loads(home.body) == {"id": "ada"}


class TestExpiredRows:
    def test_numbers(self) -> None:
        text = (DOCS / "expired_rows.md").read_text(encoding="utf-8")
        assert (table._SWEEP_EVERY, table.SWEEP, sqlite._SWEEP) == (16, 64, 8)
        assert "by every sixteenth token that a process stores: up to 64 rows" in text
        assert "by every token that is stored: up to 8 rows" in text


class TestRollingDeploys:
    def test_versions_of_the_seal(self) -> None:
        text = (DOCS / "rolling_deploys.md").read_text(encoding="utf-8")
        assert (crypto._VERSION, crypto._OPENED) == (2, (1, 2))
        assert "This version writes 2, and opens 1 and 2." in text


class TestIniFiles:
    def test_file_is_loaded(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "ini_page_app.py").write_text(
            "def make(global_conf):\n    return lambda environ, start_response: []\n"
        )
        monkeypatch.syspath_prepend(tmp_path)
        (block,) = blocks(DOCS / "ini_files.md", "ini")
        file = tmp_path / "site.ini"
        file.write_text(f"{block.text}\n\n[app:app]\npaste.app_factory = ini_page_app:make\n")
        secret = {"ott_secret": "a secret of both sites, 16 bytes or more"}
        wrapped = loadapp(f"config:{file}", global_conf=secret)
        assert isinstance(wrapped, WSGIMiddleware)
        assert isinstance(wrapped.flow.services.tokens.backend, RedisBackend)


#: What stands in the blocks of these pages that are no Python, and what tries it.
TRIED = {
    ("expired_rows", "sql"): "tests/backends/test_expired_rows_docs.py",
    ("ini_files", "ini"): "here",
    ("proxies", "apache"): "test_proxy_docs.py",
    ("proxies", "caddy"): "test_proxy_docs.py",
    ("proxies", "nginx"): "test_proxy_docs.py",
    ("proxies", "yaml"): "nothing: Traefik is not among Debian's packages",
    ("redeem_from_a_server", "go"): "test_redeem_docs.py",
    ("redeem_from_a_server", "js"): "test_redeem_docs.py",
    ("redeem_from_a_server", "sh"): "test_redeem_docs.py",
    ("redeem_from_a_server", "text"): "the request that the programs of the page send",
    ("workers", "text"): "servers/log_rows.py starts these servers",
}
PAGES = (
    *("choose_backend", "customer_domains", "expired_rows", "from_django_sesame"),
    *("from_jwt_in_url", "from_shared_cookie", "ini_files", "proxies", "rate_limits"),
    *("redeem_from_a_server", "rolling_deploys", "rotate_secrets", "sign_out", "subdomains"),
    "workers",
)


class TestPages:
    def test_each_block_is_tried_or_said_not_to_be(self) -> None:
        found = {(name, b.language) for name in PAGES for b in blocks(DOCS / f"{name}.md")}
        assert {pair for pair in found if pair[1] != "python"} == TRIED.keys()

    @pytest.mark.parametrize("name", PAGES)
    def test_first_line_names_its_reader_and_then_the_solution(self, name: str) -> None:
        first = (DOCS / f"{name}.md").read_text(encoding="utf-8").split("\n\n")[1]
        assert re.match(r"For an? (developer|operator)\b", first)
        assert "In short" in first.replace("\n", " ")
