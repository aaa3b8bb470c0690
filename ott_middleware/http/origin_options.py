"""Parses the options that hold origins."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from ..errors import ConfigurationError
from .idn import encode_host
from .origins import Origin

_T = TypeVar("_T")


def parse_list(option: str, given: object, parse: Callable[[str, str], _T]) -> tuple[_T, ...]:
    """Return what `parse` makes of each text of a list.

    :raises ConfigurationError: that is no list, or one of its texts cannot be parsed.
    """
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise ConfigurationError(f"{option}: {given!r}; pass a list of origins")
    return tuple(parse(option, text) for text in given)


def parse_public_origins(given: object) -> tuple[Origin, ...]:
    """Return the origins of `public_origin`, each once, in their order.

    :raises ConfigurationError: one is no origin of a website, or the list is empty.
    """
    if given is None:
        return ()
    texts = (
        given if isinstance(given, Iterable) and not isinstance(given, (str, bytes)) else [given]
    )
    origins = tuple(dict.fromkeys(map(_parse_public_origin, texts)))
    if not origins:
        raise ConfigurationError("public_origin: is an empty list; name an origin, or leave it out")
    return origins


def _parse_public_origin(text: object) -> Origin:
    origin = Origin.parse(encode_host(text)) if isinstance(text, str) else None
    if origin is None or origin.scheme not in ("http", "https"):
        raise ConfigurationError(
            f"public_origin: {text!r}; use scheme and host, as 'https://app.example.com' "
            "(if it is an international name, as 'xn--…')"
        )
    return origin
