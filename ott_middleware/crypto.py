"""Derives keys, seals the values of backends and cookies, and parses the `secret` option.

The seal: version, key id, expiry, nonce and AES-GCM ciphertext. Its key is derived from the token
(and the secret, if there is one): only a client that presents the token can have the value opened,
and a dump of a store that holds hashes opens nothing.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets as randomness
import struct
from collections.abc import Callable, Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

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
_VERSION = 2
# Version 1 has the dates of a session as text. A browser keeps such a cookie for two weeks.
_OPENED = (1, _VERSION)
_HEADER = struct.Struct(">B4sQ12s")  # version, key id, expiry in ms, nonce
_NO_SECRET = b"\0\0\0\0"
_SHA256 = hashes.SHA256()
_NO_SALT = bytes(32)
_TOKEN_SEAL = b"ott_middleware token seal"


_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_FROM_URL = bytes.maketrans(b"-_", b"+/")


def base64url(raw: bytes) -> str:
    """Return unpadded base64url (RFC 4648 section 5)."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def hmac_under(key: bytes) -> Callable[[bytes], bytes]:
    """Return HMAC-SHA256 under a key (RFC 2104), which is set up once: that takes the longest."""
    begun = hmac.new(key, digestmod="sha256")

    def digest(message: bytes) -> bytes:
        each = begun.copy()
        each.update(message)
        return each.digest()

    return digest


def key_id(secret: bytes | None) -> bytes:
    """Return four bytes that tell which secret sealed a value, but not what the secret is."""
    if secret is None:
        return _NO_SECRET
    return hmac.digest(secret, b"ott_middleware key id", "sha256")[:4]


def derive(material: bytes, secret: bytes | None, purpose: str) -> bytes:
    """Derive a 256-bit key by HKDF-SHA256 (RFC 5869); each `purpose` has another key."""
    info = f"ott_middleware {purpose}".encode("ascii")
    return HKDF(_SHA256, length=32, salt=secret, info=info).derive(material)


def _associated_data(key: str, header: bytes) -> bytes:
    # Attack: a client that can write to the store prolongs a value, or moves it under another key.
    # Version, key id and expiry stand outside the ciphertext: they and the key, which has the
    # namespace, are bound to it as associated data, so that a changed value does not open.
    return header + key.encode("utf-8")


class TokenSeal:
    """Seals values for a backend, each under a key that is derived from its token and the secret.

    :param secrets: newest first, which seals; all of them open. Without any, values are sealed
        under the token alone, and only such values open.
    """

    def __init__(self, secrets: Sequence[bytes]) -> None:
        # What depends on a secret alone is computed once, when the site starts. The first step of
        # HKDF is an HMAC under its salt, zeros by default (RFC 5869 section 2.2).
        self._by_id = [
            (key_id(secret), hmac_under(secret or _NO_SALT)) for secret in secrets or (None,)
        ]

    def seal(
        self, plain: bytes, *, token: str, key: str, expires_at: float, nonce: bytes | None = None
    ) -> bytes:
        """Seal a value for a backend, under `key` until `expires_at` (Unix seconds).

        :param nonce: 12 random bytes; default: new ones. The sealing key is used once, so that a
            repeated nonce is safe.
        """
        nonce = nonce or randomness.token_bytes(NONCE_BYTES)
        newest, extract = self._by_id[0]
        header = _HEADER.pack(_VERSION, newest, int(expires_at * 1000), nonce)
        return header + _cipher(token, extract).encrypt(nonce, plain, _associated_data(key, header))

    def open(self, value: bytes, *, token: str, key: str) -> tuple[bytes, float] | None:
        """Return the plain value and its expiry (Unix seconds), or None if no secret opens it."""
        if len(value) < _HEADER.size:
            return None
        header, sealed = value[: _HEADER.size], value[_HEADER.size :]
        version, said, milliseconds, nonce = _HEADER.unpack(header)
        if version not in _OPENED:
            return None
        for each, extract in self._by_id:
            if each != said:
                continue
            try:
                plain = _cipher(token, extract).decrypt(
                    nonce, sealed, _associated_data(key, header)
                )
            except InvalidTag:
                continue
            return plain, milliseconds / 1000
        return None


def _cipher(token: str, extract: Callable[[bytes], bytes]) -> AESGCM:
    """Return the cipher under `derive(token, secret, "token seal")`."""
    expand = HKDFExpand(_SHA256, length=32, info=_TOKEN_SEAL)
    return AESGCM(expand.derive(extract(token.encode("ascii"))))


def _decode_base64url(value: str) -> bytes | None:
    """Return the bytes that `base64url` spells so, or None."""
    # A seal has one spelling, though decoders skip other characters, accept other alphabets and
    # spare bits at the end. (To spell it all again takes longer than to decrypt it.)
    try:
        spelled = value.encode("ascii")
        if spelled.translate(None, _ALPHABET):
            return None
        raw = binascii.a2b_base64(spelled.translate(_FROM_URL) + b"==")
    except ValueError:
        return None
    # A group of four characters spells three bytes; only a shorter last one has spare bits.
    ends = spelled[len(spelled) // 4 * 4 :]
    return None if ends and base64url(raw[-(len(raw) % 3) :]) != ends.decode("ascii") else raw


class CookieSeal:
    """Seals values for a cookie; another cookie's name does not open them.

    :param name: of the cookie.
    :param secrets: newest first, which seals; all of them open.
    """

    def __init__(self, name: str, secrets: Sequence[bytes]) -> None:
        self._name = name.encode("ascii")
        # Derived once, when the site starts: a key depends on nothing but its secret.
        self._keys = [
            (key_id(secret), AESGCM(derive(secret, None, "cookie seal"))) for secret in secrets
        ]

    def seal(self, plain: bytes, nonce: bytes | None = None) -> str:
        """Return a cookie's value.

        :param nonce: 12 random bytes; default: new ones.
        """
        nonce = nonce or randomness.token_bytes(NONCE_BYTES)
        newest, cipher = self._keys[0]
        header = bytes([_VERSION]) + newest + nonce
        return base64url(header + cipher.encrypt(nonce, plain, header + self._name))

    def open(self, value: str) -> bytes | None:
        """Return what was sealed under the name with one of the secrets, or None."""
        raw = _decode_base64url(value)
        if not raw or raw[0] not in _OPENED:
            return None
        header, sealed = raw[:17], raw[17:]
        for each, cipher in self._keys:
            if header[1:5] != each:
                continue
            try:
                return cipher.decrypt(header[5:], sealed, header + self._name)
            except (InvalidTag, ValueError):
                continue
        return None
