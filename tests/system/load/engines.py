"""The engines under load: where they are, and how large a test is."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from ott_middleware import SQLAlchemyBackend

#: 1 for the full sizes.
SCALE = float(os.environ.get("OTT_LOAD_SCALE", "0.1"))

URLS = {
    "redis": os.environ.get("OTT_TEST_REDIS_URL", "redis://127.0.0.1:6379/0"),
    "postgresql": os.environ.get(
        "OTT_TEST_POSTGRES_URL", "postgresql+psycopg://root@127.0.0.1:5432/test"
    ),
    "mysql": os.environ.get("OTT_TEST_MYSQL_URL", "mysql+pymysql://root@127.0.0.1:3306/test"),
}


def need_redis_server() -> None:
    """Go on if there is a Redis to start; else skip, or fail with `CI=true`."""
    if shutil.which("redis-server") is None:
        reason = "no redis-server to start"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)


def url_of(engine: str, folder: Path) -> str:
    """The URL of a store that is ready. An engine that is absent skips, or fails with `CI=true`."""
    if engine == "sqlite":
        return f"sqlite:///{folder}/tokens.db"
    url = URLS[engine]
    try:
        if engine == "redis":
            import redis

            with redis.Redis.from_url(url, socket_connect_timeout=2) as client:
                client.ping()
        else:
            backend = SQLAlchemyBackend(url)
            backend.create_table()
            backend.close()
    except Exception as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"no {engine} to test with: {type(error).__name__}")
    return url
