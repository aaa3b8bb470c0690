"""From a URL to the wires of a Redis server."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from ...errors import ConfigurationError, check_positive
from .wire import LoopWire, PoolWire, Wire


def wires_of_url(
    url: str, *, timeout: float, connect_timeout: float, max_connections: float, **settings: Any
) -> tuple[Wire, Wire]:
    """Make the sync and the async wire for a URL; nothing is opened yet.

    :param settings: what else redis-py is to be given.
    :raises ConfigurationError: no URL of a Redis server, whose text does not show it; or a bad
        number.
    """
    import redis.asyncio

    check_positive("timeout", timeout, "seconds")
    check_positive("connect_timeout", connect_timeout, "seconds")
    check_positive("max_connections", max_connections, "connections")
    parts = _split(url)
    scheme = _scheme_of(parts.scheme)
    path = unquote(parts.path).strip("/")
    if scheme is None or parts.fragment:
        raise ConfigurationError(
            "redis: use redis://, rediss:// (TLS) or unix://, with %23 for a # in the password; "
            "for Sentinel pass Sentinel(...).master_for(...), for a cluster a RedisCluster"
        )
    if scheme != "unix" and path and not path.isdecimal():
        raise ConfigurationError(
            "redis: the path is the database's number, as redis://host:6379/0; a socket is "
            "unix:///path/to/redis.sock?db=0"
        )
    if scheme == "unix" and not path:
        raise ConfigurationError("redis: a socket needs its path: unix:///path/to/redis.sock?db=0")
    settings = {
        # RESP2: there is no use for what servers push over RESP3, and one thing less to agree on.
        "protocol": 2,
        "timeout": timeout,
        "socket_timeout": timeout,
        "socket_connect_timeout": connect_timeout,
        "max_connections": int(max_connections),
        **settings,
    }
    if "@" in parts.netloc:
        # Handed over apart from the URL: pools show their settings in their repr.
        settings["credential_provider"] = redis.UsernamePasswordCredentialProvider(
            username=parts.username and unquote(parts.username),
            password=unquote(parts.password or ""),
        )
    plain = f"{scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    def make(module: Any) -> Any:
        return module.BlockingConnectionPool.from_url(plain, **settings)

    try:
        pool = make(redis)
        # Made to be thrown away: wrong settings come out now, and not with the first token.
        pool.connection_class(**pool.connection_kwargs)
    except Exception as error:
        failure = type(error).__name__
    else:
        return PoolWire(pool, partial(make, redis)), LoopWire(partial(make, redis.asyncio))
    raise _unusable(failure)  # outside, as in `_split`


def _scheme_of(given: str) -> str | None:
    """Return which of redis-py's schemes a URL's scheme stands for: redis, rediss, unix or None."""
    base, _, more = given.partition("+")
    if given == "unix" or (more in ("unix", "socket") and base in ("redis", "valkey")):
        return "unix"
    if base in ("rediss", "valkeys") and more in ("", "tcp", "tls", "ssl"):
        return "rediss"
    if base in ("redis", "valkey"):
        return {"": "redis", "tcp": "redis", "tls": "rediss", "ssl": "rediss"}.get(more)
    return None


# What a URL's query may hold: of this package, and of redis-py.
_OPTIONS: dict[str, Callable[[str], Any]] = {
    "prefix": str,
    "timeout": float,
    "connect_timeout": float,
    "max_connections": int,
    "client_name": str,
    "db": int,
    "ssl_ca_certs": str,
    "ssl_ca_path": str,
    "ssl_cert_reqs": str,
    "ssl_certfile": str,
    "ssl_check_hostname": lambda text: {"true": True, "false": False}[text.lower()],
    "ssl_keyfile": str,
}


def options_of(url: str) -> dict[str, Any]:
    """What a URL's query asks of the backend, and of the driver.

    :raises ConfigurationError: an option that there is not, or a bad value.
    """
    found: dict[str, Any] = {}
    for name, text in parse_qsl(_split(url).query, keep_blank_values=True):
        if name not in _OPTIONS:
            # Not shown: it may be what comes after a question mark in a password.
            raise ConfigurationError(
                "redis: an option in the URL is none of " + ", ".join(_OPTIONS)
            )
        try:
            found[name] = _OPTIONS[name](text)
        except (ValueError, KeyError):
            raise ConfigurationError(f"redis: the URL's {name} has a bad value") from None
    return found


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError as error:
        failure = type(error).__name__
    raise _unusable(failure)  # outside: an error of urllib's may quote a piece of the password


def _unusable(failure: str) -> ConfigurationError:
    return ConfigurationError(
        f"redis: that URL can't be used ({failure}); write redis://user:password@host:6379/0, "
        "with %-escapes for what is special in the password"
    )
