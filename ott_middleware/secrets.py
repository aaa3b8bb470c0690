"""Secrets as an option: one, or several for rotation."""

from __future__ import annotations

from collections.abc import Sequence

from .errors import ConfigurationError

Secret = str | bytes | Sequence[str | bytes]

_CURE = (
    "use 16 bytes and more, as `python -c 'import secrets; print(secrets.token_urlsafe(32))'` "
    "prints, or a list of such, newest first"
)


def parse_secrets(option: str, given: object) -> tuple[bytes, ...]:
    """Secrets as bytes, newest first.

    :raises ConfigurationError: none, one of under 16 bytes, or one that is no text. The error does
        not show it.
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
            # Not chained: that error carries the secret.
            raise ConfigurationError(f"{option}: holds text that is no UTF-8; {_CURE}") from None
        # 128 bits at the very least: a short secret can be found by trying.
        if len(raw) < 16:
            raise ConfigurationError(f"{option}: one of {len(raw)} bytes is too short; {_CURE}")
        secrets.append(raw)
    return tuple(secrets)
