"""docs/errors.md has an entry for each code of a response and each reason word."""

from __future__ import annotations

import re
from typing import get_args

from documents import ROOT

from ott_middleware.errors import RequestError
from ott_middleware.reasons import Word

PAGE = ROOT / "docs" / "errors.md"
ENTRIES = re.findall(
    r"^### `(\w+)`(?: \((\d+)\))?\n\n\*\*Cause:\*\* \S(?:(?!\n\n).)*\n\n\*\*Cure:\*\* \S",
    PAGE.read_text(encoding="utf-8"),
    flags=re.M | re.S,
)


def leaves(error: type[RequestError]) -> list[type[RequestError]]:
    return [leaf for each in error.__subclasses__() for leaf in leaves(each)] or [error]


class TestErrorsPage:
    def test_each_reason_word_has_an_entry(self) -> None:
        assert sorted(word for word, status in ENTRIES if not status) == sorted(get_args(Word))

    def test_each_code_has_an_entry(self) -> None:
        codes = {(error.code, str(error.status)) for error in leaves(RequestError)}
        assert sorted(entry for entry in ENTRIES if entry[1]) == sorted(codes)

    def test_each_entry_is_complete(self) -> None:
        headings = re.findall(r"^### ", PAGE.read_text(encoding="utf-8"), flags=re.M)
        assert len(headings) == len(ENTRIES)
