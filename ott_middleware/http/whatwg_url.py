r"""Parses an absolute http or https URL as browsers do (WHATWG URL Standard, basic URL parser).

A text such as `https:\\b.example\@evil.example` names one host for a browser, and another one for a
parser that follows RFC 3986. `parse_url` returns the URL that a browser opens, spelled so that both
kinds of parser read the same. It refuses some URLs that browsers open: those with a user name, with
a host that `Origin` cannot hold, and with an international name that it cannot map with certainty.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from ipaddress import AddressValueError, IPv6Address
from itertools import groupby
from urllib.parse import quote, unquote_to_bytes

from .idn import encode_name
from .origins import Origin
from .urls import resolve_dots

#: Characters. Proxies and servers refuse a `Location` that is much longer.
MAX_URL = 4096
_LONGEST_HOST = 253

_C0_AND_SPACE = "".join(map(chr, range(0x21)))
_TABS_AND_NEWLINES = {ord(each): None for each in "\t\n\r"}
# Not by the flag IGNORECASE: with it, "s" matches the long s, too. Browsers accept any number of
# slashes and backslashes behind the scheme.
_SCHEME = re.compile(r"([Hh][Tt][Tt][Pp][Ss]?):[/\\]*")
_AUTHORITY = re.compile(r"(?P<host>\[[^\]]*\]|[^:@\[\]]*)(?::(?P<port>[0-9]*))?")
_AUTHORITY_END = re.compile(r"[/\\?#]")
_SLASHES = re.compile(r"[/\\]")
_VISIBLE = "".join(map(chr, range(0x21, 0x7F)))


def _safe(encoded: str) -> str:
    return "".join(each for each in _VISIBLE if each not in encoded)


# What is percent-encoded beside controls, blanks and all but ASCII: the standard's percent-encode
# sets for paths, for queries of http(s) URLs, and for fragments. In a path, Chromium encodes `|` as
# well.
_SAFE_IN_PATH = _safe('"#<>?^`{|}')
_SAFE_IN_QUERY = _safe("\"#<>'")
_SAFE_IN_FRAGMENT = _safe('"<>`')


@dataclass(frozen=True, slots=True)
class WebURL:
    """An absolute http or https URL in the one spelling that browsers make of it.

    :ivar path: without dot segments, percent-encoded.
    :ivar query: percent-encoded; None without a `?`.
    :ivar fragment: percent-encoded; None without a `#`.
    """

    origin: Origin
    # May hold personal data, which a repr might bring into a log.
    path: str = field(repr=False)
    query: str | None = field(default=None, repr=False)
    fragment: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        query = "" if self.query is None else f"?{self.query}"
        fragment = "" if self.fragment is None else f"#{self.fragment}"
        return f"{self.origin}{self.path}{query}{fragment}"


def parse_url(text: str) -> WebURL | None:
    """Return the URL that a browser opens for an absolute http or https URL; None if in doubt."""
    # Attack: 64 kB of dots or escapes. Every step below takes linear time, and the length is
    # limited.
    if len(text) > MAX_URL or not _is_unicode(text):
        return None
    text = text.strip(_C0_AND_SPACE).translate(_TABS_AND_NEWLINES)
    scheme = _SCHEME.match(text)
    if scheme is None:
        return None
    rest = text[scheme.end() :]
    authority = _AUTHORITY_END.split(rest, maxsplit=1)[0]
    origin = _parse_origin(scheme[1].lower(), authority)
    if origin is None:
        return None
    before, hash_mark, fragment = rest[len(authority) :].partition("#")
    path, question_mark, query = before.partition("?")
    url = WebURL(
        origin,
        quote(resolve_dots(_SLASHES.split(path)[1:]), safe=_SAFE_IN_PATH),
        quote(query, safe=_SAFE_IN_QUERY) if question_mark else None,
        quote(fragment, safe=_SAFE_IN_FRAGMENT) if hash_mark else None,
    )
    # Attack: letters that take twelve characters each when they are encoded.
    return url if len(str(url)) <= MAX_URL else None


def _is_unicode(text: str) -> bool:
    """Return whether a text has no lone surrogates, which have no UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _parse_origin(scheme: str, authority: str) -> Origin | None:
    # Attack: `https://b.example@evil.example/`, of which a careless parser sees the first host. A
    # user name is refused: none is needed, and browsers hide it from the visitor.
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        return None
    host, port = match["host"], match["port"] or ""
    found = _ipv6(host[1:-1]) if host.startswith("[") else _domain(host)
    if found is None:
        return None
    # Leading zeros mean nothing, and `Origin` takes five digits.
    port = f":{port.lstrip('0') or '0'}" if port else ""
    return Origin.parse(f"{scheme}://{found}{port}")


def _ipv6(text: str) -> str | None:
    # A zone (`fe80::1%eth0`) is no part of an address in a URL.
    if "%" in text:
        return None
    try:
        value = int(IPv6Address(text))
    except AddressValueError:
        return None
    pieces = [f"{value >> shift & 0xFFFF:x}" for shift in range(112, -1, -16)]
    # Not by str(): of an IPv4-mapped address, Python 3.13 makes another text than browsers.
    runs = [[*group] for _, group in groupby(range(8), key=lambda index: pieces[index] == "0")]
    longest = max((run for run in runs if pieces[run[0]] == "0"), key=len, default=[])
    if len(longest) < 2:
        return f"[{':'.join(pieces)}]"
    return f"[{':'.join(pieces[: longest[0]])}::{':'.join(pieces[longest[-1] + 1 :])}]"


def _domain(text: str) -> str | None:
    """Return a host that is no IPv6 address, as browsers write it; None if in doubt."""
    # Attack: `https://b.example%2F.evil.example/`, where the host ends at another place once it is
    # decoded. It is decoded first, as in browsers, and what it holds is checked after that.
    try:
        name = unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        return None
    encoded = name.lower() if name.isascii() else encode_name(name)
    if encoded is None or len(encoded) > _LONGEST_HOST:
        return None
    labels = encoded.removesuffix(".").split(".")
    if not all(map(_is_label, labels)):
        return None
    return _ipv4(labels) if _NUMBER_OR_DIGITS.fullmatch(labels[-1]) else encoded


_LABEL = re.compile(r"[a-z0-9_\-]+")
# The last label of a host; a browser takes such a host for an IPv4 address, or refuses it.
_NUMBER_OR_DIGITS = re.compile(r"[0-9]+|0x[0-9a-f]*")
_NUMBER = re.compile(r"0x(?P<hex>[0-9a-f]*)|0(?P<octal>[0-7]*)|(?P<decimal>[1-9][0-9]*)")


def _ipv4(labels: list[str]) -> str | None:
    """Return the dotted address that browsers read in numbers: `0x7f.1` is `127.0.0.1`."""
    if len(labels) > 4:
        return None
    numbers = [_number(label) for label in labels]
    *first, last = (-1 if number is None else number for number in numbers)
    if not all(0 <= number <= 255 for number in first) or not 0 <= last < 256 ** (4 - len(first)):
        return None
    value = sum(number << 8 * (3 - index) for index, number in enumerate(first)) + last
    return ".".join(str(value >> shift & 0xFF) for shift in (24, 16, 8, 0))


def _number(label: str) -> int | None:
    found = _NUMBER.fullmatch(label)
    if found is None:
        return None
    if found["decimal"]:
        return int(found["decimal"])
    return int(found["hex"] or "0", 16) if found["hex"] is not None else int(label, 8)


def _is_label(label: str) -> bool:
    """Return whether browsers accept a label of a host in lower case."""
    if not _LABEL.fullmatch(label):
        return False
    return not label.startswith("xn--") or _is_encoded(label.removeprefix("xn--"))


def _is_encoded(label: str) -> bool:
    """Return whether a label is the Punycode of an international one (RFC 3492)."""
    try:
        name = label.encode("ascii").decode("punycode")
    except UnicodeError:
        return False
    # Only what browsers would encode to this very label: no upper case, and no other spelling.
    kinds = {unicodedata.category(each) for each in name}
    return (
        not name.isascii()
        and name.encode("punycode").decode("ascii") == label
        and unicodedata.normalize("NFKC", name.lower()) == name
        and not unicodedata.category(name[0]).startswith("M")
        and kinds <= {"Ll", "Lo", "Lm", "Mn", "Mc", "Nd", "Pd", "So"}
    )
