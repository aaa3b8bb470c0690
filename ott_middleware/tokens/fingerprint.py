"""The fingerprint of a token service: equal at two sites that can open each other's tokens."""

from __future__ import annotations

import hmac

from .names import NAMESPACE, hash_token
from .options import TokenOptions, hasher_of


def fingerprint(options: TokenOptions) -> str:
    """Return 8 hexadecimal digits: an HMAC under the secret, of the namespace and `store_token`.

    Two sites with another secret, or with another `store_token`, have another fingerprint. Of a
    list of secrets the newest counts, which seals. That both sites reach one store, and whether two
    functions in `store_token` are the same, the fingerprint does not tell.
    """
    secrets, hasher = options.secrets, hasher_of(options.store_token)
    form = "plain" if hasher is None else "hashed" if hasher is hash_token else "function"
    # Attack: a reader of the log tries secrets until one gives the fingerprint. A secret has at
    # least 16 bytes, and 32 bits of an HMAC fit 2^96 of those: it tells no more than that a guess
    # may be right.
    message = f"{NAMESPACE}\0{form}\0fingerprint".encode()
    return hmac.digest(secrets[0] if secrets else b"", message, "sha256")[:4].hex()
