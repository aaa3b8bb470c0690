"""Makes a `Backend` from the option `backend`: a table of URL schemes, and their factories."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from ..errors import ConfigurationError, OTTError, full_name, missing_library
from .base import Backend
from .put_take import PutTake, PutTakeBackend

#: The group of entry points, named after their schemes, that are factories like those of
#: `register_backend`.
GROUP = "ott_middleware.backends"

Factory = Callable[[str], Backend]
AnyBackend = Backend | PutTake | str


def _make_built_in(module: str, name: str, extra: str, url: str) -> Backend:
    """Import a backend of this package, now that its scheme is used, and make one."""
    try:
        factory: Factory = getattr(import_module(module, __package__), name)
    except ImportError as error:
        raise missing_library("backend: that URL", error, f"'ott_middleware[{extra}]'") from None
    return factory(url)


# Schemes, the module, the function or class in it that takes the whole URL, and the extra that
# installs its library.
_BUILT_IN: tuple[tuple[str, str, str, str], ...] = (
    ("memory", ".memory", "from_url", ""),
    ("sqlite", ".sqlite.backend", "from_url", ""),
    ("redis rediss valkey valkeys unix", ".redis.backend", "RedisBackend", "redis"),
    (
        "postgresql postgres psql pgsql mysql mariadb sqlite+pysqlite sqlite+aiosqlite",
        *(".sqlalchemy.backend", "SQLAlchemyBackend", "sqlalchemy"),
    ),
)
_factories: dict[str, Factory] = {
    scheme: partial(_make_built_in, *row)
    for schemes, *row in _BUILT_IN
    for scheme in schemes.split()
}
# Other spellings, which are understood and not recommended.
_SPELLINGS = {"postgres", "psql", "pgsql"}
_EXAMPLES = "redis://host:6379/0, sqlite:///path, postgresql://host/database or memory://"
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")


def register_backend(scheme: str, factory: Factory) -> None:
    """Teach `backend=` and `OneTimeTokens` another scheme of URLs.

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
    """Make the backend that an option stands for: one, a URL, or an object with `put` and `take`.

    :raises ConfigurationError: none of these. The text shows nothing of a URL but its scheme.
    """
    if isinstance(given, str):
        return _make_from_url(given)
    return _check_methods(given) if isinstance(given, Backend) else PutTakeBackend(given)


def _make_from_url(url: str) -> Backend:
    # What a URL holds may be a password, even where it is no URL: a forgotten scheme, say.
    scheme, separator, rest = url.partition("://")
    scheme = scheme.lower()
    if not separator or not _SCHEME.fullmatch(scheme):
        head = scheme if separator else scheme.partition(":")[0] if ":" in scheme else ""
        raise ConfigurationError(
            f"backend: that is no URL; {_suggest(head)}write one like {_EXAMPLES}"
        )
    factory = _find_factory(scheme)
    try:
        backend: object = factory(f"{scheme}://{rest}")
    except OTTError:
        raise
    except ImportError as error:
        failure = missing_library(f"backend: the {scheme}:// URL", error)
    except Exception as error:
        failure = ConfigurationError(
            f"backend: the {scheme}:// URL can't be used ({type(error).__name__}); look over its "
            "parts"
        )
    else:
        if isinstance(backend, Backend):
            return _check_methods(backend)
        failure = ConfigurationError(
            f"backend: the {scheme}:// URL made {full_name(backend)}, and no Backend; look "
            "at its factory"
        )
    # Raised outside of the `except`: an error chained to the original one would show its text in a
    # traceback, and that text may quote the URL's password.
    raise failure


def _check_methods(backend: Backend) -> Backend:
    kind = type(backend)
    for name in ("put", "take"):
        if all(getattr(kind, n) is getattr(Backend, n) for n in (name, f"a{name}")):
            raise ConfigurationError(
                f"backend: {full_name(kind)} defines neither {name}() nor a{name}(); write one"
            )
    return backend


def _find_factory(scheme: str) -> Factory:
    base = scheme.partition("+")[0]
    for name in (scheme, base):
        if name in _factories:
            return _factories[name]
    for name in (scheme, base):
        for entry in entry_points(group=GROUP, name=name):
            try:
                register_backend(name, entry.load())
            except Exception as error:
                problem = type(error).__name__
            else:
                return _factories[name]
            raise ConfigurationError(
                f"backend: {entry.value}, which makes backends of {name}://, can't be loaded "
                f"({problem}); install what it needs"
            )
    known = sorted({*_factories, *(entry.name for entry in entry_points(group=GROUP))})
    raise ConfigurationError(
        f"backend: nothing is known of {scheme}://; {_suggest(base)}there are "
        f"{', '.join(known)}, and register_backend() for others"
    )


def _suggest(head: str) -> str:
    """Return "did you mean ...", by the words that stand before a URL's colon.

    A word of the text is never shown, since the text may be a password: only what it resembles.
    """
    for word in re.findall(r"[a-z][a-z0-9]*", head[:40]):
        if near := difflib.get_close_matches(word, _factories.keys() - _SPELLINGS, 1, 0.75):
            return f"did you mean {near[0]}://? "
    return ""
