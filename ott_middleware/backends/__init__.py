"""Backends: where tokens are stored until they are redeemed or expire."""

import typing

from .. import lazy
from .base import Backend
from .memory import MemoryBackend
from .registry import register_backend

# `RedisBackend`, `SQLAlchemyBackend` and `DjangoCacheBackend` need their library: a star import
# goes without them.
__all__ = ["Backend", "MappingBackend", "MemoryBackend", "SQLiteBackend", "register_backend"]

if typing.TYPE_CHECKING:
    from .django_cache import DjangoCacheBackend as DjangoCacheBackend
    from .mapping import MappingBackend as MappingBackend
    from .redis import RedisBackend as RedisBackend
    from .sqlalchemy import SQLAlchemyBackend as SQLAlchemyBackend
    from .sqlite import SQLiteBackend as SQLiteBackend
else:
    __getattr__, __dir__ = lazy.import_on_use(
        __name__,
        {
            "DjangoCacheBackend": ".django_cache",
            "MappingBackend": ".mapping",
            "RedisBackend": ".redis.backend",
            "SQLAlchemyBackend": ".sqlalchemy.backend",
            "SQLiteBackend": ".sqlite.backend",
        },
        install={"SQLAlchemyBackend": "'ott_middleware[sqlalchemy]'"},
    )
