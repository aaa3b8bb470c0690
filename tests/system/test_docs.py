"""The documentation says what is so: its code runs, and its tables are complete."""

from __future__ import annotations

import json
import re
import sys
import time
import types
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_args

import jwt
import pytest
from documents import ROOT, ask, blocks, generate, run, run_block
from harness import FETCH, NAVIGATION
from public import public
from sqlalchemy import create_engine, inspect

from ott_middleware import CookieSession, OneTimeTokens, OTTMiddleware, Session, SQLAlchemyBackend
from ott_middleware.backends import registry
from ott_middleware.errors import KeyTaken, RequestError
from ott_middleware.http import languages, page_texts

DOCS = ROOT / "docs"
A = {"host": "a.example", "scheme": "https"}
B = {"host": "b.example", "scheme": "https"}
C = {"host": "c.example", "scheme": "https"}
ADA = {"cookie": "sessionid=6f1c09e2"}
PERSON = {"id": "u1", "name": "Ada"}
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def quickstart() -> dict[str, Any]:
    return run(DOCS / "any_app.md")


# Run in test_operations_docs.py, test_redeem_docs.py and ../backends/test_expired_rows_docs.py.
OPERATIONS = {
    *("from_jwt_in_url.md", "from_shared_cookie.md"),
    *("choose_backend.md", "customer_domains.md", "proxies.md", "rate_limits.md", "subdomains.md"),
    *("expired_rows.md", "redeem_from_a_server.md", "rotate_secrets.md", "sign_out.md"),
}


def test_python_blocks_are_all_run_here() -> None:
    pages = {path.name for path in DOCS.glob("*.md") if blocks(path, "python")}
    assert pages - OPERATIONS == {
        *("adapters.md", "backends.md", "doctor.md", "events.md"),
        "troubleshooting.md",
        *(
            "api_clients.md",
            "front_end.md",
            "links_without_code.md",
            "logs.md",
            "mail_links.md",
            "pages.md",
            "pull_handoff.md",
        ),
        "any_app.md",
        # test_start_docs.py, test_two_sites_docs.py and test_framework_docs.py
        *("quickstart.md", "two_sites.md"),
        *("fastapi.md", "flask.md", "legacy_app.md", "testing.md"),
        "sessions.md",
        "websockets.md",
    }


def link_of(app: Any) -> str:
    answer = ask(app, "GET", "/go", ADA, **A)
    url, _, token = dict(answer.headers)["location"].partition("?ott=")
    assert (answer.status, url) == (303, "https://b.example/me")
    return token


def test_readiness_probe_of_the_doctor() -> None:
    application = run(DOCS / "doctor.md")["application"]
    ready = ask(application, "GET", "/ready", {})
    assert (ready.status, ready.body) == (200, b"")
    assert ask(application, "GET", "/", {}).body == b"Hello!"


def test_quickstart_hands_ada_over(quickstart: dict[str, Any]) -> None:
    app, other = quickstart["app"], quickstart["other"]
    link = f"/me?ott={link_of(app)}"
    arrived = ask(other, "GET", link, NAVIGATION, **B)
    assert (arrived.status, dict(arrived.headers)["location"]) == (303, "./me")
    cookie = dict(arrived.headers)["set-cookie"]
    assert cookie == "sessionid=6f1c09e2; Path=/; Secure; HttpOnly; SameSite=Lax"
    assert json.loads(ask(other, "GET", "/me", ADA, **B).body) == PERSON
    assert ask(other, "GET", link, NAVIGATION, **B).status == 400
    # A double click or a reload, by who is signed in.
    assert ask(other, "GET", link, {**NAVIGATION, **ADA}, **B).status == 303


def test_the_quickstart_s_dependency_gives_the_handle(quickstart: dict[str, Any]) -> None:
    answer = ask(quickstart["app"], "GET", "/visit", ADA, **A)
    location = dict(answer.headers)["location"]
    assert (answer.status, location.partition("?ott=")[0]) == (303, "https://b.example/me")


def test_the_quickstart_s_link_is_for_one_origin(quickstart: dict[str, Any]) -> None:
    app, other = quickstart["app"], quickstart["other"]
    # At the source, whatever host the visitor claims; the token is used up by it.
    for host in (A, B, C):
        token = link_of(app)
        assert ask(app, "GET", f"/me?ott={token}", NAVIGATION, **host).status == 400
        assert ask(other, "GET", f"/me?ott={token}", NAVIGATION, **B).status == 400


@pytest.mark.parametrize("name", ["app", "validated"])
def test_quickstart_refuses_expired_cookies(quickstart: dict[str, Any], name: str) -> None:
    app = quickstart[name]
    generated = ask(app, "GET", "/one-time-token/generate", {"cookie": "sessionid=dead"})
    assert generated.status == 401
    assert ask(app, "GET", "/go", {"cookie": "sessionid=dead"}, **A).status == 401


def test_unverified_cookie_of_any_value_counts(quickstart: dict[str, Any]) -> None:
    app = OTTMiddleware(quickstart["site"], session="sessionid", on_switch="keep")
    body = json.dumps({"token": generate(app, "sessionid=dead")}).encode()
    answer = json.loads(ask(app, "POST", "/one-time-token/verify", JSON, body=body).body)
    assert (answer["user"], answer["session"]["userId"]) == (None, None)
    link = f"/?ott={generate(app, 'sessionid=dead')}"
    replaced = ask(app, "GET", link, {**NAVIGATION, **ADA})
    assert dict(replaced.headers)["set-cookie"].startswith("sessionid=dead;")


@pytest.mark.parametrize(
    ("audience", "headers", "status"),
    [
        ("https://b.example", {}, 200),
        (None, {}, 400),
        ("https://b.example", {"origin": "https://a.example"}, 400),
        ("https://b.example", {"cookie": "any=thing"}, 400),
    ],
)
def test_quickstart_link_is_redeemed_by_another_server(
    quickstart: dict[str, Any], audience: str | None, headers: dict[str, str], status: int
) -> None:
    app = quickstart["app"]
    body = json.dumps({"token": link_of(app), "audience": audience}).encode()
    answer = ask(app, "POST", "/one-time-token/verify", {**JSON, **headers}, body=body, **A)
    assert answer.status == status
    if status == 200:
        said = json.loads(answer.body)
        assert said["user"] == PERSON
        example = json.loads(blocks(DOCS / "http.md", "json")[0].text)
        assert list(said) == list(example)
        assert list(said["session"]) == list(example["session"])


def test_quickstart_sealed_sessions_hand_over(quickstart: dict[str, Any]) -> None:
    desk, archive = quickstart["wrapped_desk"], quickstart["wrapped_archive"]
    signed_in = ask(desk, "GET", "/sign-in", {})
    assert signed_in.body == b"Hello Ada"
    cookie = dict(signed_in.headers)["set-cookie"].split(";")[0]
    assert ask(desk, "GET", "/", {"cookie": cookie}).body == b"Hello Ada"
    link = dict(ask(desk, "GET", "/archive", {"cookie": cookie}).headers)["location"]
    path = link.removeprefix("https://archive.example")
    assert path.startswith("/?ott=")
    assert ask(archive, "GET", "/", {"remote-user": "u1"}).body == b"Hello guest"
    assert ask(archive, "GET", path, {}).body == b"Hello u1"
    signed_out = ask(desk, "GET", "/sign-out", {"cookie": cookie})
    assert signed_out.body == b"Hello guest"
    assert "Max-Age=0" in dict(signed_out.headers)["set-cookie"]


def test_quickstart_works_without_http(quickstart: dict[str, Any]) -> None:
    assert quickstart["person"] == PERSON
    app = quickstart["another_app"]
    assert quickstart["tokens"].verify(generate(app, ADA["cookie"])).user_id == "u1"


def test_quickstart_sites_are_safe_to_copy() -> None:
    wrapped = "".join(block.text for block in blocks(DOCS / "any_app.md", "python"))
    assert wrapped.count("OTTMiddleware(") == wrapped.count("public_origin=") == 6
    shared = [block.text for block in blocks(DOCS / "any_app.md") if 'backend="' in block.text]
    assert shared
    assert all("secret=" in text for text in shared)


def test_flask_app_hands_over_to_a_fastapi_app() -> None:
    names = run(DOCS / "sessions.md")
    shop, desk = names["shop"], names["wrapped_desk"]
    signed_in = ask(shop, "GET", "/sign-in", {})
    cookie = dict(signed_in.headers)["set-cookie"].split(";")[0]
    arrived = ask(desk, "GET", f"/?ott={generate(shop, cookie)}", NAVIGATION)
    assert arrived.status == 303
    there = dict(arrived.headers)["set-cookie"].split(";")[0]
    # Neither the phone number nor the cart came along.
    seen = json.loads(ask(desk, "GET", "/", {"cookie": there}).body)
    assert seen == {"user_id": "ada", "theme": "dark"}
    names["PEOPLE"].clear()
    refused = ask(desk, "GET", f"/?ott={generate(shop, cookie)}", NAVIGATION)
    assert refused.status == 400
    assert "set-cookie" not in dict(refused.headers)


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_example_adapter_keeps_the_contract(colour: str) -> None:
    contract = run(DOCS / "adapters.md")["TestTableSession"]()
    tests = [getattr(contract, name) for name in dir(contract) if name.startswith("test_")]
    applicable = [test for test in tests if callable(test)]
    assert len(applicable) > 8
    for test in applicable:
        test(colour)


def test_example_adapter_is_small_and_hands_over() -> None:
    block = blocks(DOCS / "adapters.md", "python")[0]
    assert len([line for line in block.text.splitlines() if line.strip()]) <= 20
    names = run(DOCS / "adapters.md")

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b""]

    wrapped = OTTMiddleware(app, session=names["TableSession"]({"6f1c09e2a7": "alice"}))
    answer = ask(wrapped, "GET", f"/?ott={generate(wrapped, 'sid=6f1c09e2a7')}", NAVIGATION)
    assert (answer.status, dict(answer.headers)["set-cookie"][:15]) == (303, "sid=6f1c09e2a7;")
    forged = ask(wrapped, "GET", "/one-time-token/generate", {"cookie": "sid=forged"})
    assert forged.status == 401


@pytest.fixture(scope="module")
def backends(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("backends"))
        patch.setattr(registry, "_factories", dict(registry._factories))
        namespace = run(DOCS / "backends.md")
        yield namespace
        namespace["sql"].close()


@pytest.fixture
def file_backend(backends: dict[str, Any]) -> Any:
    return backends["FileBackend"]


def test_example_backends_work(backends: dict[str, Any]) -> None:
    for name in ("sql", "of_metadata", "mapped"):
        backends[name].put("k", b"v", expires_at=4e9, owner="o", limit=None)
        assert backends[name].take("k") == b"v"
    for given in (backends["Shelf"](), "shelf://"):
        tokens = OneTimeTokens(given, sessions=CookieSession("sid"))
        token = tokens.generate(Session(id="1", token="cookie"))
        assert tokens.verify(token).token == "cookie"
    backends["of_metadata"].close()
    for colour in ("sync", "async"):
        backends["TestMine"]().test_of_many_takers_one_wins(colour)


def test_migration_makes_the_table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (block,) = blocks(DOCS / "backends.md", "py")
    engine = create_engine(f"sqlite:///{tmp_path}/tokens.db")
    with engine.begin() as connection:
        op = types.SimpleNamespace(
            get_bind=lambda: connection,
            drop_table=lambda name: connection.exec_driver_sql(f"DROP TABLE {name}"),
        )
        monkeypatch.setitem(sys.modules, "alembic", types.SimpleNamespace(op=op))
        migration: dict[str, Any] = {}
        run_block(block, migration)
        migration["upgrade"]()
    backend = SQLAlchemyBackend(engine)
    backend.put("k", b"v", expires_at=4e9, owner="o", limit=1)
    assert backend.take("k") == b"v"
    with engine.begin() as connection:
        migration["downgrade"]()
    assert inspect(engine).get_table_names() == []
    engine.dispose()


LATER = {"expires_at": 4e9, "owner": "o", "limit": None}


def test_example_backend_keeps_the_contract(file_backend: Any, tmp_path: Path) -> None:
    one, two = file_backend(tmp_path / "tokens"), file_backend(tmp_path / "tokens")
    one.put("k", b"v", **LATER)
    with pytest.raises(KeyTaken):
        two.put("k", b"other", **LATER)
    assert (two.take("k"), one.take("k")) == (b"v", None)
    for key in "abc":
        one.put(key, b"v", expires_at=4e9, owner="p", limit=2)
    one.put("d", b"v", **LATER)
    assert one.take("a") is None
    assert (two.revoke("p"), two.take("b"), two.take("d")) == (2, None, b"v")
    one.put("old", b"v", expires_at=time.time() - 1, owner="q", limit=None)
    assert (one.revoke("q"), one.take("old")) == (0, None)
    one.put("old", b"v", expires_at=time.time() - 1, owner="q", limit=None)
    one.put("old", b"new", **LATER)
    assert one.take("old") == b"new"


def test_example_backend_has_one_winner(file_backend: Any, tmp_path: Path) -> None:
    backends = [file_backend(tmp_path / "tokens") for _ in range(2)]
    with ThreadPoolExecutor(8) as threads:
        for turn in range(10):
            backends[0].put(str(turn), b"v", **LATER)
            takes = [backends[i % 2].take for i in range(16)]
            taken = list(threads.map(lambda take, key=str(turn): take(key), takes))
            assert taken.count(b"v") == 1
            assert taken.count(None) == 15


def test_example_backend_joins_two_sides(file_backend: Any, tmp_path: Path) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b"there"]

    sides = [
        OTTMiddleware(
            app,
            session=CookieSession("sid", validate=lambda values: {}),
            backend=file_backend(tmp_path / "tokens"),
            store_token="hashed",
        )
        for _ in range(2)
    ]
    token = generate(sides[0], "sid=1")
    assert token.encode() not in (tmp_path / "tokens").read_bytes()
    answer = ask(sides[1], "GET", f"/?ott={token}", NAVIGATION)
    assert (answer.status, dict(answer.headers)["set-cookie"][:6]) == (303, "sid=1;")


def test_reference_lists_each_exported_name() -> None:
    pages = "\n".join(page.read_text() for page in DOCS.glob("*.md"))
    names = re.findall(
        r"^\.\. auto(?:class|exception|function):: ([\w.]+)$", pages, flags=re.MULTILINE
    )
    documented = {name if "." in name else f"ott_middleware.{name}" for name in names}
    assert public().keys() <= documented


def test_link_of_the_mail_signs_in() -> None:
    document = run(DOCS / "mail_links.md")
    app, outbox = document["app"], document["outbox"]
    host = {"host": "shop.example", "scheme": "https"}
    form = {**NAVIGATION, "content-type": "application/x-www-form-urlencoded"}
    for address in (b"ada%40example.com", b"eve%40example.com"):
        asked = ask(app, "POST", "/sign-in", form, body=b"address=" + address, **host)
        assert b"look into your mailbox" in asked.body
    (message,) = outbox
    target = re.search(r"https://shop.example(/account\?ott=confirm\.\S+)", str(message))
    assert target is not None
    page = ask(app, "GET", target[1], NAVIGATION, **host)
    assert b'<p class="site">Shop</p>' in page.body
    nonce = re.search(rb'value="([^"]*)"', page.body)
    assert nonce is not None
    cookie = dict(page.headers)["set-cookie"].partition(";")[0]
    form |= {"origin": "https://shop.example", "cookie": cookie}
    pressed = ask(app, "POST", target[1], form, body=b"nonce=" + nonce[1], **host)
    assert (pressed.status, dict(pressed.headers)["location"]) == (303, "./account")
    session = next(v for n, v in pressed.headers if n == "set-cookie" and "ott_session" in v)
    answer = ask(app, "GET", "/account", {"cookie": session.partition(";")[0]}, **host)
    assert json.loads(answer.body) == {"hello": "Ada"}


def test_own_page_and_language(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(languages, "LANGUAGES", dict(languages.LANGUAGES))
    wrapped = run(DOCS / "pages.md")["wrapped"]
    page = ask(wrapped, "GET", "/a?ott=dead&b=1", {**NAVIGATION, "accept-language": "it-CH"})
    assert page.status == 400
    text = page.body.decode()
    assert '<html lang="it" dir="ltr">' in text
    assert "<h1>Questo link non funziona più</h1>" in text
    assert '<a href="?b=1">Continua senza questo link</a>' in text
    assert "style-src 'self'" in dict(page.headers)["content-security-policy"]


def test_table_of_pages_has_each_page() -> None:
    rows = re.findall(r"^\| `(\w+)` \| .* \| (.+) \|$", (DOCS / "pages.md").read_text(), flags=re.M)
    assert dict(rows) == {
        name: page_texts.ENGLISH[name][0]  # type: ignore[literal-required]  # the names are its keys
        for name in get_args(page_texts.PageName)
    }


def test_link_without_code() -> None:
    page = DOCS / "links_without_code.md"
    (html,) = blocks(page, "html")
    target = html.text.partition('href="')[2].partition('"')[0]
    headers = {**NAVIGATION, "cookie": "sid=1", "sec-fetch-site": "same-origin"}
    answer = ask(run(page)["wrapped"], "GET", target, headers, **A)
    location = dict(answer.headers)["location"]
    assert (answer.status, location.partition("?ott=")[0]) == (303, "https://b.example/welcome")


def test_pull_handoff() -> None:
    page = run(DOCS / "pull_handoff.md")
    answer = ask(page["b"], "GET", "/account", NAVIGATION, **B)
    location = dict(answer.headers)["location"]
    assert answer.status == 303
    assert location.startswith(
        "https://a.example/one-time-token/generate?to=https%3A%2F%2Fb.example%2Fone-time-token"
    )
    assert ask(page["b"], "GET", "/", NAVIGATION, **B).body == b"Your account"


def leaves(error: type[RequestError]) -> list[type[RequestError]]:
    return [leaf for each in error.__subclasses__() for leaf in leaves(each)] or [error]


def test_error_table_lists_each_response() -> None:
    table = re.findall(r"^\| (\d+) \| `(\w+)` \|", (DOCS / "http.md").read_text(), flags=re.M)
    real = {(str(e.status), e.code) for e in leaves(RequestError)}
    assert sorted(table) == sorted(real)


@pytest.mark.parametrize(
    ("name", "page", "site", "attributes"),
    [
        ("app", "https://www.shop.example", "same-site", "Secure; HttpOnly; SameSite=Lax"),
        (
            "app_for_partners",
            "https://partner.example",
            "cross-site",
            "Secure; HttpOnly; SameSite=None; Partitioned",
        ),
    ],
)
def test_front_end_on_another_origin(
    name: str, page: str, site: str, attributes: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = run(DOCS / "front_end.md")[name]
    api = {"host": "api.shop.example", "scheme": "https"}
    token = generate(app, "sid=6f1c09e2", **api)
    headers = {**JSON, "origin": page, "sec-fetch-site": site, "sec-fetch-mode": "cors"}
    body = json.dumps({"token": token}).encode()
    answer = ask(app, "POST", "/one-time-token/verify", headers, body=body, **api)
    sent = dict(answer.headers)
    assert (answer.status, json.loads(answer.body)["user"]) == (200, {"id": "ada"})
    assert sent["set-cookie"] == f"sid=6f1c09e2; Path=/; {attributes}"
    assert sent["access-control-allow-origin"] == page
    assert caplog.records == []


def test_api_clients() -> None:
    page = run(DOCS / "api_clients.md")
    api = {"host": "api.shop.example", "scheme": "https"}
    claims = {"sub": "ada", "aud": "https://api.shop.example", "exp": time.time() + 60, "jti": "1"}
    bearer = {"authorization": f"Bearer {jwt.encode(claims, page['KEY'], 'HS256')}"}
    other = {**claims, "aud": "https://other.example"}
    leaked = {"authorization": f"Bearer {jwt.encode(other, page['KEY'], 'HS256')}"}
    for name in ("app", "web"):
        app = page[name]
        assert ask(app, "GET", "/one-time-token/generate", leaked, **api).status == 401
        generated = ask(app, "GET", "/one-time-token/generate", bearer, **api)
        token = json.loads(generated.body)["token"]
        opened = ask(app, "GET", f"/prices?ott={token}", NAVIGATION, **api)
        assert opened.status == (400 if name == "app" else 303)
        if name == "app":
            called = ask(app, "GET", f"/prices?ott={token}", FETCH, **api)
            assert json.loads(called.body) == {"for": "ada"}
            continue
        cookie = {"cookie": dict(opened.headers)["set-cookie"].partition(";")[0]}
        assert json.loads(ask(app, "GET", "/prices", cookie, **api).body) == {"for": "ada"}
        assert (
            ask(app, "GET", "/one-time-token/generate", {**cookie, **leaked}, **api).status == 401
        )


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_first_line_names_the_reader(page: Path) -> None:
    if page.name == "changelog.md":  # includes a file of the repository
        return
    lines = page.read_text(encoding="utf-8").splitlines()
    below = next(at for at, line in enumerate(lines) if line.startswith("# ")) + 1
    first = next(line for line in lines[below:] if line)
    assert first.startswith("For "), first
