"""Encodes international host names (IDN): `bücher.example` is `xn--bcher-kva.example`.

Encoded are the names that developers write (options, the arguments of `link()` and `generate()`),
and those in the targets of handoffs. What clients send in `Host` and `Origin` is ASCII, or no
origin.
"""

from __future__ import annotations

import re
import unicodedata

from .urls import _AUTHORITY

# Python's codec follows IDNA 2003, which maps these to other names than browsers do: `straße` to
# `strasse`, which may be another owner's. A name with one of them has to be written as `xn--…`.
# So has one with letters that are shown as nothing, that stand for others, or that changed since.
_AMBIGUOUS = re.compile(
    "[\u00df\u1e9e\u03c2\u200c\u200d\u04c0\u115f\u1160\u17b4\u17b5\u180f\u1c80-\u1c88\u3164\uffa0"
    "\U0002f800-\U0002fa1f]"
)
_SCRIPTS_WITH_CASE = ("LATIN", "GREEK", "CYRILLIC", "ARMENIAN")
_LONGEST = 253
_HOST = re.compile(r"(?P<wildcard>(?:\*\.)?)(?P<name>[^@:\[\]*]+)(?P<port>(?::(?:[0-9]+|\*))?)")
_DOTS = re.compile("[.\u3002\uff0e\uff61]")
_LONGEST_LABEL = 63
_CODEC = "idna"
_ENCODED = re.compile(r"[a-z0-9_\-]+(?:\.[a-z0-9_\-]+)*\.?")


def encode_host(url: str) -> str:
    """Return an origin or an absolute URL with its host name in ASCII.

    A URL with a host that has no such form, and any other text, is returned as it is.

    :param url: an origin may have a wildcard: `https://*.bücher.example`, `http://bücher.example:*`.
    """
    if url.isascii():
        return url
    found = _AUTHORITY.match(url)
    if found is None or found[0].isascii():
        return url
    scheme, mark, host = found[0].partition("://")
    parts = _HOST.fullmatch(host)
    name = encode_name(parts["name"]) if parts else None
    if parts is None or name is None:
        return url
    return f"{scheme}{mark}{parts['wildcard']}{name}{parts['port']}{url[found.end() :]}"


def encode_name(name: str) -> str | None:
    """Return a host name in ASCII, or None where browsers may map the name to another one."""
    # Attack: a long text as the audience of a request: the codec takes quadratic time for it.
    if len(name) > _LONGEST or _AMBIGUOUS.search(name):
        return None
    # The codec knows the letters of 2002 only: newer ones are put in lower case here.
    normal = unicodedata.normalize("NFKC", name)
    if not all(map(_has_one_lower_case, normal)):
        return None
    mapped = unicodedata.normalize("NFKC", normal.lower())
    # Attack: U+FDFA, which becomes 18 letters. The length of what the codec is given counts.
    if len(mapped) > _LONGEST or max(map(len, _DOTS.split(mapped))) > _LONGEST_LABEL:
        return None
    try:
        encoded = mapped.encode(_CODEC).decode("ascii")
    except UnicodeError:
        return None
    # Attack: characters that only look like a letter, a slash or a colon, and become one here: the
    # Kelvin sign as a "k". Without these lines a name would pass for another one that it looks
    # like, or end at another place than in the text that was checked.
    labels = zip(_DOTS.split(name), encoded.split("."), strict=False)
    hides = any(not label.isascii() and not said.startswith("xn--") for label, said in labels)
    return encoded if not hides and _ENCODED.fullmatch(encoded) else None


def _has_one_lower_case(letter: str) -> bool:
    """Return whether all browsers put a letter of a name in lower case as Python does."""
    # Georgian got capitals in Unicode 11, Cherokee small letters in Unicode 8, which stand for the
    # capitals: browsers refuse such a letter, or make another one of it.
    if letter == letter.lower() == letter.casefold():
        return True
    return unicodedata.name(letter, "").startswith(_SCRIPTS_WITH_CASE)
