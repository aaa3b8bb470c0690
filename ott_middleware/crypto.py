"""Derives keys, seals the values of backends and cookies, and parses the `secret` option.

The seal: version, key id, expiry, nonce and AES-GCM ciphertext. Its key is derived from the token
(and the secret, if there is one): only a client that presents the token can have the value opened,
and a dump of a store that holds hashes opens nothing.
"""

from __future__ import annotations

import base64
import hmac
import struct
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from .errors import ConfigurationError

Secret = str | bytes | Sequence[str | bytes]

_CURE = (
    "use 16 bytes and more, as `python -c 'import secrets; print(secrets.token_urlsafe(32))'` "
    "prints, or a list of such, newest first"
)


def parse_secrets(option: str, given: object) -> tuple[bytes, ...]:
    """Return secrets as bytes, newest first.

    :param option: names the option in the error.
    :raises ConfigurationError: there is none, or one is under 16 bytes or no text. The error shows
        no secret.
    """
    several = [given] if isinstance(given, (str, bytes)) else given
    if not isinstance(several, Sequence) or not several:
        raise ConfigurationError(f"{option}: a {type(given).__name__}; {_CURE}")
    secrets: list[bytes] = []
    for secret in several:
        if not isinstance(secret, (str, bytes)):
            raise ConfigurationError(f"{option}: holds a {type(secret).__name__}; {_CURE}")
        try:
            raw = secret.encode() if isinstance(secret, str) else secret
        except UnicodeEncodeError:
            # Not chained: the original error holds the secret.
            raise ConfigurationError(f"{option}: holds text that is no UTF-8; {_CURE}") from None
        # Attack: finding a short secret by trying. Under 128 bits are refused.
        if len(raw) < 16:
            raise ConfigurationError(f"{option}: one of {len(raw)} bytes is too short; {_CURE}")
        secrets.append(raw)
    return tuple(secrets)


NONCE_BYTES = 12
_VERSION = 1
_HEADER = struct.Struct(">B4sQ12s")  # version, key id, expiry in ms, nonce
_NO_SECRET = b"\0\0\0\0"


def base64url(raw: bytes) -> str:
    """Return unpadded base64url (RFC 4648 section 5)."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def key_id(secret: bytes | None) -> bytes:
    """Return four bytes that tell which secret sealed a value, but not what the secret is."""
    if secret is None:
        return _NO_SECRET
    return hmac.digest(secret, b"ott_middleware key id", "sha256")[:4]


def derive(material: bytes, secret: bytes | None, purpose: str) -> bytes:
    """Derive a 256-bit key by HKDF-SHA256 (RFC 5869); each `purpose` has another key."""
    info = f"ott_middleware {purpose}".encode("ascii")
    return HKDF(hashes.SHA256(), length=32, salt=secret, info=info).derive(material)


def _associated_data(key: str, header: bytes) -> bytes:
    # Attack: a client that can write to the store prolongs a value, or moves it under another key.
    # Version, key id and expiry stand outside the ciphertext: they and the key, which has the
    # namespace, are bound to it as associated data, so that a changed value does not open.
    return header + key.encode("utf-8")


def seal(
    plain: bytes, *, token: str, key: str, expires_at: float, secret: bytes | None, nonce: bytes
) -> bytes:
    """Seal a value for a backend, under `key` until `expires_at` (Unix seconds).

    :param nonce: 12 random bytes. The sealing key is used once, so that a repeated nonce is safe.
    """
    header = _HEADER.pack(_VERSION, key_id(secret), int(expires_at * 1000), nonce)
    cipher = AESGCM(derive(token.encode("ascii"), secret, "token seal"))
    return header + cipher.encrypt(nonce, plain, _associated_data(key, header))


def unseal(
    value: bytes, *, token: str, key: str, secrets: Sequence[bytes]
) -> tuple[bytes, float] | None:
    """Return the plain value and its expiry (Unix seconds), or None if no secret opens it.

    :param secrets: newest first; without any, only values sealed without a secret open.
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
            plain = cipher.decrypt(nonce, value[_HEADER.size :], _associated_data(key, header))
        except InvalidTag:
            continue
        return plain, milliseconds / 1000
    return None


def seal_cookie(plain: bytes, *, name: str, secret: bytes, nonce: bytes) -> str:
    """Seal a session into a cookie's value; another cookie's name does not open it."""
    header = bytes([_VERSION]) + key_id(secret) + nonce
    cipher = AESGCM(derive(secret, None, "cookie seal"))
    return base64url(header + cipher.encrypt(nonce, plain, header + name.encode("ascii")))


def unseal_cookie(value: str, *, name: str, secrets: Sequence[bytes]) -> bytes | None:
    """Return what `seal_cookie` sealed under that name with one of the secrets, or None."""
    try:
        raw = base64.b64decode(value + "=" * (-len(value) % 4), altchars=b"-_", validate=True)
    except ValueError:
        return None
    # A seal has one spelling, though decoders accept other alphabets and spare bits at the end.
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
