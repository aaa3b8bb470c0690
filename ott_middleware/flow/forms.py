"""Reads the forms that the middleware's own pages post."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import parse_qsl

from ..errors import BadRequest
from ..http.messages import Request
from ..http.verify_body import check_length

Read = Callable[[int], Awaitable[bytes]]

#: Bytes; a form of these pages has a few short fields.
MAX_FORM = 4096
_MOST_FIELDS = 8
_FORM = "application/x-www-form-urlencoded"


def is_form(request: Request) -> bool:
    """Return whether a request may be the form of a page: a POST of URL-encoded fields."""
    content_type = request.header("content-type") or ""
    media_type = content_type.partition(";")[0].strip(" \t").lower()
    return request.method == "POST" and media_type == _FORM


async def read_form(request: Request, read: Read) -> dict[str, str]:
    """Return the fields of a form; of a field that is there twice, none.

    :param read: reads the body, up to a number of bytes.
    :raises BadRequest: the body is no such form.
    :raises PayloadTooLarge: the body is over 4 KiB.
    """
    check_length(request, MAX_FORM)
    raw = await read(MAX_FORM)
    try:
        # The body is ASCII: a form has all else percent-encoded.
        pairs = parse_qsl(raw.decode("ascii"), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError as error:
        raise BadRequest(why="the body is no form of this site's pages") from error
    names = [name for name, _ in pairs]
    return {name: value for name, value in pairs if names.count(name) == 1}
