"""Cuts queries, compares paths, and builds relative references: pure functions.

The strings are those of `ott_middleware.http.messages`: one character a byte. One module, though it
is long: all that knows how a query and a path are spelled.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, unquote_to_bytes

from .client_text import MAX_SPELLED_PATH

_AUTHORITY = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://[^/?#\\]*")
# A token has at most 512 characters, and a percent-encoded one three times as many.
_LONGEST_VALUE = 3 * 512
#: What the name of the second parameter has behind the link parameter's name. The second one says
#: that the browser was shown the page of `pages.page_first`; it is cut wherever the first one is.
SEEN = "_seen"
#: What the value of the link parameter has before a token that wants a page with a button first.
CONFIRM = "confirm."


def value_of(spelled: str) -> str:
    """Return a parameter's value, percent-decoded unless it is too long for any token."""
    # Attack: a value of 64 kB, decoded only to be refused.
    if "%" not in spelled or len(spelled) > _LONGEST_VALUE:
        return spelled
    return unquote(spelled, "latin-1")


class Divided(NamedTuple):
    """A query without the link parameters, and the values of these, as sent.

    :ivar links: the values of the parameter that carries the token.
    :ivar seen: the values of the parameter that the page of `pages.page_first` adds.
    :ivar others: the values of both behind a `;`.
    """

    rest: str
    links: list[str]
    seen: list[str]
    others: list[str]

    def __repr__(self) -> str:
        # An error reporter records the local variables of a failing function.
        return f"{type(self).__name__}()"


def divide(query: str, name: str, ends: str = "&", also: str = SEEN) -> Divided:
    """Cut the parameters of that name, and of that name with `also` behind it, from a query.

    Parameters are separated by `&`. Parsers that split at `;` too (`cgi` of old Pythons, some
    servers' own) would find the token in `a=1;ott=T`: such a parameter is cut, but is no link.

    :param query: as sent; the rest is kept byte for byte, in order.
    :param name: ASCII; a percent-encoded spelling of it counts.
    :param ends: the characters that end a parameter.
    """
    # Attack: tens of thousands of parameters in 64 kB. A loop over them in Python would take the
    # server tens of milliseconds; the patterns do all of it in C.
    link, links, piece, pieces, first_piece = _patterns(name, ends)
    rest = f"&{query}"
    values: list[str] = link.findall(rest)
    if values:
        rest = links.sub("", rest)
    others: list[str] = piece.findall(rest)
    if others:
        # Without the pieces behind it, the first piece may be a link.
        rest = link.sub("", pieces.sub("", rest))
    rest = first_piece.sub("&", rest).removeprefix("&")
    seen: list[str] = []
    if also and (also in rest or "%" in rest):
        rest, seen, _, more = divide(rest, name + also, ends, also="")
        others += more
    return Divided(rest, values, seen, others)


def cut_target(target: str, name: str) -> str:
    """Return a request target without the parameters of that name, otherwise byte for byte.

    A request target has no fragment (RFC 9112 section 3.2). If a client sends one, servers differ
    in whether it belongs to the query: the parameter is cut on both sides of a `#`.
    """
    path, question_mark, query = target.partition("?")
    # A parameter may begin behind a `#`, too: an `&` is added behind it for the cut.
    rest = divide(query.replace("#", "#&"), name, "&#").rest.replace("#&", "#")
    if rest == query:
        return target
    return path + (question_mark if rest.partition("#")[0] else "") + rest


@lru_cache(maxsize=16)
def _patterns(name: str, ends: str) -> tuple[re.Pattern[str], ...]:
    """Return patterns of links, of parameters behind a `;`, and of a first parameter with neither.

    :param ends: the characters that end a parameter.
    """
    letters = letters_of(name)
    link = rf"&{letters}(?:=([^{ends}]*))?(?=[{ends}]|\Z)"
    piece = rf";{letters}(?:=([^{ends};]*))?(?=[{ends};]|\Z)"
    # The patterns of several cut neighbours at once. The first parameter has no `;` before it. It
    # has no value either: with one, it is a link.
    patterns = (link, f"(?:{link})+", piece, f"(?:{piece})+", rf"&{letters};")
    return tuple(map(re.compile, patterns))


def cut_url(url: str, name: str) -> str:
    """Return a URL without the parameters of that name in its query, otherwise byte for byte."""
    before, hash_mark, fragment = url.partition("#")
    return cut_target(before, name) + hash_mark + fragment


def add_parameter(url: str, name: str, value: str) -> str:
    """Return a URL with one parameter of that name, the last of its query."""
    before, hash_mark, fragment = cut_url(url, name).partition("#")
    joint = "&" if "?" in before else "?"
    return f"{before}{joint}{name}={value}{hash_mark}{fragment}"


# Characters. An origin has at most 253 of host; a query with this much beside it is no accident.
_MAX_QUERY = 4096


def values_named(query: str, name: str, decode: Callable[[str], str] = value_of) -> set[str] | None:
    """Return the distinct values of a parameter of the generate path; None if it is not named.

    Empty where the parameter stands in a place, or in a query of a length, that leaves it open what
    is meant: refuse such a request. If the parameter were ignored, the token would be for something
    else than what was asked for.

    :param decode: returns a value percent-decoded.
    """
    # Searched first: splitting every query would take a long time for a long one. Behind a `;` the
    # name is found as well, though that is no parameter.
    if not query or not (found := _finder(name)(f"&{query}".replace(";", "&"))):
        return None
    if len(query) > _MAX_QUERY:
        return set()
    links = divide(query, name, also="").links
    # The failure: `to=/a;to=/b` is one parameter for some parsers, and two for others.
    return set(map(decode, links)) if len(found) == len(links) else set()


@lru_cache(maxsize=16)
def _finder(name: str) -> Callable[[str], list[str]]:
    return re.compile(spellings_of(name)).findall


#: A part of the package's own paths, which may have any prefix.
PATH_MARK = "/one-time-token/"
#: Stands for the link parameter's name where links are off: no server lets it into a query.
NO_PARAM = "\0"


def letters_of(name: str) -> str:
    """Return a pattern that matches every percent-encoded spelling of a name."""
    return "".join(f"(?:{re.escape(each)}|%(?i:{ord(each):02x}))" for each in name)


def spellings_of(name: str, also: str = "") -> str:
    """Return a pattern that finds in `"&" + query` what `divide` would cut, and nothing else.

    :param also: what the name may have behind it, as for `divide`.

    It has no `;`: replace each `;` of the query by `&` before the search. The pattern begins with a
    character, not with a choice: such a pattern is searched ten times as fast.
    """
    return rf"&{letters_of(name)}(?:{letters_of(also)})?(?:[=&]|\Z)"


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def path_of(target: str) -> str:
    """Return the path of a request target, absolute form included (RFC 9112 section 3.2.2)."""
    # Attack: a client chooses the authority. It is dropped; else it could decide where a redirect
    # goes.
    match = _AUTHORITY.match(target)
    return target[match.end() if match else 0 :].partition("?")[0].partition("#")[0]


_PLAIN_PATH = re.compile(rb"/[A-Za-z0-9/._~-]*")


def browser_path(spelled: str | None, mount: bytes, path: bytes) -> str:
    """Return the path that the browser requested, percent-encoded.

    It is no `Location`: a path such as `//b.example` would lead to another host.

    :param spelled: the request target as it was sent, or None. Where it says the same as `mount`
        and `path`, their spelling (`%2F`, say) is taken from it.
    :param mount: the prefix that the application is mounted at, percent-decoded.
    :param path: the rest, percent-decoded.
    """
    # Nearly every path needs no encoding, and was sent as it is.
    if not mount and _PLAIN_PATH.fullmatch(path):
        plain = path.decode("ascii")
        if spelled is None or spelled == plain or spelled.startswith(f"{plain}?"):
            return plain
    if spelled is not None:
        # No browser sends a "#", but servers differ in whether it ends the path.
        for raw in (path_of(spelled.replace("#", "%23")), path_of(spelled)):
            # Attack: 64 kB of escapes, decoded twice to be compared. The spelling of so long a path
            # is ignored.
            if len(raw) > MAX_SPELLED_PATH:
                continue
            said = _text(unquote_to_bytes(raw.encode("latin-1")))
            if said == _text(mount + path):
                return _add_root(_quote_spelled(raw))
            if said == _text(path):
                return _add_root(_quote(mount) + _quote_spelled(raw))
    return _add_root(_quote(mount + path))


def _add_root(path: str) -> str:
    return path if path.startswith("/") else f"/{path}"


def on_this_host(path: str) -> str:
    r"""Return a path of `browser_path` in a form that cannot name another host.

    Browsers take `//host` for a network-path reference (RFC 3986 section 4.2; WHATWG URL, relative
    slash state). Other spellings, such as `/\host`, are percent-encoded already.
    """
    return "/%2F" + path[2:] if path.startswith("//") else path


_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


def relative_reference(path: str, query: str, *, query_alone: bool) -> str:
    r"""Return a reference to the same path on the same host, for a client that requested the path.

    It names the last segment at most, so that it is right below any prefix that only a proxy, the
    app or the browser knows.

    :param path: of the request, percent-encoded as `browser_path` returns it.
    :param query: percent-encoded; empty for none.
    :param query_alone: whether the client resolves `?query` as RFC 3986 says. By RFC 2396, which
        older clients follow, that drops the last segment.
    """
    if query and query_alone:
        return f"?{query}"
    last = path.rpartition("/")[2]
    if last.lower().replace("%2e", ".") in (".", ".."):
        last = ""
    # Attack: `//b.example`, `/\b.example` or `/https:x` is requested here, and the redirect leads
    # to another host. Behind `./` nothing is read as a host or a scheme, in any spelling (RFC 3986
    # section 4.2; WHATWG URL, relative state); else a link to this host could lead anywhere.
    last = _STRAY_PERCENT.sub("%25", last)
    return f"./{last}?{query}" if query else f"./{last}"


# The characters of `pchar` in RFC 3986, and the slash; never `\`, a control or a space.
_SAFE = "/:@!$&'()*+,;=~"


def _quote(path: bytes) -> str:
    # Attack: a path of 64 kB, for which quote() takes 4 ms. In a path that is longer than browsers
    # send, each byte is encoded, at once; it names the same resource.
    if len(path) > MAX_SPELLED_PATH and not path.isalnum():
        return f"%{path.hex('%').upper()}".replace("%2F", "/")
    return quote(path, safe=_SAFE)


def mount_of(carrier: Mapping[str, Any]) -> str:
    """Return the prefix that an application is mounted at, percent-encoded; empty for none.

    :param carrier: the scope or environ of a request.
    """
    mount = carrier.get("root_path")
    if isinstance(mount, str):
        raw = mount.encode("utf-8", "replace")
    else:
        raw = str(carrier.get("SCRIPT_NAME", "")).encode("latin-1", "replace")
    return _quote(raw.rstrip(b"/"))


def _quote_spelled(path: str) -> str:
    return quote(path.encode("latin-1"), safe=_SAFE + "%")


def resolved_path(url: str) -> str | None:
    """Return the path that a browser requests for an absolute URL (WHATWG URL, path state).

    None where a server may see another path than the browser: one that decodes `%2F` or `%5C`, or
    cuts parameters from a segment, would find a dot segment that the browser did not resolve.

    :param url: without a backslash, and without what browsers drop (tabs, newlines).
    """
    path = resolve_dots(path_of(url).split("/")[1:])
    return None if _hides_dots(path) else path


def resolve_dots(parts: list[str]) -> str:
    """Return the path of these segments without dot segments (WHATWG URL, path state)."""
    segments: list[str] = []
    dots = ""
    for part in parts:
        dots = part.lower().replace("%2e", ".")
        if dots == "..":
            del segments[-1:]
        elif dots != ".":
            segments.append(part)
    if dots in (".", ".."):
        segments.append("")
    return "/" + "/".join(segments)


def _hides_dots(path: str) -> bool:
    raw = path.encode("utf-8", "surrogatepass")
    # Each round undoes one layer of escapes; no honest URL has more than a few.
    for _ in range(4):
        decoded = unquote_to_bytes(raw).replace(b"\\", b"/")
        if any(each.partition(b";")[0].strip() == b".." for each in decoded.split(b"/")):
            return True
        if any(byte < 0x20 for byte in decoded):
            return True
        if decoded == raw:
            return False
        raw = decoded
    return True
