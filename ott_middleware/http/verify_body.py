"""The body of the verify path: JSON, and nothing that could hurt on its way to a token."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from ..errors import BadRequest, PayloadTooLarge, UnsupportedMediaType, ValidationError
from .messages import Request

MAX_BODY = 16 * 1024


def check_length(request: Request, limit: int) -> None:
    """Judge the body by its declared length, if it has one, before any of it is read.

    :raises BadRequest: no number.
    :raises PayloadTooLarge: over the limit; nothing need be read to know.
    """
    length = request.header("content-length")
    if not length:
        return
    if not (length.isascii() and length.isdecimal()):
        raise BadRequest
    if len(length) > 9 or int(length) > limit:
        raise PayloadTooLarge


def parse_body(request: Request, raw: bytes) -> tuple[str, str | None]:
    """The token and the audience (or None) that a verify request names.

    :raises UnsupportedMediaType: a content type other than JSON.
    :raises BadRequest: malformed JSON.
    :raises ValidationError: JSON of another shape.
    """
    content_type = request.header("content-type")
    if not raw or not content_type:
        raise ValidationError("body", "object", "undefined")
    # The media type alone counts, so that its parameters reach no parser: 64 kB of them would take
    # one 30 milliseconds.
    if content_type.partition(";")[0].strip(" \t").lower() != "application/json":
        raise UnsupportedMediaType
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
# One without an end runs to the end of all: tried again from each of its quotes, it would take
# quadratic time.
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
_OPENING, _CLOSING = b"[{", b"]}"


def _json(raw: bytes) -> Any:
    # Nested to hurt: how deep a parser can follow differs by Python's version, this does not.
    if _depth(raw) > _MOST_DEPTH:
        raise BadRequest
    try:
        # As `Request.json()` in browsers: UTF-8 alone, a byte order mark skipped. Numbers are not
        # used, so that a long one is not worth an integer's quadratic parsing.
        return json.loads(raw.decode("utf-8-sig"), parse_int=float, parse_constant=_refuse)
    except ValueError as error:
        raise BadRequest from error


def _depth(raw: bytes) -> int:
    """How deep arrays and objects are nested; what stands in strings does not count."""
    deepest = depth = 0
    for byte in _STRING.sub(b"", raw):
        if byte in _OPENING:
            depth += 1
            deepest = max(deepest, depth)
        elif byte in _CLOSING:
            depth -= 1
    return deepest


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON (RFC 8259 section 6)")


def _type_name(value: object) -> str:
    """The JSON type of a value as JavaScript would call it."""
    if value is _MISSING:
        return "undefined"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, list):
        return "array"
    if isinstance(value, dict):
        return "object"
    return "string" if isinstance(value, str) else "number"
