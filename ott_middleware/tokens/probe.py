"""Probes: values that hold no session, put into a store and taken out again to see that it works.

The token of a probe can sign no user in, whoever redeems it: what is sealed names no session.
"""

from __future__ import annotations

import secrets as randomness
from dataclasses import dataclass

from ..backends.base import Backend, bind_method
from ..concurrency import call_backend
from ..crypto import TokenSeal
from ..errors import BackendUnavailable
from ..http.encoding import to_json
from .names import Owners, backend_key, hash_token

#: The channel of probes that stay at this site.
CHANNEL = "probe"
#: Seconds that a probe lives, should it stay in the store.
SECONDS = 60.0


@dataclass(frozen=True, slots=True, repr=False)
class Probe:
    """The token of a probe, and what a store is given for it.

    :ivar token: redeemed by the other site.
    :ivar values: the keys and sealed values, by the `store_token` that a site must have to look for
        that key: "own" for the one of this site.
    """

    token: str
    values: dict[str, tuple[str, bytes]]

    @classmethod
    def make(
        cls, token: str, own_form: str, audience: str, expires_at: float, seal: TokenSeal
    ) -> Probe:
        """Return a probe.

        :param own_form: what `store_token` of this site makes of the token.
        :param audience: the only origin at which it can be redeemed.
        """
        # Attack: the other site, or a reader of the line to it, redeems the probe. There is no
        # session in it; with one, whatever it were, a site could be made to establish it.
        plain = to_json({"session": None, "audience": audience})
        # Where two names are of one form, the later one is kept.
        names = {hash_token(token): "hashed", token: "plain", own_form: "own"}
        values: dict[str, tuple[str, bytes]] = {}
        for form, name in names.items():
            key = backend_key("handoff", form)
            value = seal.seal(plain, token=token, key=key, expires_at=expires_at)
            values[name] = (key, value)
        return cls(token, values)


async def put_probe(backend: Backend, key: str, value: bytes, *, asynchronous: bool) -> None:
    """Put a value under a key that is a probe's."""
    put = bind_method(backend, "put", asynchronous=asynchronous)
    # An owner of its own: no user's token is retired.
    owner = Owners(None).of_session(CHANNEL, key)
    expires_at = backend.clock() + SECONDS
    await call_backend(put(key, value, expires_at=expires_at, owner=owner, limit=3))


async def take_probe(backend: Backend, key: str, *, asynchronous: bool) -> bytes | None:
    """Take a probe's value out again; None if it is gone."""
    take = bind_method(backend, "take", asynchronous=asynchronous)
    value: bytes | None = await call_backend(take(key))
    return value


async def try_store(backend: Backend, *, asynchronous: bool) -> None:
    """Put a random value into a store and take it out again.

    :param asynchronous: whether an event loop calls.
    :raises OTTError: the store does not work; the text names the cure where one is known.
    """
    key = backend_key(CHANNEL, randomness.token_urlsafe(24))
    value = randomness.token_bytes(64)
    await put_probe(backend, key, value, asynchronous=asynchronous)
    taken = await take_probe(backend, key, asynchronous=asynchronous)
    if not isinstance(taken, (bytes, bytearray, memoryview)) or bytes(taken) != value:
        raise BackendUnavailable(
            f"{backend.name} does not give back what was put into it just now: look whether it "
            "drops values (Redis: maxmemory-policy noeviction), changes them, or reads from a "
            "replica"
        )
