"""The pages for operators: their Python runs, as it stands there."""

from __future__ import annotations

from typing import Any

from documents import ROOT, ask, run
from harness import NAVIGATION

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
