"""docs/glossary.md is the list of synonyms of the search box."""

from __future__ import annotations

import re

from documents import ROOT

PAGE = ROOT / "docs" / "glossary.md"
(TEXT,) = re.findall(r"^```\{glossary\}\n(.*?)^```$", PAGE.read_text("utf-8"), flags=re.M | re.S)
ENTRIES = [entry.splitlines() for entry in TEXT.split("\n\n")]


class TestGlossary:
    def test_each_entry_leads_to_a_page(self) -> None:
        for entry in ENTRIES:
            explained = [line for line in entry if line.startswith("  ")]
            assert re.search(r"\]\(\w+\.md", " ".join(explained)), entry

    def test_entries_are_one_or_two_sentences(self) -> None:
        for entry in ENTRIES:
            explained = " ".join(line for line in entry if line.startswith("  "))
            assert 4 <= len(explained.split()) <= 45, entry

    def test_no_term_stands_twice(self) -> None:
        terms = [line.lower() for entry in ENTRIES for line in entry if not line.startswith("  ")]
        assert len(terms) > 150
        assert len(terms) == len(set(terms))
