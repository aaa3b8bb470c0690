"""`python -m ott_middleware doctor`, over real stores and a peer on loopback."""

from __future__ import annotations

import contextlib
import re
import runpy
import sqlite3
import ssl
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest
import sqlalchemy
from services import POSTGRES, REDIS, absent, is_listening

from ott_middleware import CookieSession, OTTMiddleware, SQLAlchemyBackend, WSGIMiddleware
from ott_middleware.doctor import main
from ott_middleware.doctor.peer import _unreachable

SECRET = "a secret of both of the two sites"
WRAPPED_AS_SERVED = """
from ott_middleware import *
served = OTTMiddleware(lambda e, s: [], interface="wsgi", session="sid")
"""
BAD_LAYER = """
from starlette.applications import Starlette
from ott_middleware import *
app = Starlette()
app.add_middleware(OTTMiddleware, session=7)
"""
Start = Callable[..., Any]


class Adapter(CookieSession):
    """Records what is done with sessions: nothing, for a probe."""

    def __init__(self, **options: Any) -> None:
        super().__init__("sid", renews_key=True, **options)
        self.asked: list[str] = []

    def resolve(self, session: Any) -> Any:
        self.asked.append("resolve")
        return super().resolve(session)

    def establish(self, session: Any, request: Any) -> Any:
        self.asked.append("establish")
        return super().establish(session, request)


def page(environ: dict[str, Any], start: Start) -> list[bytes]:
    start("200 OK", [("Content-Type", "text/plain")])
    return [b"a page"]


class Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def served(app: Any) -> Iterator[str]:
    """Serve an app on loopback; its URL."""
    server: WSGIServer = make_server("127.0.0.1", 0, app, handler_class=Quiet)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


@pytest.fixture
def redis_url() -> Iterator[str]:
    address = urlsplit(REDIS)
    if not is_listening(address.hostname or "127.0.0.1", address.port or 6379):
        absent("no Redis: set OTT_TEST_REDIS_URL")
    return f"{REDIS}?prefix=doctor{uuid.uuid4().hex[:8]}"


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/tokens.db"


class Doctor:
    """Runs the doctor over a module that it writes."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.capsys = capsys
        self.status = -1

    def write(self, source: str) -> str:
        name = f"shop_{uuid.uuid4().hex[:8]}"
        (self.folder / f"{name}.py").write_text(source)
        return name

    def run(self, target: str, *arguments: str) -> str:
        self.status = main(["doctor", target, *arguments])
        text = self.capsys.readouterr().out
        assert SECRET not in text
        return text

    def site(self, options: str, *arguments: str, page: str = "") -> str:
        name = self.write(
            "import time\n"
            "from ott_middleware import *\n"
            "from ott_middleware import RedisBackend, SQLAlchemyBackend\n"
            "def page(environ, start):\n"
            f"    start('200 OK', [{page}])\n"
            "    return [b'']\n"
            f"options = dict(session=CookieSession('sid', renews_key=True), {options})\n"
            "app = OTTMiddleware(page, interface='wsgi', **options)\n"
        )
        return self.run(f"{name}:app", *arguments)


@pytest.fixture
def doctor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Doctor:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return Doctor(tmp_path, capsys)


def peer_of(store: str, **options: Any) -> WSGIMiddleware:
    options = {"session": Adapter(), "secret": SECRET, "store_token": "hashed", **options}
    return OTTMiddleware(page, interface="wsgi", backend=store, **options)


def options_of(store: str, peer: str, more: str = "") -> str:
    return (
        f"backend={store!r}, secret={SECRET!r}, store_token='hashed', handoff_targets=[{peer!r}], "
        f"public_origin='https://a.example', {more}"
    )


class TestPair:
    @pytest.mark.parametrize("base_path", ["", "/api/auth"])
    def test_works(self, doctor: Doctor, redis_url: str, base_path: str) -> None:
        adapter = Adapter()
        with served(peer_of(redis_url, session=adapter, base_path=base_path)) as peer:
            text = doctor.site(options_of(redis_url, peer), "--peer", peer + base_path)
        assert doctor.status == 0, text
        assert "failed" not in text
        for line in (
            "ok       app: WSGIMiddleware, CookieSession, RedisBackend, fingerprint ",
            "ok       store: RedisBackend: a put and a take took ",
            "ok       store: Redis has maxmemory-policy noeviction",
            "ok       clock: as that of the store",
            "ok       clock: as that of the peer",
            "ok       site: public_origin https://a.example",
            f"ok       targets: {peer} is listed",
            "ok       cookies: cookie sid is HttpOnly, SameSite=Lax",
            "ok       peer: reaches this site's store, and opens its tokens",
            f"ok       peer: redeems links to {peer}",
        ):
            assert line in text
        # No session was looked for or made, and nothing stays in the store.
        assert adapter.asked == []

    def test_nothing_stays_in_the_store(self, doctor: Doctor, sqlite_url: str) -> None:
        with served(peer_of(sqlite_url, secret="of another site, not of this")) as peer:
            doctor.site(options_of(sqlite_url, peer), "--peer", peer)
        with contextlib.closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as db:
            (table,) = db.execute("SELECT name FROM sqlite_master WHERE type='table'").fetchone()
            assert db.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)

    @pytest.mark.parametrize(
        ("changes", "line"),
        [
            (
                {"secret": "another secret of the other site"},
                "(a list of secrets for a rotation) (documentation, Errors: unreadable_token)",
            ),
            ({"secret": [SECRET, "an older secret, rotated away"]}, "redeems links to"),
            ({"store_token": "plain"}, "has store_token='plain': give both sites the same"),
            ({"store_token": lambda t: t[::-1]}, "does not find this site's tokens"),
            ({"base_path": "/api/auth"}, "its base_path is '/api/auth': --peer http://127.0.0.1"),
            ({"base_path": "/sso"}, "is no verify path (status 200): is the app there wrapped"),
            ({"public_origin": "https://c.example"}, "public_origin='http://127.0.0.1:"),
        ],
    )
    def test_peer_is_set_up_otherwise(
        self, doctor: Doctor, sqlite_url: str, changes: dict[str, Any], line: str
    ) -> None:
        with served(peer_of(sqlite_url, **changes)) as peer:
            text = doctor.site(options_of(sqlite_url, peer), "--peer", peer)
        assert line in text
        assert (doctor.status == 0) is ("redeems" in line)

    def test_other_prefix(self, doctor: Doctor, redis_url: str) -> None:
        with served(peer_of(redis_url + "x")) as peer:
            text = doctor.site(options_of(redis_url, peer), "--peer", peer)
        assert "failed   peer: does not find this site's tokens: it has another store" in text
        assert doctor.status == 1

    def test_memory_on_both_sides(self, doctor: Doctor) -> None:
        with served(peer_of("memory://")) as peer:
            text = doctor.site(options_of("memory://", peer), "--peer", peer)
        assert "failed   peer: the tokens are in the memory of this process (MemoryBackend)" in text
        assert "warning  log: handoff_targets" in text
        assert "warning  store: MemoryBackend is in the memory of one process" in text
        assert doctor.status == 1

    def test_memory_at_the_peer(self, doctor: Doctor, sqlite_url: str) -> None:
        with served(peer_of("memory://")) as peer:
            text = doctor.site(options_of(sqlite_url, peer), "--peer", peer)
        assert "does not find this site's tokens" in text

    def test_store_of_the_peer_is_down(self, doctor: Doctor, sqlite_url: str) -> None:
        with served(peer_of("redis://127.0.0.1:1")) as peer:
            text = doctor.site(options_of(sqlite_url, peer), "--peer", peer)
        assert "failed   peer: cannot reach its own store (BACKEND_UNAVAILABLE)" in text

    def test_store_of_this_site_is_down(self, doctor: Doctor, sqlite_url: str) -> None:
        with served(peer_of(sqlite_url)) as peer:
            text = doctor.site(options_of("redis://127.0.0.1:1", peer), "--peer", peer)
        assert "failed   store: RedisBackend: BackendUnavailable: redis failed with Conn" in text
        assert "warning  peer: not asked to redeem" in text
        assert doctor.status == 1

    def test_store_of_this_site_fails_meanwhile(
        self, doctor: Doctor, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from ott_middleware.doctor import peer as module
        from ott_middleware.errors import BackendUnavailable

        async def fails(*_: object, **__: object) -> None:
            raise BackendUnavailable("gone meanwhile")

        monkeypatch.setattr(module, "put_probe", fails)
        with served(peer_of(sqlite_url)) as peer:
            text = doctor.site(options_of(sqlite_url, peer), "--peer", peer)
        assert "failed   store: BackendUnavailable: gone meanwhile" in text

    def test_clock_of_this_site_is_wrong(self, doctor: Doctor, redis_url: str) -> None:
        with served(peer_of(redis_url)) as peer:
            store = f"RedisBackend({redis_url!r}, clock=lambda: time.time() - 600)"
            options = options_of("STORE", peer).replace("'STORE'", store)
            text = doctor.site(options, "--peer", peer)
        for whose in ("store", "peer"):
            assert re.search(
                rf"failed   clock: this site's clock is (59|60)\d s behind that of the {whose}",
                text,
            )
        # What else the peer says would mislead.
        assert "not asked to redeem: see to this site's store and clock first" in text
        assert "by NTP" in text

    def test_clock_is_somewhat_wrong(self, doctor: Doctor, redis_url: str) -> None:
        store = f"RedisBackend({redis_url!r}, clock=lambda: time.time() + 20)"
        text = doctor.site(f"backend={store}, secret={SECRET!r}")
        assert re.search(r"warning  clock: this site's clock is (19|20) s ahead of that of", text)
        assert doctor.status == 0

    def test_targets_do_not_list_the_peer(self, doctor: Doctor, sqlite_url: str) -> None:
        with served(peer_of(sqlite_url)) as peer:
            options = options_of(sqlite_url, "https://c.example")
            text = doctor.site(options, "--peer", peer)
            assert f"handoff_targets=['{peer}']" in text
            assert doctor.status == 1
            own = options_of(sqlite_url, "https://c.example").replace("https://a.example", peer)
            assert "is this site's own origin" in doctor.site(own, "--peer", peer)


class TestPeer:
    def ask(self, doctor: Doctor, store: str, peer: str) -> str:
        text = doctor.site(options_of(store, "https://b.example"), "--peer", peer)
        assert doctor.status == 1
        return text

    def test_nothing_listens(self, doctor: Doctor, sqlite_url: str) -> None:
        text = self.ask(doctor, sqlite_url, "http://127.0.0.1:1")
        assert "http://127.0.0.1:1 cannot be reached (nothing listens there)" in text

    def test_disappears_meanwhile(
        self, doctor: Doctor, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from ott_middleware.doctor import peer as module

        verify = module._Site.verify

        async def once(site: Any, body: dict[str, str]) -> Any:
            if body:
                raise _unreachable(TimeoutError())
            return await verify(site, body)

        monkeypatch.setattr(module._Site, "verify", once)
        with served(peer_of(sqlite_url)) as peer:
            text = self.ask(doctor, sqlite_url, peer)
        assert "cannot be reached (no response in time)" in text

    def test_disappears_while_its_path_is_looked_for(
        self, doctor: Doctor, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from ott_middleware.doctor import peer as module

        verify, urls = module._Site.verify, list[str]()

        async def once(site: Any, body: dict[str, str]) -> Any:
            urls.append(site.url)
            if len(urls) > 1:
                raise _unreachable(TimeoutError())
            return await verify(site, body)

        monkeypatch.setattr(module._Site, "verify", once)
        with served(page) as peer:
            text = self.ask(doctor, sqlite_url, peer)
        assert "cannot be reached (no response in time)" in text
        assert len(urls) == 2

    def test_no_tls_there(self, doctor: Doctor, sqlite_url: str) -> None:
        with served(page) as peer:
            text = self.ask(doctor, sqlite_url, peer.replace("http:", "https:"))
        assert "cannot be reached" in text

    @pytest.mark.parametrize(
        ("failure", "what"),
        [
            (ssl.SSLCertVerificationError(), "its certificate is not trusted"),
            (ssl.SSLError(), "no TLS there"),
            (TimeoutError(), "no response in time"),
            (OSError(), "OSError"),
        ],
    )
    def test_failures(self, failure: Exception, what: str) -> None:
        assert what in _unreachable(failure).what

    @pytest.mark.parametrize(
        "url", ["b.example", "ftp://b.example", "https://b.example/?x", "https://b.example/#x"]
    )
    def test_no_url(self, doctor: Doctor, sqlite_url: str, url: str) -> None:
        assert "failed   peer: no URL of a site" in self.ask(doctor, sqlite_url, url)

    def test_http_without_tls(self, doctor: Doctor, sqlite_url: str) -> None:
        text = self.ask(doctor, sqlite_url, "http://no-such-host.invalid")
        assert "failed   peer: http://no-such-host.invalid is http" in text

    @pytest.mark.parametrize("location", ["https://www.b.example/x", "/elsewhere"])
    def test_redirects(self, doctor: Doctor, sqlite_url: str, location: str) -> None:
        def redirect(environ: dict[str, Any], start: Start) -> list[bytes]:
            start("301 Moved", [("Location", location)])
            return [b""]

        with served(redirect) as peer:
            text = self.ask(doctor, sqlite_url, peer)
        to = " to https://www.b.example" if "www" in location else ""
        assert f"{peer} redirects{to}: pass the URL" in text

    @pytest.mark.parametrize(
        ("body", "date"), [(b"<p>", "no date"), (b"[1]", ""), (b'{"code": 7}', "x")]
    )
    def test_is_not_wrapped(self, doctor: Doctor, sqlite_url: str, body: bytes, date: str) -> None:
        def other(environ: dict[str, Any], start: Start) -> list[bytes]:
            start("404 Not Found", [("Content-Type", "text/html"), ("Date", date)])
            return [body]

        with served(other) as peer:
            text = self.ask(doctor, sqlite_url, peer)
        assert "is no verify path (status 404): is the app there wrapped" in text

    def test_says_something_else(self, doctor: Doctor, sqlite_url: str) -> None:
        inner = peer_of(sqlite_url)

        def limited(environ: dict[str, Any], start: Start) -> Any:
            if environ["CONTENT_LENGTH"] == "2":
                return inner(environ, start)
            start("429 Too Many Requests", [])
            return [b'{"code": "TOO_MANY_REQUESTS"}']

        with served(limited) as peer:
            text = self.ask(doctor, sqlite_url, peer)
        assert "failed   peer: responds 429 TOO_MANY_REQUESTS" in text


class TestStore:
    def test_evicting_redis(self, doctor: Doctor, tmp_path: Path) -> None:
        from backends.redis_servers import Server  # type: ignore[import-not-found]

        home = tmp_path / "redis"
        home.mkdir()
        server = Server(home, "--maxmemory-policy", "allkeys-lru")
        server.start()
        try:
            text = doctor.site(f"backend={server.url!r}, secret={SECRET!r}")
        finally:
            server.stop()
        assert "warning  store: Redis has maxmemory-policy allkeys-lru, and drops live" in text
        assert "CONFIG SET maxmemory-policy noeviction" in text
        assert doctor.status == 0

    def test_missing_table(self, doctor: Doctor) -> None:
        address = urlsplit(POSTGRES)
        if not is_listening(address.hostname or "127.0.0.1", address.port or 5432):
            absent("no PostgreSQL: set OTT_TEST_POSTGRES_URL")
        table = f"ott_{uuid.uuid4().hex[:8]}"
        store = f"SQLAlchemyBackend({POSTGRES!r}, table={table!r})"
        text = doctor.site(f"backend={store}, secret={SECRET!r}")
        assert "UndefinedTable (42P01): call create_table()" in text
        assert doctor.status == 1
        made = f"backend=(b := {store}, b.create_table())[0], secret={SECRET!r}"
        try:
            text = doctor.site(made)
            assert "ok       clock: as that of the store" in text
            assert doctor.status == 0
        finally:
            engine = sqlalchemy.create_engine(POSTGRES)
            with engine.begin() as connection:
                connection.exec_driver_sql(f"DROP TABLE {table}")
            engine.dispose()

    def test_no_rights(self, doctor: Doctor) -> None:
        address = urlsplit(POSTGRES)
        if not is_listening(address.hostname or "127.0.0.1", address.port or 5432):
            absent("no PostgreSQL: set OTT_TEST_POSTGRES_URL")
        name = f"ott_{uuid.uuid4().hex[:8]}"
        engine = sqlalchemy.create_engine(POSTGRES, isolation_level="AUTOCOMMIT")
        SQLAlchemyBackend(engine, table=name).create_table()
        with engine.connect() as connection:
            connection.exec_driver_sql(f"CREATE ROLE {name} LOGIN")
        url = engine.url.set(username=name).render_as_string(hide_password=False)
        try:
            text = doctor.site(f"backend=SQLAlchemyBackend({url!r}, table={name!r})")
        finally:
            with engine.connect() as connection:
                connection.exec_driver_sql(f"DROP TABLE {name}")
                connection.exec_driver_sql(f"DROP ROLE {name}")
            engine.dispose()
        assert "InsufficientPrivilege (42501) at " in text
        assert "may this user read and write there?" in text

    def test_wrong_port_and_password(self, doctor: Doctor) -> None:
        text = doctor.site(
            f"backend='postgresql+psycopg://u:hunter2@127.0.0.1:1/d', secret={SECRET!r}"
        )
        assert "failed   store: SQLAlchemyBackend: BackendUnavailable" in text
        assert "hunter2" not in text

    def test_facts_that_cannot_be_read(self, doctor: Doctor) -> None:
        text = doctor.site(
            f"secret={SECRET!r}, backend=type('Odd', (MemoryBackend,), "
            "{'ask_server': lambda self: 1 / 0, 'shared': True})()"
        )
        assert "warning  store: its settings cannot be read (ZeroDivisionError)" in text

    def test_slow(self, doctor: Doctor) -> None:
        text = doctor.site(
            "backend=type('Slow', (MemoryBackend,), {'take': lambda self, key: "
            "(time.sleep(0.6), MemoryBackend.take(self, key))[1]})()"
        )
        assert "look at the way to the store" in text

    def test_without_secret(self, doctor: Doctor, sqlite_url: str) -> None:
        text = doctor.site(f"backend={sqlite_url!r}")
        assert "warning  log: SQLiteBackend without secret=" in text

    def test_token_service_of_the_app(self, doctor: Doctor) -> None:
        text = doctor.site(
            "tokens=type('Mine', (), {n: lambda self, *a: None for n in ('generate', 'verify', "
            "'revoke', 'agenerate', 'averify', 'arevoke')})()"
        )
        assert "warning  store: tokens= is a service of the app's own" in text
        assert doctor.status == 0


class TestSite:
    def test_public_origin_is_http(self, doctor: Doctor) -> None:
        text = doctor.site("public_origin='http://a.example', handoff_targets=['http://b.example']")
        assert "failed   site: public_origin http://a.example is http" in text
        assert "warning  targets: http://b.example is http" in text
        assert doctor.status == 1

    def test_no_public_origin(self, doctor: Doctor) -> None:
        text = doctor.site("")
        assert "warning  site: no public_origin=" in text
        assert "ok       targets: none" in text

    def test_hosts_of_the_framework(self, doctor: Doctor) -> None:
        name = doctor.write(
            "from flask import Flask\n"
            "from ott_middleware import OTTMiddleware\n"
            "app = Flask(__name__)\n"
            "app.config.update(SERVER_NAME='a.example', SECRET_KEY='x' * 32)\n"
            "app.wsgi_app = OTTMiddleware(app.wsgi_app)\n"
        )
        text = doctor.run(name)
        assert "ok       site: its own by the framework's host names: a.example" in text

    def test_hosts_that_fail(self, doctor: Doctor) -> None:
        text = doctor.run(
            doctor.write(
                "from ott_middleware import *\n"
                "class Odd(CookieSession):\n"
                "    def own_hosts(self):\n"
                "        raise ZeroDivisionError\n"
                "app = OTTMiddleware(lambda environ, start: [], interface='wsgi',\n"
                "    session=Odd('sid', renews_key=True))\n"
            )
        )
        assert "warning  site: no public_origin=" in text

    @pytest.mark.parametrize(
        ("cookie", "line"),
        [
            ("sid=1; Path=/shop; HttpOnly", "warning  log: CookieSession: the app sets its cookie"),
            (
                "sid=1; Path=/",
                "the app's cookie sid: scripts can read it (SESSION_COOKIE_HTTPONLY of Django and",
            ),
            (
                "sid=1; Path=/",
                "it goes over http as well (SESSION_COOKIE_SECURE, or https_only=True",
            ),
            (
                "sid=1; HttpOnly; Secure; SameSite=None",
                "the app's cookie sid: it goes with requests of all sites (SESSION_COOKIE_SAMESITE",
            ),
            ("sid=1; HttpOnly; Secure", "ok       cookies: the app's cookie sid is HttpOnly"),
            ("other=1", "ok       cookies: cookie sid is HttpOnly, SameSite=Lax"),
        ],
    )
    def test_cookie_of_the_app(self, doctor: Doctor, cookie: str, line: str) -> None:
        text = doctor.site("public_origin='https://a.example'", page=f"('Set-Cookie', {cookie!r})")
        assert line in text

    def test_cookie_of_the_adapter(self, doctor: Doctor) -> None:
        name = doctor.write(
            "from ott_middleware import *\n"
            "app = OTTMiddleware(lambda environ, start: 1 / 0, interface='wsgi',\n"
            "    session=CookieSession('sid', renews_key=True, secure=False, httponly=False))\n"
        )
        text = doctor.run(name)
        assert "warning  cookies: cookie sid: scripts can read it" in text
        assert "it goes over http as well" in text
        assert "warning  cookies: GET / fails in process (ZeroDivisionError)" in text

    def test_asgi(self, doctor: Doctor) -> None:
        name = doctor.write(
            "from starlette.applications import Starlette\n"
            "from starlette.responses import PlainTextResponse\n"
            "from starlette.routing import Route\n"
            "from ott_middleware import *\n"
            "def page(request):\n"
            "    response = PlainTextResponse('')\n"
            "    response.set_cookie('sid', '1', path='/shop')\n"
            "    return response\n"
            "app = Starlette(routes=[Route('/', page)])\n"
            "app.add_middleware(OTTMiddleware, session=CookieSession('sid', renews_key=True),\n"
            "    public_origin='http://localhost:8000')\n"
        )
        text = doctor.run(f"{name}:app")
        assert "ok       app: ASGIMiddleware, CookieSession, MemoryBackend" in text
        assert "pass path='/shop'" in text
        assert doctor.status == 0


class TestLoading:
    @pytest.mark.parametrize(
        ("source", "target", "line"),
        [
            ("", "{}:app", "has no app"),
            ("", "{}", "has no app"),
            ("", "{}.py", "is no module|there is no module"),
            ("", "./{}:app", "is no module; write module:app"),
            ("", "no_{}:app", "there is no module no_"),
            ("", "{}:1 + 1", "names no app"),
            ("", "{}:app(", "names no app"),
            ("import a_package_that_is_not_there", "{}:app", "No module named 'a_package"),
            ("from os import nothing_of_the_kind", "{}:app", "cannot import name"),
            ("import os; os.environ['OTT_NOT_SET']", "{}:app", "'OTT_NOT_SET' .an environment"),
            ("raise ValueError('hunter2')", "{}:app", r"ValueError \(.*line 1\)"),
            ("raise SystemExit(3)", "{}:app", "cannot be imported: SystemExit"),
            ("def app(:", "{}:app", "SyntaxError: .* line 1"),
            ("from ott_middleware import *\nOTTMiddleware(1)", "{}:app", "ConfigurationError: app"),
            ("def app(environ, start): ...", "{}:app", "is not wrapped: app = OTTMiddleware"),
            ("def create_app(): ...", "{}:create_app", "write '.*:create_app\\(\\)'"),
            ("def create_app(): 1 / 0", "{}:create_app()", r"failed: ZeroDivisionError \("),
            (
                WRAPPED_AS_SERVED,
                "{}:app",
                "has no app; it has served",
            ),
            (
                BAD_LAYER,
                "{}:app",
                "ConfigurationError: session",
            ),
        ],
    )
    def test_fails_in_one_line(self, doctor: Doctor, source: str, target: str, line: str) -> None:
        name = doctor.write(source)
        text = doctor.run(target.format(name))
        assert doctor.status == 1
        # What the package logged before comes before.
        text = text.splitlines()[-1]
        assert "Traceback" not in text
        assert text.startswith("failed   app: ")
        assert re.search(line, text), text
        assert "hunter2" not in text

    def test_factory_with_arguments(self, doctor: Doctor) -> None:
        name = doctor.write(
            "from ott_middleware import *\n"
            "class Factories:\n"
            "    @staticmethod\n"
            "    def create(name, debug=False):\n"
            "        return OTTMiddleware(lambda environ, start: [], interface='wsgi', "
            "session=CookieSession(name, renews_key=debug))\n"
        )
        text = doctor.run(f"{name}:Factories.create('sid', debug=True)")
        assert "ok       app: WSGIMiddleware, CookieSession" in text

    def test_default_name(self, doctor: Doctor) -> None:
        name = doctor.write(
            "from ott_middleware import *\n"
            "application = OTTMiddleware(lambda e, s: [], interface='wsgi', session='sid')\n"
        )
        text = doctor.run(name)
        assert "ok       app: WSGIMiddleware" in text
        assert "renews_key" in text  # what is logged when the app is wrapped

    def test_as_a_program(self, doctor: Doctor, sqlite_url: str) -> None:
        name = doctor.write("from ott_middleware import *\napp = 1\n")
        command = [sys.executable, "-m", "ott_middleware", "doctor", f"{name}:app"]
        run = subprocess.run(command, capture_output=True, text=True, cwd=doctor.folder, timeout=60)
        assert run.returncode == 1
        assert run.stdout.startswith("failed   app: ")
        assert run.stderr == ""

    def test_as_a_module(self, doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
        # In this process, where its branches are counted.
        monkeypatch.setattr(sys, "argv", ["ott_middleware", "doctor", "no_such_module:app"])
        with pytest.raises(SystemExit) as ended:
            runpy.run_module("ott_middleware", run_name="__main__")
        assert ended.value.code == 1
        runpy.run_module("ott_middleware.__main__", run_name="imported")
