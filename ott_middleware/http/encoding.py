"""Encodes JSON, dates and visible text for responses."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime, timezone
from urllib.parse import quote

# Visible ASCII without "#".
_VISIBLE = "".join(map(chr, range(0x21, 0x7F))).replace("#", "")


# Most of what is sent needs no encoding.
_PLAIN = re.compile(r"[A-Za-z0-9&=_.-]{,200}")


def visible(text: str) -> str:
    """Percent-encode all but visible ASCII, so that no header can be injected."""
    if _PLAIN.fullmatch(text):
        return text
    # Attack: a query of 64 kB of blanks. quote() encodes it twenty times as fast as a call for each
    # match of a pattern would.
    return quote(text.encode("latin-1", "replace"), safe=_VISIBLE)


def iso_milliseconds(moment: datetime) -> str:
    """Return a date as JavaScript writes it: UTC, exactly three fractional digits, `Z`.

    (ECMA-262, Date Time String Format; Better Auth's client misreads any other fraction.)
    """
    utc = moment if moment.tzinfo is timezone.utc else moment.astimezone(timezone.utc)
    return utc.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def _json_default(value: object) -> object:
    if isinstance(value, datetime):
        return iso_milliseconds(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is no JSON value")


_encode_json = json.JSONEncoder(
    default=_json_default, allow_nan=False, check_circular=False, separators=(",", ":")
).encode


#: Reads what `to_json` wrote, to which nothing was added; returns the value and where it ends.
read_json = json.JSONDecoder().raw_decode


def to_json(value: object) -> bytes:
    """Return compact JSON in ASCII; dates as `iso_milliseconds` writes them.

    :raises TypeError: the value holds something that is no JSON value.
    :raises ValueError: the value holds a number that JSON does not have (NaN, an infinity), or it
        holds itself.
    """
    try:
        return _encode_json(value).encode("ascii")
    except RecursionError as error:
        raise ValueError("the value holds itself, or is nested too deeply") from error
