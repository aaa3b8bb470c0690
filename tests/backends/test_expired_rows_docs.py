"""The page about expired rows: its function and its SQL, on the engines that it names."""

from __future__ import annotations

import re
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from documents import ROOT, blocks, run
from sqlalchemy import MetaData

from ott_middleware import SQLAlchemyBackend
from ott_middleware.backends.sqlalchemy.backend import token_table

from .sql_servers import database

PAGE = ROOT / "docs" / "expired_rows.md"


def two_minutes_ago() -> float:
    return time.time() - 120


def put_both(backend: Any) -> None:
    """A live token, and one that has expired since."""
    for key, seconds in (("live", 60), ("old", -60)):
        backend.put(key, b"v", expires_at=time.time() + seconds, owner="o", limit=None)


class TestClearExpired:
    def test_function(self, tmp_path: Path) -> None:
        url = f"sqlite+pysqlite:///{tmp_path}/tokens.db"
        with closing(SQLAlchemyBackend(url, clock=two_minutes_ago)) as backend:
            backend.create_table()
            put_both(backend)
            clear_expired = run(PAGE)["clear_expired"]
            assert (clear_expired(url), clear_expired(url)) == (1, 0)
            assert backend.take("live") == b"v"

    @pytest.mark.parametrize(
        ("name", "driver"),
        [
            ("PostgreSQL", "postgresql+psycopg"),
            ("MariaDB, MySQL", "mysql+pymysql"),
            ("SQLite 3.38", "sqlite+pysqlite"),
        ],
    )
    def test_sql(self, name: str, driver: str, tmp_path: Path) -> None:
        (block,) = blocks(PAGE, "sql")
        statements = dict(
            reversed(re.split(r"; +-- ", line)) for line in block.text.splitlines() if line
        )
        with database(driver, tmp_path) as where:
            table = token_table(MetaData(), where.table)
            with closing(
                SQLAlchemyBackend(where.url, table=table, clock=two_minutes_ago)
            ) as backend:
                backend.create_table()
                put_both(backend)
                statement = statements[name].replace("ott_tokens", where.table)
                with where.keeper.begin() as connection:
                    assert connection.exec_driver_sql(statement).rowcount == 1
                assert backend.take("live") == b"v"
