"""Cuts link parameters from free text, such as a line of an access log: pure functions.

A log line is no request: how its URL was quoted, escaped or joined with other text is the server's
choice. So the parameter is cut by its name, wherever it begins as a parameter does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from .urls import SEEN, letters_of

# A URL in another URL's query is percent-encoded, once for each level.
_SEPARATOR = r"[?&;]|%(?:25)*(?:3[Ff]|26|3[Bb])"
_EQUALS = r"(?:=|%(?:25)*3[Dd])"
# Ends at what ends a parameter or a quoted URL. No character of a token ends a value.
_VALUE = r"(?:(?!%(?:25)*(?:26|23|3[Bb]))[^\s\"'<>&;#\\|,()\[\]{}])*"
# Without a separator, the parameter is the first one of a query that a server logs by itself.
_ALONE = r"(?<![A-Za-z0-9._~%-])"


class LinkText:
    """Cuts the parameters of some names from texts.

    :param names: of the parameters, ASCII; percent-encoded spellings of them count.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.names = tuple(sorted(names))
        spelled = "|".join(map(letters_of, self.names)) or r"(?!)"
        parameter = rf"(?:{spelled})(?:{letters_of(SEEN)})?{_EQUALS}{_VALUE}"
        # A WebSocket's token may be a sub-protocol: `ott.TOKEN` in a list, but not a file's name.
        plain = "|".join(map(re.escape, self.names)) or r"(?!)"
        self._protocol = re.compile(rf"(?<![^\s,:'\"])({plain})\.[A-Za-z0-9_-]{{16,512}}")
        # Neighbours are cut at once.
        self._parameters = re.compile(
            rf"({_SEPARATOR}|{_ALONE}){parameter}(?:(?:{_SEPARATOR}){parameter})*({_SEPARATOR})?"
        )

    def may_be_in(self, text: str) -> bool:
        """Return whether a text has one of the names, or an escape; nearly none has."""
        return "%" in text or any(map(text.__contains__, self.names))

    def cut(self, text: str) -> str:
        """Return a text without the parameters; the same object if it has none."""
        if self.may_be_in(text):
            cut = self._protocol.sub(r"\1", self._parameters.sub(_keep_separator, text))
            return cut if cut != text else text
        return text


def _keep_separator(found: re.Match[str]) -> str:
    """Return what is left of parameters: one of the separators around them, or nothing."""
    before, after = found[1], found[2]
    if not before or not after:
        return ""
    return before if before == "?" or before.lower().endswith("3f") else after
