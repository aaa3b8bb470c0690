"""Parses the body of the verify path: JSON with a token, refused early where it could hurt."""

from __future__ import annotations

import json
import re
from itertools import accumulate
from typing import Any, NoReturn

from ..errors import BadRequest, PayloadTooLarge, UnsupportedMediaType, ValidationError
from ..reasons import quote
from .messages import Request

MAX_BODY = 16 * 1024


def check_length(request: Request, limit: int) -> None:
    """Check the declared length of the body, if there is one, before any of it is read.

    :param limit: bytes.
    :raises BadRequest: the length is no number.
    :raises PayloadTooLarge: the length is over the limit.
    """
    length = request.header("content-length")
    if not length:
        return
    if not (length.isascii() and length.isdecimal()):
        raise BadRequest(why="Content-Length is no number")
    if len(length) > 9 or int(length) > limit:
        raise PayloadTooLarge


def parse_body(request: Request, raw: bytes) -> tuple[str, str | None]:
    """Return the token and the audience (or None) that a verify request names.

    :raises UnsupportedMediaType: a content type other than JSON.
    :raises BadRequest: malformed JSON.
    :raises ValidationError: JSON of another shape.
    """
    content_type = request.header("content-type")
    if not raw or not content_type:
        raise ValidationError("body", "object", "undefined")
    # Attack: 64 kB of parameters behind the media type. They reach no parser: one would take 30
    # milliseconds for them.
    media_type = content_type.partition(";")[0].strip(" \t").lower()
    if media_type != "application/json":
        raise UnsupportedMediaType(why=f"the body is {quote(media_type)}, not application/json")
    body = _json(raw)
    if not isinstance(body, dict):
        raise ValidationError("body", "object", _type_name(body))
    token, audience = body.get("token", _MISSING), body.get("audience", _MISSING)
    if not isinstance(token, str):
        raise ValidationError("body.token", "string", _type_name(token))
    if audience is _MISSING or audience is None:
        return token, None
    if not isinstance(audience, str):
        raise ValidationError("body.audience", "string", _type_name(audience))
    return token, audience


_MISSING = object()
_MOST_DEPTH = 100
# The closing quote is optional, else an unterminated string would be retried from each quote:
# quadratic time.
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)


def _json(raw: bytes) -> Any:
    # Attack: thousands of nested arrays. How deep a parser can follow differs by Python's version,
    # and some versions crash in a thread with a small stack; this limit is the same for all.
    if raw.count(b"[") + raw.count(b"{") > _MOST_DEPTH and _depth(raw) > _MOST_DEPTH:
        raise BadRequest(why=f"the body is nested deeper than {_MOST_DEPTH} levels")
    try:
        # Parsed as `Request.json()` of browsers does: UTF-8 alone, a byte order mark skipped.
        # Attack: a number of thousands of digits, which takes `int` quadratic time. Numbers are not
        # used, so that each may be a float.
        return _DECODER.decode(raw.decode("utf-8-sig"))
    except ValueError as error:
        raise BadRequest(why="the body is no JSON") from error


def _depth(raw: bytes) -> int:
    """Return how deep arrays and objects are nested; brackets in strings do not count."""
    steps = ((byte in b"[{") - (byte in b"]}") for byte in _STRING.sub(b"", raw))
    return max(accumulate(steps), default=0)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON (RFC 8259 section 6)")


_DECODER = json.JSONDecoder(parse_int=float, parse_constant=_refuse)


# The JSON type of a value, as JavaScript calls it; all others are numbers.
_TYPE_NAMES = {
    type(_MISSING): "undefined",
    type(None): "null",
    bool: "boolean",
    list: "array",
    dict: "object",
    str: "string",
}


def _type_name(value: object) -> str:
    return _TYPE_NAMES.get(type(value), "number")
