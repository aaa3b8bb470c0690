"""Tombstones: what a store keeps of a used token for ten minutes, to tell when it is used again.

A tombstone is a sealed value like that of a token: only a client that presents the token (at a site
that has the secret) can have it opened. A dump of the store tells nothing. How many there are has a
limit; the oldest make way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

from ..backends.base import Backend, bind_method
from ..concurrency import call_backend
from ..crypto import TokenSeal
from ..errors import KeyTaken
from ..http.encoding import read_json, to_json
from .names import Owners, backend_key, hash_token

#: Seconds.
LIFETIME = 600.0
_CHANNEL = "replay"
# Tombstones of one owner; there are 64 of them. A store counts a few values quickly, and many
# thousands of one owner slowly.
_MOST = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Tombstone:
    """What is remembered of the first use of a token.

    :ivar session_id: of the session that was established.
    :ivar used_at: Unix seconds.
    :ivar user: a hash that names the user; None where the user is not known.
    :ivar browser: a hash of the client's network and of the kind of its browser.
    :ivar audience: the origin that the token was bound to.
    :ivar code_challenge: the challenge of the token.
    :ivar cookies: those that began the session, where the adapter can end it; else empty.
    """

    session_id: str
    used_at: float
    user: str | None
    browser: str
    audience: str | None
    code_challenge: str | None
    cookies: Mapping[str, str] = field(default_factory=dict, repr=False)


class Tombstones:
    """The tombstones in one store.

    :param secrets: newest first, which seals.
    :param clock: tells the time in Unix seconds.
    :param asynchronous: whether an event loop calls.
    """

    def __init__(
        self,
        backend: Backend,
        secrets: Sequence[bytes],
        clock: Callable[[], float],
        *,
        asynchronous: bool,
    ) -> None:
        self._put = bind_method(backend, "put", asynchronous=asynchronous)
        self._take = bind_method(backend, "take", asynchronous=asynchronous)
        self._clock = clock
        self._seal = TokenSeal(secrets)
        self._owners = Owners(secrets[0] if secrets else None)

    async def put(self, token: str, channel: str, stone: Tombstone) -> None:
        """Keep a tombstone until ten minutes after the first use.

        :raises OTTError: the backend failed, or is full.
        """
        key, stored = _key(token, channel)
        expires_at = stone.used_at + LIFETIME
        plain = to_json(asdict(stone))
        value = self._seal.seal(plain, token=token, key=key, expires_at=expires_at)
        owner = self._owners.of_session(_CHANNEL, stored[0])
        put = self._put(key, value, expires_at=expires_at, owner=owner, limit=_MOST)
        with suppress(KeyTaken):  # another request put the same one back
            await call_backend(put)

    async def take(self, token: str, channel: str) -> Tombstone | None:
        """Take a tombstone out of the store; None if there is none that this site can open.

        :raises OTTError: the backend failed.
        """
        key, _ = _key(token, channel)
        value: bytes | None = await call_backend(self._take(key))
        opened = None if value is None else self._seal.open(bytes(value), token=token, key=key)
        if opened is None or opened[1] <= self._clock():
            return None
        values: dict[str, Any] = read_json(opened[0].decode("ascii"))[0]
        return Tombstone(**values)


def _key(token: str, channel: str) -> tuple[str, str]:
    """Return the key of a token's tombstone, and the hash in it."""
    stored = hash_token(f"{channel}:{token}")
    return backend_key(_CHANNEL, stored), stored
