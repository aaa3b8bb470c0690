"""PostgreSQL behind PgBouncer, in each of its modes and with each driver."""

from __future__ import annotations

import asyncio
import select
import socket
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
import sqlalchemy
from sqlalchemy import create_engine, event, make_url

from ott_middleware import ConfigurationError, SQLAlchemyBackend
from ott_middleware.backends.sqlalchemy import pooler
from ott_middleware.backends.sqlalchemy.engine import _connect_args, failures
from ott_middleware.errors import BackendUnavailable

from .bouncers import Bouncer, bouncer
from .sql_servers import Database, Line, database
from .sync_async import ROUNDS

DRIVERS = ("psycopg", "psycopg_async", "asyncpg")
MODES = ("session", "transaction", "statement")
# Of each driver in each mode; more where the races run in full.
TOKENS = 240 if ROUNDS >= 50 else 60
LATER: dict[str, Any] = {"expires_at": time.time() + 3_600, "owner": "owner", "limit": 1000}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with database("postgresql+psycopg", tmp_path_factory.mktemp("postgres")) as place:
        SQLAlchemyBackend(place.keeper, table=place.table).create_table()
        yield place


@pytest.fixture(scope="module", params=MODES)
def pooled(request: pytest.FixtureRequest, place: Database) -> Iterator[Bouncer]:
    with bouncer(place.url, request.param) as running:
        yield running


@pytest.fixture
def transactions(place: Database) -> Iterator[Bouncer]:
    with bouncer(place.url, "transaction", "query_wait_timeout = 60") as running:
        yield running


def backend_at(
    running: Bouncer | Line, driver: str, place: Database, query: str = "", timeout: float = 5
) -> SQLAlchemyBackend:
    url = running.url.set(drivername=f"postgresql+{driver}")
    text = url.render_as_string(hide_password=False) + query
    return SQLAlchemyBackend(text, table=place.table, timeout=timeout)


async def put(backend: SQLAlchemyBackend, key: str) -> None:
    await backend.aput(key, key.encode(), **LATER)


async def hand_over(backends: list[SQLAlchemyBackend], tokens: int) -> Counter[str]:
    """Put and take tokens, twenty at once, each put by one backend and taken by another."""
    results: Counter[str] = Counter()

    async def one(number: int) -> None:
        key = f"key {number}"
        try:
            await put(backends[number % len(backends)], key)
            taken = await backends[(number + 1) % len(backends)].atake(key)
            results["ok" if taken == key.encode() else "wrong"] += 1
        except Exception as error:
            results[f"{type(error).__name__}: {error}"] += 1

    for start in range(0, tokens, 20):
        await asyncio.gather(*(one(number) for number in range(start, start + 20)))
    for backend in backends:
        await backend.aclose()
    return results


@pytest.mark.parametrize("driver", DRIVERS)
def test_pooler_in_its_default_configuration(driver: str, pooled: Bouncer, place: Database) -> None:
    backends = [backend_at(pooled, driver, place) for _ in range(3)]
    assert asyncio.run(hand_over(backends, TOKENS)) == {"ok": TOKENS}


@pytest.mark.parametrize("driver", DRIVERS)
def test_pooler_makes_the_table(driver: str, pooled: Bouncer, place: Database) -> None:
    url = pooled.url.set(drivername=f"postgresql+{driver}")
    backend = SQLAlchemyBackend(url, table=f"{place.table}_made")

    async def main() -> None:
        await backend.acreate_table()
        await backend.acreate_table()
        await put(backend, "made")
        assert await backend.arevoke("owner") == 1
        await backend.aclose()

    asyncio.run(main())
    with place.keeper.begin() as connection:
        connection.exec_driver_sql(f"DROP TABLE {place.table}_made")


@pytest.mark.parametrize("driver", ["psycopg", "psycopg_async"])
def test_pooler_that_refuses_options_is_said_once(
    driver: str, transactions: Bouncer, place: Database, caplog: pytest.LogCaptureFixture
) -> None:
    backend = backend_at(transactions, driver, place)
    assert asyncio.run(hand_over([backend], 40)) == {"ok": 40}
    said = [record.getMessage() for record in caplog.records if "pooler" in record.getMessage()]
    assert len(said) == 1
    assert "ALTER ROLE … SET statement_timeout = '5s'" in said[0]
    # Once it is known, no connection tries again.
    refused = transactions.log.read_text().count("unsupported startup parameter")
    assert asyncio.run(hand_over([backend], 40)) == {"ok": 40}
    assert transactions.log.read_text().count("unsupported startup parameter") == refused


def test_pooler_that_ignores_options_is_no_warning(
    place: Database, caplog: pytest.LogCaptureFixture
) -> None:
    with bouncer(place.url, "transaction", "ignore_startup_parameters = options") as running:
        backend = backend_at(running, "psycopg", place)
        assert asyncio.run(hand_over([backend], 20)) == {"ok": 20}
    assert "pooler" not in caplog.text


def test_pooler_that_is_down_is_no_pooler_without_options(
    transactions: Bouncer, place: Database, caplog: pytest.LogCaptureFixture
) -> None:
    backend = backend_at(transactions, "psycopg", place)
    transactions.stop()
    with pytest.raises(BackendUnavailable, match="OperationalError"):
        backend.take("key")
    assert "pooler" not in caplog.text
    transactions.start()
    assert backend.take("key") is None
    backend.close()


@pytest.mark.parametrize("driver", DRIVERS)
def test_pooler_restarts(driver: str, transactions: Bouncer, place: Database) -> None:
    backend = backend_at(transactions, driver, place)

    async def main() -> None:
        for key in ("one", "two"):
            await put(backend, key)
            transactions.restart()
            assert await backend.atake(key) == key.encode()
        await backend.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("mode", MODES)
def test_server_restarts_behind_the_pooler(driver: str, mode: str, place: Database) -> None:
    line = Line(place.url)
    try:
        with bouncer(line.url, mode) as running:
            backend = backend_at(running, driver, place)

            async def main() -> None:
                await put(backend, "restarted")
                line.cut()
                await asyncio.sleep(0.1)  # for the farewell to reach the pooler
                assert await backend.atake("restarted") == b"restarted"
                # And where the pooler was asked to renew its connections.
                await put(backend, "reconnected")
                running.tell("RECONNECT")
                assert await backend.atake("reconnected") == b"reconnected"
                await backend.aclose()

            asyncio.run(main())
    finally:
        line.close()


@pytest.mark.parametrize("driver", DRIVERS)
def test_pooler_that_is_paused_is_given_up(
    driver: str, transactions: Bouncer, place: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = backend_at(transactions, driver, place, timeout=0.3)
    wait = psycopg.waiting.wait_async

    async def wait_shortly(*arguments: Any, timeout: Any = None, **more: Any) -> Any:
        # psycopg_async waits five seconds for what it asked the pooler to cancel.
        return await wait(*arguments, timeout=0.3 if timeout == 5.0 else timeout, **more)

    monkeypatch.setattr(psycopg.waiting, "wait_async", wait_shortly)

    async def main() -> None:
        await put(backend, "paused")
        transactions.tell("PAUSE")
        began = time.monotonic()
        with pytest.raises(BackendUnavailable):
            await backend.atake("paused")
        assert time.monotonic() - began < 20
        transactions.tell("RESUME")
        # The take never reached the server, or its reply was lost: both fail closed.
        assert await backend.atake("paused") in (b"paused", None)
        await put(backend, "resumed")
        assert await backend.atake("resumed") == b"resumed"
        await backend.aclose()

    asyncio.run(main())


def test_server_without_a_timeout_of_its_own_is_given_up_by_psycopg(place: Database) -> None:
    # As one that is frozen: the connection stays, and nothing comes.
    backend = SQLAlchemyBackend(place.url, table=place.table, timeout=0.2)
    event.listen(
        backend._engine,
        "connect",
        lambda connection, _: connection.execute("SET statement_timeout = 0"),
    )
    backend.put("silent", b"value", **LATER)
    with place.keeper.begin() as connection:
        connection.exec_driver_sql(f"LOCK TABLE {place.table} IN ACCESS EXCLUSIVE MODE")
        began = time.monotonic()
        with pytest.raises(BackendUnavailable, match="OperationalError"):
            backend.take("silent")
        assert time.monotonic() - began < 3
    # The server may do it once the lock is gone: fails closed.
    assert backend.take("silent") in (b"value", None)
    backend.close()


@pytest.mark.parametrize("driver", DRIVERS)
def test_connection_is_looked_at_after_silence_only(
    driver: str, transactions: Bouncer, place: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr("ott_middleware.backends.sqlalchemy.alive.time.monotonic", lambda: now[0])
    backend = backend_at(transactions, driver, place)

    async def main() -> None:
        await put(backend, "one")
        asked: list[object] = []
        ping = backend._engine.dialect.do_ping
        monkeypatch.setattr(
            backend._engine.dialect, "do_ping", lambda c: [asked.append(c), ping(c)][1]
        )
        for seconds, silent in ((29, False), (30, True), (1, False)):
            asked.clear()
            now[0] += seconds
            await backend.atake("one")
            assert len(asked) == silent
        await backend.aclose()

    asyncio.run(main())


# Prepared statements.


class TestPreparedStatements:
    @pytest.mark.parametrize("driver", DRIVERS)
    @pytest.mark.parametrize(
        ("query", "prepared"),
        [
            ("", False),
            ("?prepared_statements=false", False),
            ("?prepared_statements=true", True),
            ("?pgbouncer=true", False),
        ],
    )
    def test_switched_by_url(
        self, driver: str, query: str, prepared: bool, place: Database
    ) -> None:
        url = place.url.set(drivername=f"postgresql+{driver}")
        text = url.render_as_string(hide_password=False) + query
        backend = SQLAlchemyBackend(text, table=place.table)
        found: list[int] = []

        async def main() -> None:
            for number in range(8):
                await put(backend, f"{number}")
                await backend.atake(f"{number}")
            with_names = sqlalchemy.text("SELECT count(*) FROM pg_prepared_statements")
            if backend.async_only:
                async with backend._engine.connect() as connection:  # type: ignore[union-attr]
                    found.append((await connection.execute(with_names)).scalar_one())
            else:
                with backend._engine.connect() as connection:
                    found.append(connection.execute(with_names).scalar_one())
            await backend.aclose()

        asyncio.run(main())
        assert (found[0] > 1) is prepared

    @pytest.mark.parametrize(
        ("url", "driver"),
        [
            ("postgresql+psycopg://h/d?prepared_statements=yes", "psycopg"),
            ("postgresql+asyncpg://h/d?prepared_statements=1", "asyncpg"),
            ("postgresql+psycopg2://h/d?prepared_statements=true", "psycopg2"),
            ("mysql+pymysql://h/d?prepared_statements=false", "pymysql"),
        ],
    )
    def test_bad_switch(self, url: str, driver: str) -> None:
        with pytest.raises(ConfigurationError, match=r"prepared_statements= in the URL; use true"):
            _connect_args(make_url(url), driver, 5)

    def test_asyncpg_behind_a_pooler_names_the_cure(
        self, transactions: Bouncer, place: Database
    ) -> None:
        backend = backend_at(transactions, "asyncpg", place, "?prepared_statements=true")
        results = asyncio.run(hand_over([backend], 120))
        failed = [text for text in results if "(26000)" in text or "(42P05)" in text]
        assert failed
        assert all("leave prepared_statements= out of the URL" in text for text in failed)

    def test_engine_of_the_app_names_the_cure(self, transactions: Bouncer, place: Database) -> None:
        # Its options are refused, too.
        engine = create_engine(transactions.url, connect_args={"options": "-c jit=off"})
        backend = SQLAlchemyBackend(engine, table=place.table)
        with pytest.raises(BackendUnavailable, match="leave options= out of the URL or the engine"):
            backend.take("key")
        engine.dispose()


def test_options_of_the_url_stay_and_name_the_cure(transactions: Bouncer, place: Database) -> None:
    backend = backend_at(transactions, "psycopg", place, "?options=-c%20jit%3Doff")
    with pytest.raises(BackendUnavailable, match="leave options= out of the URL or the engine"):
        backend.take("key")
    backend.close()


@pytest.mark.parametrize(
    ("text", "refuses"),
    [
        ("FATAL: unsupported startup parameter: options", True),
        ("unsupported startup parameter in options: statement_timeout", True),
        ("Feature not supported: RDS Proxy currently doesn't support command-line options.", True),
        ("connection refused", False),
    ],
)
def test_refusals_of_poolers(text: str, refuses: bool) -> None:
    assert pooler.refuses_options(psycopg.OperationalError(text)) is refuses


def test_asyncpg_reads_sslmode(place: Database) -> None:
    seen: list[dict[str, Any]] = []
    backend = SQLAlchemyBackend(
        f"postgres+asyncpg://{place.url.username}@{place.url.host}:{place.url.port or 5432}"
        f"/{place.url.database}?sslmode=prefer",
        table=place.table,
    )
    engine: Any = backend._engine
    connect = engine.dialect.connect
    engine.dialect.connect = lambda *a, **kw: [seen.append(kw), connect(*a, **kw)][1]

    async def main() -> None:
        assert await backend.atake("key") is None
        await backend.aclose()

    asyncio.run(main())
    assert seen[0]["ssl"] == "prefer"


def test_asyncpg_has_no_channel_binding() -> None:
    url = "postgres+asyncpg://u:hunter2@h/d?sslmode=require&channel_binding=require"
    with pytest.raises(ConfigurationError, match=r"asyncpg has no channel_binding=") as refused:
        SQLAlchemyBackend(url)
    assert "hunter2" not in str(refused.value)


# The wait of psycopg.


class Steps:
    """A connection, and steps that wait for it as psycopg does."""

    def __init__(self) -> None:
        self.near, self.far = socket.socketpair()
        self.pgconn = self
        self.closed = False

    @property
    def socket(self) -> int:
        return self.near.fileno()

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def steps() -> Iterator[Steps]:
    steps = Steps()
    yield steps
    steps.near.close()
    steps.far.close()


class TestWait:
    def test_ready_is_what_was_asked_for(self, steps: Steps) -> None:
        def work() -> Any:
            assert (yield 2) == 2
            steps.far.send(b"x")
            assert (yield 1) == 1
            assert (yield 3) == 3
            return "done"

        assert pooler._waiting(steps, 5, OSError)(work(), 0.1, interval=0.1) == "done"

    def test_closed_by_the_server(self, steps: Steps) -> None:
        def work() -> Any:
            steps.far.close()
            return (yield 1)

        assert pooler._waiting(steps, 5, OSError)(work()) == 1

    def test_silence(self, steps: Steps) -> None:
        def work() -> Any:
            yield 1

        with pytest.raises(psycopg.OperationalError, match="no reply in time"):
            pooler._waiting(steps, 0.05, psycopg.OperationalError)(work())
        assert steps.closed

    def test_without_poll(self, place: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        # As on Windows.
        monkeypatch.delattr(select, "poll")
        backend = SQLAlchemyBackend(place.url, table=place.table)
        assert backend.take("key") is None
        backend.close()


def test_prepared_statement_that_is_there_already() -> None:
    class Duplicate(Exception):
        sqlstate = "42P05"

    with (
        pytest.raises(BackendUnavailable, match="takes no prepared statements"),
        failures(),
    ):
        raise sqlalchemy.exc.DBAPIError("", {}, Duplicate())
