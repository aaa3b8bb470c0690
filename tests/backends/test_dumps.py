"""What is read from a store by somebody who should not have it."""

from __future__ import annotations

import base64
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ott_middleware import (
    Backend,
    CookieSession,
    OneTimeTokens,
    RedisBackend,
    Session,
    SQLAlchemyBackend,
    SQLiteBackend,
)
from ott_middleware.backends import DjangoCacheBackend, MappingBackend
from ott_middleware.errors import InvalidToken

from .redis_servers import Server
from .sql_servers import KEEPERS, database
from .test_django_cache import cache

ADA = Session(
    id="id-of-ada",
    token="cookie-of-ada",
    user_id="user-of-ada",
    user={"email": "ada@example.com"},
    data={"note": "data-of-ada"},
)
SECRETS = ("cookie-of-ada", "ada@example.com", "id-of-ada", "user-of-ada", "data-of-ada")


class Dumped(NamedTuple):
    backend: Backend
    #: All that the store holds, as its engine writes it.
    dump: Callable[[], bytes]


def files(folder: Path) -> bytes:
    return b"\n".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())


@pytest.fixture
def plain_redis(tmp_path: Path) -> Iterator[Server]:
    """A Redis that writes everything it is told to its files, and compresses nothing."""
    home = tmp_path / "redis"
    home.mkdir()
    server = Server(
        *(home, "--appendonly", "yes", "--appendfsync", "always"),
        *("--rdbcompression", "no", "--aof-use-rdb-preamble", "no"),
    )
    server.start()
    yield server
    server.stop()


@pytest.fixture(params=["mapping", "sqlite", "redis", "django", *KEEPERS])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Dumped]:
    kind = request.param
    if kind == "mapping":
        held: dict[str, bytes] = {}
        yield Dumped(MappingBackend(held, threading.Lock()), lambda: repr(held).encode())
    elif kind == "sqlite":
        backend: Any = SQLiteBackend(tmp_path / "tokens.db")
        yield Dumped(backend, lambda: files(tmp_path))
        backend.close()
    elif kind in ("redis", "django"):
        server: Server = request.getfixturevalue("plain_redis")

        def dump() -> bytes:
            server.ask("SAVE")
            return files(tmp_path)

        if kind == "redis":
            backend = RedisBackend(server.url)
            yield Dumped(backend, dump)
            backend.close()
        else:
            with cache("RedisCache", server.url):
                backend = DjangoCacheBackend("ott")
                yield Dumped(backend, dump)
                backend.close()
    else:
        with database(kind, tmp_path) as place:
            backend = SQLAlchemyBackend(place.url, table=place.table)
            backend.create_table()

            def rows() -> bytes:
                with place.keeper.connect() as connection:
                    found = connection.exec_driver_sql(f"SELECT * FROM {place.table}").all()
                values = [value for row in found for value in row]
                return b"\n".join(
                    value if isinstance(value, bytes) else str(value).encode() for value in values
                )

            yield Dumped(backend, rows)
            backend.close()


def tokens_in(dump: bytes) -> set[str]:
    """Whatever in a dump could be taken for a token, as it stands and in other letters."""
    words = re.findall(rb"[A-Za-z0-9_-]{16,512}", dump)
    # Keys may be stored as bytes: each piece of their length, where text does not hold it.
    pieces = [line for line in re.split(rb"\n", dump) if 16 <= len(line) <= 64]
    spelled = [base64.urlsafe_b64encode(piece).rstrip(b"=") for piece in [*pieces, *words]]
    spelled += [piece.hex().encode() for piece in pieces]
    return {word.decode() for word in [*words, *spelled] if len(word) <= 512}


def test_dump_of_hashed_tokens_is_worth_nothing(store: Dumped) -> None:
    service = OneTimeTokens(
        store.backend, sessions=CookieSession("sid"), store_token="hashed", max_per_session=None
    )
    tokens = [service.generate(ADA) for _ in range(3)]
    dump = store.dump()
    assert len(dump) > 3 * 100  # the tokens are in it
    for secret in (*SECRETS, *tokens):
        for spelled in (secret.encode(), base64.b64encode(secret.encode())[:-4]):
            assert spelled not in dump, secret
        assert secret.encode().hex().encode() not in dump
    found = tokens_in(dump)
    assert found
    for candidate in found:
        with pytest.raises(InvalidToken):
            service.verify(candidate)
    # And yet they were there to be redeemed.
    assert [service.verify(token).token for token in tokens] == ["cookie-of-ada"] * 3


def test_what_a_dump_of_plain_tokens_gives_away_is_found() -> None:
    # That the test above could fail.
    held: dict[str, bytes] = {}
    service = OneTimeTokens(
        MappingBackend(held, threading.Lock()), sessions=CookieSession("sid"), store_token="plain"
    )
    token = service.generate(ADA)
    assert token in tokens_in(repr(held).encode())
