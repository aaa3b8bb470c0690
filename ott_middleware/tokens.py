"""Tokens, their keys, and the seal around what a backend holds: pure functions.

The seal: version, key id, expiry, nonce and AES-GCM ciphertext. Its key is derived from the token
(and the secret, where there is one), so that a value can be opened only by who presents the token,
and a dump of a store that holds hashes opens nothing.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import struct
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

NAMESPACE = "one-time-token"
CHANNELS = ("handoff",)
NONCE_BYTES = 12

_SYNTAX = re.compile(r"[A-Za-z0-9_-]{1,512}")
_VERSION = 1
_HEADER = struct.Struct(">B4sQ12s")  # version, key id, expiry in ms, nonce
_NO_SECRET = b"\0\0\0\0"


def is_token(value: object) -> bool:
    """Whether a value has the form of a token: 1 to 512 characters of A-Z a-z 0-9 - _."""
    return isinstance(value, str) and _SYNTAX.fullmatch(value) is not None


def base64url(raw: bytes) -> str:
    """Unpadded base64url (RFC 4648 section 5)."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def hashed(token: str) -> str:
    """What `store_token="hashed"` keeps: the unpadded base64url of the token's SHA-256.

    Without a salt, since a token is no password: there is nothing to guess in 192 random bits.
    """
    return base64url(hashlib.sha256(token.encode("ascii")).digest())


def backend_key(channel: str, stored: str) -> str:
    """The backend's key. A token asked for through another channel's door is simply not there."""
    return f"{NAMESPACE}:{channel}:{stored}"


def owner_of(channel: str, session_id: str, secret: bytes | None) -> str:
    """The owner that a backend counts a session's tokens for: an HMAC, never the id itself.

    With a secret, a dump of the store does not tell which session or user a token belongs to.
    Without one, the HMAC's key is a constant of this package: an id that can be guessed (a user id
    of a few digits, an e-mail address) is found in a dump by trying all of them.
    """
    return _owner((NAMESPACE, channel, session_id), secret)


def network_owner_of(channel: str, network: str, secret: bytes | None) -> str:
    """The owner that a backend counts a network's tokens for; see `owner_of`."""
    # An attacker chooses cookies, and may so choose session ids. The messages of sessions begin
    # with the namespace and a zero byte, those of networks do not: no id names a network's owner,
    # by which the tokens of all its clients could be revoked or retired.
    return _owner((f"{NAMESPACE} network", channel, network), secret)


def _owner(names: tuple[str, ...], secret: bytes | None) -> str:
    message = "\0".join(names).encode("utf-8", "surrogatepass")
    return base64url(hmac.digest(secret or NAMESPACE.encode(), message, "sha256"))


def key_id(secret: bytes | None) -> bytes:
    """Four bytes that tell which secret sealed a value, and nothing else of use about it."""
    if secret is None:
        return _NO_SECRET
    return hmac.digest(secret, b"ott_middleware key id", "sha256")[:4]


def derive(material: bytes, secret: bytes | None, purpose: str) -> bytes:
    """A 256-bit key by HKDF-SHA256 (RFC 5869); `purpose` keeps one use's key from another's."""
    info = f"ott_middleware {purpose}".encode("ascii")
    return HKDF(hashes.SHA256(), length=32, salt=secret, info=info).derive(material)


def _associated(key: str, header: bytes) -> bytes:
    # Version, key id and expiry stand outside the ciphertext: binding them here keeps who can
    # write to the store from prolonging a value or moving it under another key. The key carries
    # the namespace.
    return header + key.encode("utf-8")


def seal(
    plain: bytes, *, token: str, key: str, expires_at: float, secret: bytes | None, nonce: bytes
) -> bytes:
    """Seal what a backend shall hold under `key` until `expires_at` (Unix seconds).

    :param nonce: 12 random bytes. The sealing key is used once: even a repeated one is safe.
    """
    header = _HEADER.pack(_VERSION, key_id(secret), int(expires_at * 1000), nonce)
    cipher = AESGCM(derive(token.encode("ascii"), secret, "token seal"))
    return header + cipher.encrypt(nonce, plain, _associated(key, header))


def unseal(
    value: bytes, *, token: str, key: str, secrets: Sequence[bytes]
) -> tuple[bytes, float] | None:
    """What was sealed and its expiry (Unix seconds), or None where no secret opens it.

    :param secrets: newest first; with none, only values sealed without a secret open.
    """
    if len(value) < _HEADER.size:
        return None
    header = value[: _HEADER.size]
    version, said, milliseconds, nonce = _HEADER.unpack(header)
    if version != _VERSION:
        return None
    for secret in secrets or (None,):
        if key_id(secret) != said:
            continue
        cipher = AESGCM(derive(token.encode("ascii"), secret, "token seal"))
        try:
            plain = cipher.decrypt(nonce, value[_HEADER.size :], _associated(key, header))
        except InvalidTag:
            continue
        return plain, milliseconds / 1000
    return None


def seal_cookie(plain: bytes, *, name: str, secret: bytes, nonce: bytes) -> str:
    """Seal a session into a cookie's value."""
    header = bytes([_VERSION]) + key_id(secret) + nonce
    cipher = AESGCM(derive(secret, None, "cookie seal"))
    return base64url(header + cipher.encrypt(nonce, plain, header + name.encode("ascii")))


def unseal_cookie(value: str, *, name: str, secrets: Sequence[bytes]) -> bytes | None:
    """What `seal_cookie` sealed under the same name with one of the secrets, or None."""
    try:
        raw = base64.b64decode(value + "=" * (-len(value) % 4), altchars=b"-_", validate=True)
    except ValueError:
        return None
    # One spelling for one seal: decoders let other alphabets and spare bits at the end pass.
    if base64url(raw) != value:
        return None
    header, sealed = raw[:17], raw[17:]
    for secret in secrets:
        if header[:5] != bytes([_VERSION]) + key_id(secret):
            continue
        cipher = AESGCM(derive(secret, None, "cookie seal"))
        try:
            return cipher.decrypt(header[5:], sealed, header + name.encode("ascii"))
        except (InvalidTag, ValueError):
            continue
    return None
