"""What the servers of stores tell of themselves, for the doctor."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio

from ott_middleware import MemoryBackend, RedisBackend, SQLAlchemyBackend

from .redis_servers import Server
from .sql_servers import database


def ask(backend: Any, *clients: Any) -> dict[str, Any]:
    async def main() -> dict[str, Any]:
        facts: dict[str, Any] = await backend.ask_server()
        await backend.aclose()
        for client in clients:
            if isinstance(client, redis.asyncio.Redis):
                await client.aclose()
            else:
                client.close()
        return facts

    return asyncio.run(main())


def test_memory_has_no_server() -> None:
    assert ask(MemoryBackend()) == {}


class TestRedis:
    @pytest.mark.parametrize("kind", ["url", "sync", "async"])
    def test_policy_and_time(self, serve: Callable[..., Server], kind: str) -> None:
        server = serve("--maxmemory-policy", "volatile-ttl")
        if kind == "url":
            facts = ask(RedisBackend(server.url))
        else:
            module = redis if kind == "sync" else redis.asyncio
            client: Any = module.Redis.from_url(server.url, socket_timeout=2)
            facts = ask(RedisBackend(client), client)
        assert facts["policy"] == "volatile-ttl"
        assert facts["time"] == pytest.approx(time.time(), abs=30)

    def test_reply_that_the_client_parsed(
        self, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # As the client of a cluster does.
        backend = RedisBackend(server.url)

        async def send(_: bytes, command: str, *more: str) -> Any:
            return (7, 500_000) if command == "TIME" else {"maxmemory_policy": "noeviction"}

        monkeypatch.setattr(backend, "_awaited", send)
        assert ask(backend) == {"time": 7.5}
        backend.close()


@pytest.mark.parametrize(
    "driver",
    ["sqlite+pysqlite", "postgresql+psycopg", "postgresql+asyncpg", "mysql+pymysql"],
)
def test_sqlalchemy(driver: str, tmp_path: Path) -> None:
    with database(driver, tmp_path) as place:
        facts = ask(SQLAlchemyBackend(place.text, table=place.table))
    if driver.startswith("sqlite"):
        assert facts == {}
    else:
        assert facts["time"] == pytest.approx(time.time(), abs=30)
