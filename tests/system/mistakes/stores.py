"""Mistakes in the URL of a store."""

from __future__ import annotations

from collections.abc import Callable

from mistake import Mistake, read_error

from ott_middleware.backends.registry import backend_of


def refused(url: str) -> Callable[[], str]:
    return lambda: read_error(lambda: backend_of(url))


MISTAKES = (
    Mistake('`backend="postgre://…"`', refused("postgre://u@h/d"), "did you mean postgresql://?"),
    Mistake(
        '`backend="sqllite:///tokens.db"`',
        refused("sqllite:///tokens.db"),
        "did you mean sqlite://?",
    ),
    Mistake('`backend="redis:/host"`', refused("redis:/host"), "did you mean redis://?"),
    Mistake(
        '`backend="redis:///run/redis.sock"`',
        refused("redis:///run/redis.sock"),
        "a socket is unix:///path/to/redis.sock",
    ),
    Mistake(
        '`backend="redis+sentinel://…"`',
        refused("redis+sentinel://h"),
        "for Sentinel pass Sentinel(...).master_for(...)",
    ),
    Mistake(
        "the URL of Neon, with `channel_binding=`, and asyncpg",
        refused("postgres+asyncpg://u@h/d?channel_binding=require"),
        "use postgresql+psycopg_async://",
    ),
    Mistake(
        "`prepared_statements=on` in the URL of PostgreSQL",
        refused("postgresql+psycopg://u@h/d?prepared_statements=on"),
        "use true or false",
    ),
)
