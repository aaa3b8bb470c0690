"""Each log line of docs/troubleshooting.md appears, in a set-up that has the symptom."""

from __future__ import annotations

import logging
import re
import sys
from pathlib import Path
from typing import get_args

import pytest
from documents import ROOT, run

sys.path.insert(0, str(Path(__file__).parent))

from symptoms import SYMPTOMS, read_lines

from ott_middleware.reasons import Word

PAGE = ROOT / "docs" / "troubleshooting.md"
#: The end of a line that is longer than the page shows.
MORE = " …"


def sections() -> dict[str, list[str]]:
    """Return the log lines below each heading of the page."""
    found: dict[str, list[str]] = {}
    for section in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]:
        heading, _, text = section.partition("\n")
        blocks = re.findall(r"^ *```text\n(.*?)^ *```$", text, flags=re.M | re.S)
        found[heading] = [line.strip() for block in blocks for line in block.splitlines()]
    return {heading: lines for heading, lines in found.items() if lines}


def appears(line: str, log: list[str]) -> bool:
    if line.endswith(MORE):
        return any(each.startswith(line.removesuffix(MORE)) for each in log)
    return line in log


class TestTroubleshooting:
    @pytest.mark.parametrize("heading", SYMPTOMS)
    def test_lines_appear(self, heading: str) -> None:
        with read_lines() as log:
            for fail in SYMPTOMS[heading]:
                fail()
        lines = sections()[heading]
        assert lines
        assert [line for line in lines if not appears(line, log)] == [], log

    def test_each_section_with_lines_is_tried(self) -> None:
        assert sections().keys() == SYMPTOMS.keys()

    def test_lines_end_with_words_that_exist(self) -> None:
        text = PAGE.read_text(encoding="utf-8")
        words = {word for word in re.findall(r"\((\w+)\)", text) if "_" in word}
        assert words
        assert words <= {*get_args(Word), "no_cause"}

    def test_log_is_turned_on(self) -> None:
        logger = logging.getLogger("ott_middleware")
        level = logger.level
        try:
            run(PAGE)
            assert logger.isEnabledFor(logging.DEBUG)
        finally:
            logger.setLevel(level)
