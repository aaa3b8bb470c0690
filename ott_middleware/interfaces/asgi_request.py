"""Reads a `Request` from an ASGI scope, and changes the headers of a scope."""

from __future__ import annotations

from collections.abc import Mapping

from ..copies import build_unchecked
from ..http.messages import Request
from ..http.urls import PATH_MARK, browser_path, path_of
from .asgi_headers import LazyHeaders, parse_headers
from .asgi_types import Scope

# The page of a socket and the request that opens it have these schemes.
_SCHEMES = {"ws": "http", "wss": "https"}


def parse_request(
    scope: Scope,
    links: tuple[str, ...] = (),
    *,
    seen: tuple[str, ...] = (),
    verifiable: bool | None = None,
    began: int | None = None,
) -> Request:
    """Return the request that a scope describes; of a WebSocket, its handshake."""
    mount = scope.get("root_path", "")
    path = scope["path"] if scope["path"].startswith("/") else path_of(scope["path"])
    # Servers differ in whether the path includes the mount point; a prefix that ends inside a
    # segment is none.
    if mount and (path == mount or path.startswith(mount.rstrip("/") + "/")):
        path = path[len(mount.rstrip("/")) :]
    try:
        method, scheme = scope["method"].upper(), scope.get("scheme", "http")
    except KeyError:  # a WebSocket: its handshake is a GET
        scheme = scope.get("scheme", "ws")
        # Layers for proxies may have written `https` in the place of `wss`.
        method, scheme = "GET", _SCHEMES.get(scheme, scheme)
    raw = scope.get("raw_path")
    peer = scope.get("client")
    # On other paths than these, nearly every request has its cookie read and no more.
    lazily = not links and PATH_MARK not in path and type(scope["headers"]) is list
    return build_unchecked(
        Request,
        method=method,
        scheme=scheme,
        path=path,
        target=browser_path(
            raw.decode("latin-1") if raw is not None else None,
            mount.rstrip("/").encode("utf-8", "replace") if mount else b"",
            path.encode("utf-8", "replace"),
        ),
        query=scope.get("query_string", b"").decode("latin-1"),
        headers=LazyHeaders(scope["headers"]) if lazily else parse_headers([*scope["headers"]]),
        links=links,
        seen=seen,
        verifiable=verifiable,
        began=began,
        carrier=scope,
        client=peer[0]
        if isinstance(peer, (list, tuple)) and peer and isinstance(peer[0], str)
        else None,
    )


def change_headers(scope: Scope, changes: Mapping[str, str | None]) -> None:
    """Set headers of a scope, or remove them where the value is None, by lower-case name."""
    changed = {name.encode("latin-1"): value for name, value in changes.items()}
    scope["headers"] = [
        *((name, value) for name, value in scope["headers"] if name.lower() not in changed),
        *((name, value.encode("latin-1")) for name, value in changed.items() if value is not None),
    ]
