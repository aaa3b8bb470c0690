"""Makes a `Backend` of the option `backend`: URLs, their schemes and factories."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from ..errors import ConfigurationError, OTTError
from .base import Backend
from .put_take import PutTake, put_take_backend

#: The group of entry points, named after their schemes, that are factories like those of
#: `register_backend`.
GROUP = "ott_middleware.backends"

Factory = Callable[[str], Backend]
AnyBackend = Backend | PutTake | str

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")


def register_backend(scheme: str, factory: Factory) -> None:
    """Teach `backend=` and `OneTimeTokens` another kind of URL.

    :param scheme: what stands before `://`, in lower case. One that is known already is replaced.
        `scheme+anything://` goes to the same factory, unless that has one of its own.
    :param factory: makes a backend of the whole URL. It is called where the URL is used, so that
        it is the place to import a client library.
    :raises ConfigurationError: that can be no scheme, or no factory.
    """
    if not isinstance(scheme, str) or not _SCHEME.fullmatch(scheme):
        raise ConfigurationError(f"scheme: {scheme!r}; use a-z 0-9 + . -, as 'redis'")
    if not callable(factory):
        raise ConfigurationError(f"factory: {factory!r}; pass a function from a URL to a backend")
    _factories[scheme] = factory


def backend_of(given: Any) -> Backend:
    """The backend that an option stands for: one, a URL, or an object with `put` and `take`.

    :raises ConfigurationError: none of these. The text shows nothing of a URL but its scheme.
    """
    if isinstance(given, str):
        return _of_url(given)
    if Backend in type(given).__mro__:
        return _complete(given)
    return put_take_backend(given)


def _of_url(url: str) -> Backend:
    # What a URL holds may be a password, even where it is no URL: a forgotten scheme, say.
    scheme, separator, rest = url.partition("://")
    scheme = scheme.lower()
    if not separator or not _SCHEME.fullmatch(scheme):
        raise ConfigurationError(f"backend: that is no URL; write one like {_KNOWN}")
    factory = _factory(scheme)
    problem: str
    try:
        backend = factory(f"{scheme}://{rest}")
    except OTTError:
        raise
    except ImportError as error:
        extra = _EXTRAS.get(scheme.partition("+")[0])
        cure = f"pip install 'ott_middleware[{extra}]'" if extra else "install it"
        problem = f"needs {error.name or 'a package'}, which is not installed; {cure}"
    except Exception as error:
        problem = f"can't be used ({type(error).__name__}); look over its parts"
    else:
        if Backend in type(backend).__mro__:
            return _complete(backend)
        problem = f"made a {type(backend).__name__}, and no Backend; look at its factory"
    raise ConfigurationError(f"backend: the {scheme}:// URL {problem}")  # not `from`: texts tell


def _complete(backend: Backend) -> Backend:
    kind = type(backend)
    for name in ("put", "take"):
        if all(getattr(kind, n) is getattr(Backend, n) for n in (name, f"a{name}")):
            raise ConfigurationError(
                f"backend: {kind.__name__} defines neither {name}() nor a{name}(); write one"
            )
    return backend


def _factory(scheme: str) -> Factory:
    base = scheme.partition("+")[0]
    for name in (scheme, base):
        if name in _factories:
            return _factories[name]
    for name in (scheme, base):
        for entry in entry_points(group=GROUP, name=name):
            problem = None
            try:
                register_backend(name, entry.load())
            except Exception as error:
                problem = type(error).__name__
            if problem is not None:
                raise ConfigurationError(
                    f"backend: {entry.value}, which makes backends of {name}://, can't be loaded "
                    f"({problem}); install what it needs"
                )
            return _factories[name]
    known = sorted({*_factories, *(entry.name for entry in entry_points(group=GROUP))})
    raise ConfigurationError(
        f"backend: nothing is known of {scheme}://; there are {', '.join(known)}, and "
        "register_backend() for others"
    )


def _memory(url: str) -> Backend:
    from .memory import MemoryBackend

    parts = urlsplit(url)
    if parts.netloc or parts.path:
        raise ConfigurationError(
            "backend: write memory:// or memory://?maxsize=100000&max_bytes=67108864"
        )
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    # Not shown: what stands in a URL may be a password.
    if not options.keys() <= {"maxsize", "max_bytes"} or not all(
        text.isascii() and text.isdecimal() for text in options.values()
    ):
        raise ConfigurationError(
            "backend: memory:// has two options, maxsize (tokens) and max_bytes, both numbers"
        )
    size, bound = options.get("maxsize", "100000"), options.get("max_bytes", str(64 * 1024 * 1024))
    return MemoryBackend(int(size), int(bound))


def _sqlite(url: str) -> Backend:
    from .sqlite.backend import SQLiteBackend

    parts = urlsplit(url)
    path = unquote(parts.path)[1:]
    if parts.netloc or parts.query or path in ("", ":memory:"):
        raise ConfigurationError(
            "backend: write sqlite:///relative/path or sqlite:////absolute/path, without options; "
            "memory:// keeps tokens in memory"
        )
    return SQLiteBackend(path)


def _redis(url: str) -> Backend:
    from .redis.backend import RedisBackend

    return RedisBackend(url)


def _sqlalchemy(url: str) -> Backend:
    from .sqlalchemy.backend import SQLAlchemyBackend

    return SQLAlchemyBackend(url)


_factories: dict[str, Factory] = {
    "memory": _memory,
    "sqlite": _sqlite,
    "redis": _redis,
    "rediss": _redis,
    "postgresql": _sqlalchemy,
    "mysql": _sqlalchemy,
    "mariadb": _sqlalchemy,
    "sqlite+pysqlite": _sqlalchemy,
    "sqlite+aiosqlite": _sqlalchemy,
}
# By the part before a driver's suffix; the standard library has SQLite itself.
_EXTRAS = dict.fromkeys(("sqlite", "postgresql", "mysql", "mariadb"), "sqlalchemy")
_KNOWN = "redis://host:6379/0, sqlite:///path, postgresql://host/database or memory://"
