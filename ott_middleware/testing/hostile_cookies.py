"""Cookie values that no site has issued, for the contract of session adapters."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..http.client_text import MAX_COOKIE_VALUE

#: Values that a client may send in place of a cookie: of any length, of any bytes.
RUBBISH = (
    "x",
    "-",
    ".",
    "..",
    "null",
    "{}",
    '"',
    '"a\\054b"',
    "%00",
    "a=b",
    "\x80\xff\xfe",
    "Ã©",
    "../../etc/passwd",
    "' OR ''='",
    "A" * 100_000,
    "A" * MAX_COOKIE_VALUE,  # a longer one is read by no adapter that asks the request
    "." * 5_000,
    "[" * 5_000,
    "{}:" * 5_000,
)
#: What a session of another site may hold in place of a cookie's value. None can be a cookie.
FOREIGN = ("", ";", "other.AQIDBAUGBwgJCgsMDQ4PEBESExQ;", "{};", "\0", "☃")


def _replace_at(value: str, at: int) -> str:
    other = "A" if value[at : at + 1] != "A" else "B"
    return value[:at] + other + value[at + 1 :]


#: How a live cookie is forged → a function that makes the forgery.
FORGERIES: Mapping[str, Callable[[str], str]] = {
    "without its end": lambda value: value[:-1],
    "without its beginning": lambda value: value[1:],
    "cut in half": lambda value: value[: len(value) // 2],
    "with more at its end": lambda value: f"{value}x",
    "sent twice over": lambda value: value + value,
    "of another beginning": lambda value: _replace_at(value, 0),
    "of another middle": lambda value: _replace_at(value, len(value) // 2),
    "turned round": lambda value: value[::-1],
    "in the other case": str.swapcase,
}
