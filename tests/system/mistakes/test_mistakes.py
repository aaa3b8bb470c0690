"""For each mistake of the table, the message or the log line names the cure."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from mistake import Mistake
from page import PAGE, mistakes, with_table

ROWS = [
    pytest.param(row, id=f"{file}-{row.done}") for file, rows in mistakes().items() for row in rows
]


class TestMistakes:
    @pytest.mark.parametrize("row", ROWS)
    def test_message_names_the_cure(self, row: Mistake) -> None:
        text = row.make()
        assert row.cure in text
        # One message is one paragraph that can be read in a log.
        assert len(text) < 1500

    def test_docs_have_the_table(self) -> None:
        text = PAGE.read_text()
        assert with_table(text) == text, "run: python tests/system/mistakes/page.py"
