"""JSON, dates and visible text, as they are written into responses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from urllib.parse import quote

# All of visible ASCII but "#".
_VISIBLE = "".join(map(chr, range(0x21, 0x7F))).replace("#", "")


def visible(text: str) -> str:
    """Text with everything but visible ASCII percent-encoded, so that no header can be injected."""
    # Attack: a query of 64 kB of blanks. quote() encodes it twenty times as fast as a call for each
    # match of a pattern would.
    return quote(text.encode("latin-1", "replace"), safe=_VISIBLE)


def iso_milliseconds(moment: datetime) -> str:
    """A date as JavaScript writes one: UTC, exactly three fractional digits, `Z`.

    (ECMA-262, Date Time String Format; any other fraction is misread by the official client.)
    """
    utc = moment.astimezone(timezone.utc).replace(tzinfo=None)
    return f"{utc.isoformat(timespec='milliseconds')}Z"


def _json_default(value: object) -> object:
    if isinstance(value, datetime):
        return iso_milliseconds(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is no JSON value")


_encode_json = json.JSONEncoder(
    default=_json_default, allow_nan=False, separators=(",", ":")
).encode


def to_json(value: object) -> bytes:
    """JSON as the wire has it; dates as `iso_milliseconds`.

    :raises TypeError: something in it is no JSON value.
    :raises ValueError: a number in it is none to JSON (NaN, an infinity).
    """
    return _encode_json(value).encode("ascii")
