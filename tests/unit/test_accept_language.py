from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ott_middleware.http.languages import MAX_ACCEPT_LANGUAGE, choose_language

OFFERED = ("en", "de", "fr", "pt-br", "zh-hant")


class TestChooseLanguage:
    @pytest.mark.parametrize(
        ("header", "language"),
        [
            (None, "en"),
            ("", "en"),
            ("de", "de"),
            ("DE", "de"),
            ("de-AT", "de"),
            ("de-CH-1996", "de"),
            ("de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7", "de"),
            ("en-US,en;q=0.9,de;q=0.8", "en"),
            # The weights decide, not the order; of equal weights the first wins.
            ("en;q=0.2, fr;q=0.9", "fr"),
            ("fr;q=0.5,de;q=0.5", "fr"),
            ("nl, fr;q=0.1", "fr"),
            ("nl", "en"),
            ("fr;q=1.000", "fr"),
            ("de;q=0.001", "de"),
            ("fr ; q=0.4 ,\tde\t;Q=0.5", "de"),
            # A longer tag is offered to those who accept it, and to no other.
            ("pt-BR", "pt-br"),
            ("pt, de;q=0.5", "de"),
            ("zh-Hant-TW", "zh-hant"),
            ("zh-x-private", "en"),
            # What is refused is not shown, though a shortened range would find it.
            ("de;q=0", "en"),
            ("de-AT, de;q=0", "en"),
            ("en;q=0, *", "de"),
            ("en;q=0, de;q=0, *;q=0.1", "fr"),
            ("en;q=0", "en"),
            # The star is every language that is not named.
            ("*", "en"),
            ("en;q=0.1, *", "de"),
            ("ja, *;q=0.5", "en"),
            ("*;q=0", "en"),
            ("*;q=0, fr;q=0.3", "fr"),
            ("en,de,fr,pt-BR,zh-Hant,*", "en"),
            # No ranges of languages.
            ("de;q=2, fr;q=0.1", "fr"),
            ("de;q=-1", "en"),
            ("de;q=0.1234", "en"),
            ("de;q=.5", "en"),
            ("de;level=1", "en"),
            ("de_AT", "en"),
            ("d\u00e9", "en"),
            ("\u0660de", "en"),
            ("abcdefghi", "en"),
            (",,;q=,=;,de", "de"),
            ("<script>", "en"),
        ],
    )
    def test_header(self, header: str | None, language: str) -> None:
        assert choose_language(header, OFFERED, "en") == language

    def test_long_header_counts_as_absent(self) -> None:
        fits = "de" + "," * (MAX_ACCEPT_LANGUAGE - 2)
        assert choose_language(fits, OFFERED, "en") == "de"
        assert choose_language(fits + ",", OFFERED, "en") == "en"

    @pytest.mark.parametrize("piece", ["a-", "a,", "a;q=0.5,", "*,", " ", "a-1-", ";q=0,", "-a"])
    def test_no_header_takes_long(self, piece: str) -> None:
        header = (piece * MAX_ACCEPT_LANGUAGE)[:MAX_ACCEPT_LANGUAGE]
        began = time.process_time()
        for _ in range(10):
            choose_language(header, OFFERED, "en")
        assert time.process_time() - began < 0.2

    @given(st.text(st.characters(max_codepoint=0xFF)))
    def test_any_text_gives_an_offered_language(self, header: str) -> None:
        assert choose_language(header, OFFERED, "en") in OFFERED
