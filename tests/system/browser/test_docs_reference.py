"""The built reference: attributes have signatures, sentences stand once, options have anchors."""

from __future__ import annotations

import html
import re
from collections import Counter
from pathlib import Path

import pytest

from ott_middleware.options import OptionValues

pytestmark = pytest.mark.browser

REFERENCE = ("adapters", "api", "backends", "events", "options", "session_adapters")


def text_of(page: Path) -> str:
    """What a page says, without its navigation."""
    text = page.read_text(encoding="utf-8")
    text = re.sub(r"<(script|style|svg|nav|aside|head)\b.*?</\1>", " ", text, flags=re.S)
    return html.unescape(re.sub(r"<[^>]+>", "", text))


class TestReference:
    @pytest.mark.parametrize("name", REFERENCE)
    def test_attributes_are_no_list_of_variables(self, docs_html: Path, name: str) -> None:
        assert re.findall(r"\w*Variables\w*", text_of(docs_html / f"{name}.html")) == []

    @pytest.mark.parametrize("name", REFERENCE)
    def test_no_sentence_stands_five_times(self, docs_html: Path, name: str) -> None:
        sentences = re.split(r"(?<=[.:])\s+|\n\n+", text_of(docs_html / f"{name}.html"))
        said = Counter(" ".join(each.split()) for each in sentences if len(each.split()) > 8)
        assert [each for each, times in said.items() if times >= 5] == []

    def test_each_option_has_an_anchor(self, docs_html: Path) -> None:
        page = (docs_html / "options.html").read_text(encoding="utf-8")
        anchors = set(re.findall(r'<section id="([\w-]+)"', page))
        assert {name.replace("_", "-") for name in OptionValues.__annotations__} <= anchors
