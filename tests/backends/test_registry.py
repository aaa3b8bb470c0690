from __future__ import annotations

import importlib
import logging
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

import ott_middleware
from ott_middleware import (
    Backend,
    ConfigurationError,
    CookieSession,
    MemoryBackend,
    OneTimeTokens,
    OTTMiddleware,
    RedisBackend,
    SQLAlchemyBackend,
    SQLiteBackend,
    register_backend,
)
from ott_middleware.backends import registry
from ott_middleware.backends.registry import backend_of
from ott_middleware.options import Options

from .sync_async import AppCaller

SECRET = "sesame"


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_factories", dict(registry._factories))


@pytest.mark.parametrize(
    "url",
    ["memory://", "MEMORY://", "memory://?maxsize=7", "memory://?maxsize=7&max_bytes=9000"],
)
def test_memory(url: str) -> None:
    backend = backend_of(url)
    assert isinstance(backend, MemoryBackend)
    assert backend.maxsize == (7 if "7" in url else 100_000)


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("redis://127.0.0.1:1/0?prefix=mine", "Connection"),
        ("rediss://u:p@127.0.0.1:1", "SSLConnection"),
        ("Redis://127.0.0.1:1", "Connection"),
        ("valkey://127.0.0.1:1/3", "Connection"),
        ("valkeys://127.0.0.1:1", "SSLConnection"),
        ("redis+tls://127.0.0.1:1", "SSLConnection"),
        ("redis+ssl://127.0.0.1:1", "SSLConnection"),
        ("rediss+tcp://127.0.0.1:1", "SSLConnection"),
        ("unix:///run/redis.sock?db=2", "UnixDomainSocketConnection"),
        ("unix://:password@/run/redis.sock", "UnixDomainSocketConnection"),
        ("redis+unix:///run/redis.sock", "UnixDomainSocketConnection"),
        ("redis+socket:///run/redis.sock?db=1", "UnixDomainSocketConnection"),
        ("valkey+unix:///run/valkey.sock", "UnixDomainSocketConnection"),
    ],
)
def test_redis(url: str, kind: str) -> None:
    backend = backend_of(url)
    assert isinstance(backend, RedisBackend)
    assert backend._sync.pool.connection_class.__name__ == kind


@pytest.mark.parametrize(
    ("url", "driver"),
    [
        ("postgres://u:p@h/d", "postgresql+psycopg"),
        ("postgres+asyncpg://u:p@h/d", "postgresql+asyncpg"),
        ("PSQL://u:p@h/d", "postgresql+psycopg"),
        ("pgsql://u:p@h/d", "postgresql+psycopg"),
        ("mysql://u:p@h/d", "mysql+pymysql"),
        ("mariadb://u:p@h/d", "mariadb+pymysql"),
    ],
)
def test_sqlalchemy_spellings(url: str, driver: str) -> None:
    backend = backend_of(url)
    assert isinstance(backend, SQLAlchemyBackend)
    assert backend._engine.url.drivername == driver


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        (f"postgre://u:{SECRET}@h/d", "postgresql"),
        (f"postgressql://u:{SECRET}@h/d", "postgresql"),
        (f"postgresql:/u:{SECRET}@h/d", "postgresql"),
        (f"jdbc:postgresql://h/d?password={SECRET}", "postgresql"),
        ("sqllite:///tokens.db", "sqlite"),
        ("sqlite3:///tokens.db", "sqlite"),
        ("sqlite:/tokens.db", "sqlite"),
        (f"redis:/{SECRET}", "redis"),
        (f"redi://:{SECRET}@h", "redis"),
        (f"redis-sentinel://:{SECRET}@h", "redis"),
        (f"vlakey://:{SECRET}@h", "valkey"),
        (f"mysql2://u:{SECRET}@h/d", "mysql"),
        (f"maria://u:{SECRET}@h/d", "mariadb"),
        ("memory:", "memory"),
        ("memroy://", "memory"),
    ],
)
def test_misspelt_scheme_is_guessed(url: str, meant: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"did you mean {meant}://\?") as refused:
        backend_of(url)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("url", ["mongodb://h", "https://h", SECRET, "", "u:p@h", "tokens.db"])
def test_no_scheme_is_guessed_for_another_store(url: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        backend_of(url)
    assert "did you mean" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "cure"),
    [
        (f"redis:///{SECRET}.sock", "a socket is unix:///path"),
        ("unix://", "a socket needs its path"),
        (f"unix://{SECRET}", "a socket needs its path"),
        (f"redis+sentinel://:{SECRET}@h", r"pass Sentinel\(...\).master_for"),
        (f"rediss+cluster://:{SECRET}@h", "for a cluster a RedisCluster"),
        (f"redis+srv://:{SECRET}@h", "use redis://, rediss:// .TLS. or unix://"),
    ],
)
def test_redis_url_that_leads_nowhere_names_the_cure(url: str, cure: str) -> None:
    with pytest.raises(ConfigurationError, match=cure) as refused:
        backend_of(url)
    assert SECRET not in str(refused.value)


def test_middleware_and_the_service_take_urls(world: AppCaller) -> None:
    app = world.wrap(backend="memory://")
    token = world.generate(app).json["token"]
    assert [world.verify(app, token).status for _ in range(2)] == [200, 400]
    service = OneTimeTokens("memory://?maxsize=3", sessions=CookieSession("sid"))
    assert isinstance(service.backend, MemoryBackend)
    assert service.clock is service.backend.clock


def test_url_s_password_is_in_no_repr() -> None:
    url = f"redis://:{SECRET}@127.0.0.1:1/0"
    options = Options(session="sid", backend=url)
    assert SECRET not in repr(options)
    assert isinstance(options.backend, RedisBackend)


@pytest.mark.parametrize(
    "url",
    [
        f"nosuch://user:{SECRET}@host/path?{SECRET}",
        f"//user:{SECRET}@host",
        f"user:{SECRET}@host",
        SECRET,
        "",
        f"{SECRET}/://host",
        f"://{SECRET}",
        f"memory://{SECRET}",
        f"memory:///{SECRET}",
        f"memory://?maxsize={SECRET}",
        f"memory://?max_bytes={SECRET}",
        f"memory://?{SECRET}=1",
        f"sqlite://{SECRET}/path",
        f"sqlite:///path?{SECRET}",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        f"redis://:{SECRET}@host:port",
        f"raises://{SECRET}",
        f"imports://{SECRET}",
        f"makes://{SECRET}",
    ],
)
def test_bad_url_is_refused_without_being_shown(url: str) -> None:
    def raises(url: str) -> Backend:
        raise ValueError(f"can't parse {url}")

    def imports(url: str) -> Backend:
        raise ImportError(f"for {url}")

    register_backend("raises", raises)
    register_backend("imports", imports)
    register_backend("makes", lambda url: url)  # type: ignore[arg-type,return-value]  # wrong on purpose
    with pytest.raises(ConfigurationError) as refused:
        OTTMiddleware(lambda environ, start: [], session="sid", backend=url)
    # As a log would show it; the lines of this file are not of interest.
    shown = "".join(traceback.format_exception(refused.value)).replace(__file__, "")
    assert SECRET not in shown
    assert SECRET not in str(refused.value)


def test_unknown_scheme_names_the_known_ones() -> None:
    with pytest.raises(ConfigurationError) as refused:
        backend_of("nosuch://host")
    for known in ("memory", "sqlite", "redis", "rediss", "postgresql", "mysql", "register_backend"):
        assert known in str(refused.value)


def test_sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for url, path in (
        (f"sqlite:///{tmp_path}/absolute.db", tmp_path / "absolute.db"),
        ("sqlite:///relative%20to.db", tmp_path / "relative to.db"),
    ):
        backend = backend_of(url)
        assert isinstance(backend, SQLiteBackend)
        backend.put("key", b"value", expires_at=time.time() + 60, owner="o", limit=None)
        assert path.exists()
        assert backend.take("key") == b"value"
        backend.close()


def test_sqlalchemy(tmp_path: Path) -> None:
    backend = backend_of(f"sqlite+pysqlite:///{tmp_path}/tokens.db")
    assert isinstance(backend, SQLAlchemyBackend)
    backend.create_table()
    backend.put("key", b"value", expires_at=time.time() + 60, owner="o", limit=None)
    assert backend.take("key") == b"value"
    backend.close()


def test_missing_library_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in [name for name in sys.modules if name.startswith("ott_middleware.backends.sql")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    cure = r"pip install 'ott_middleware\[sqlalchemy\]'"
    for url in ("postgresql://u:p@host/d", "mysql+pymysql://host/d", "sqlite+aiosqlite:///path"):
        with pytest.raises(ConfigurationError, match=cure):
            backend_of(url)


@pytest.mark.skipif(sqlalchemy.__version__ < "2.1", reason="SQLAlchemy 2.0 imports without it")
@pytest.mark.parametrize(
    "make",
    ["ott_middleware.SQLAlchemyBackend", "OneTimeTokens(url, sessions=CookieSession('sid'))"],
)
def test_missing_part_of_a_library_says_what_to_install(make: str) -> None:
    # SQLAlchemy comes without what its asyncio part needs, unless one asks for it.
    program = f"""
import sys
sys.modules["greenlet"] = None
import ott_middleware
from ott_middleware import ConfigurationError, CookieSession, OneTimeTokens
url = "postgresql://u:p@host/d"
try:
    {make}
except (ConfigurationError, ImportError) as error:
    assert "pip install 'ott_middleware[sqlalchemy]'" in str(error), error
else:
    raise SystemExit("it was made")
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_names_are_all_listed() -> None:
    assert set(ott_middleware.__all__) <= set(dir(ott_middleware))


def test_password_is_not_shown_while_options_are_checked(world: AppCaller) -> None:
    # By what shows the variables of a traceback.
    with pytest.raises(ConfigurationError) as refused:
        world.wrap(backend=f"redis://:{SECRET}@127.0.0.1:1/0", base_path="bad")
    frames = [frame.f_locals.get("self") for frame, _ in traceback.walk_tb(refused.tb)]
    shown = [repr(options) for options in frames if isinstance(options, Options)]
    assert shown
    assert SECRET not in "".join(shown)


# Registering.


class Mine(MemoryBackend):
    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url


def test_scheme_of_one_s_own() -> None:
    register_backend("mine", Mine)
    for url in ("mine://user:Pass@Host/x?y#z", "mine+tls://host", "MINE://Host"):
        backend = backend_of(url)
        assert isinstance(backend, Mine)
        scheme, _, rest = url.partition(":")
        assert backend.url == f"{scheme.lower()}:{rest}"  # whole, but that schemes have no case


def test_scheme_can_have_a_factory_for_one_driver() -> None:
    class Other(Mine):
        pass

    register_backend("mine", Mine)
    register_backend("mine+other", Other)
    assert type(backend_of("mine+other://host")) is Other
    assert type(backend_of("mine+more://host")) is Mine


def test_scheme_belongs_to_the_last_that_registered() -> None:
    register_backend("redis", Mine)
    assert isinstance(backend_of("redis://host"), Mine)


@pytest.mark.parametrize("scheme", ["", "UPPER", "1st", "with space", "a://", None, 3])
def test_scheme_that_is_malformed_is_refused(scheme: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^scheme: "):
        register_backend(scheme, Mine)


def test_factory_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"^factory: 'mine'"):
        register_backend("mine", "mine")  # type: ignore[arg-type]  # wrong on purpose


def test_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def imports(url: str) -> Backend:
        importlib.import_module("a_package_that_is_not_there")
        return Mine(url)

    register_backend("mine", imports)
    with pytest.raises(ConfigurationError, match="needs a_package_that_is_not_there"):
        backend_of("mine://host")
    # The extra of the package would not help: another factory has taken the scheme over.
    register_backend("postgresql", imports)
    with pytest.raises(ConfigurationError, match="needs a_package_that_is_not_there; install it"):
        backend_of("postgresql+psycopg://host")


# Entry points.


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that announces two schemes."""
    (tmp_path / "ott_plugin.py").write_text(
        "from ott_middleware import MemoryBackend\n"
        "class Plugged(MemoryBackend):\n"
        "    def __init__(self, url):\n"
        "        super().__init__()\n"
    )
    info = tmp_path / "ott_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ott-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[ott_middleware.backends]\n"
        "plugged = ott_plugin:Plugged\n"
        "redis = ott_plugin:Plugged\n"
        "broken = ott_plugin:NoSuchName\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "ott_plugin", raising=False)
    importlib.invalidate_caches()
    return tmp_path


def test_entry_point_is_used_where_its_scheme_is(installed: Path) -> None:
    with pytest.raises(ConfigurationError, match="plugged"):
        backend_of("nosuch://host")  # listed, and not loaded
    assert "ott_plugin" not in sys.modules
    for url in ("plugged://host", "plugged+tls://host", "plugged://host"):
        assert type(backend_of(url)).__name__ == "Plugged"


def test_entry_point_does_not_replace_what_is_shipped(installed: Path) -> None:
    assert isinstance(backend_of("redis://127.0.0.1:1"), RedisBackend)


def test_entry_point_that_can_not_be_loaded_is_named(installed: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"ott_plugin:NoSuchName.*AttributeError"):
        backend_of(f"broken://{SECRET}@host")


# Other things than URLs.


def test_backend_object_is_used_as_it_is() -> None:
    backend = MemoryBackend()
    assert backend_of(backend) is backend


def test_backend_must_have_some_put_and_take() -> None:
    class Without(Backend):
        def put(self, *arguments: Any, **keywords: Any) -> None: ...

    with pytest.raises(ConfigurationError, match=r"Without defines neither take\(\) nor atake\(\)"):
        backend_of(Without())


def test_default_backend_is_memory(world: AppCaller, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        app = world.wrap()
    assert isinstance(app.flow.tokens.backend, MemoryBackend)


def test_client_libraries_are_imported_with_their_scheme() -> None:
    program = """
import sys
from ott_middleware.backends.registry import backend_of
backend_of("memory://")
assert not {"redis", "sqlalchemy", "django"} & set(sys.modules)
backend_of("redis://127.0.0.1:1")
assert "redis" in sys.modules and not {"sqlalchemy", "django"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
