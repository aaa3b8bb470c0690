from __future__ import annotations

import re
from typing import Any

import pytest

from ott_middleware import ConfigurationError
from ott_middleware.http import languages as module
from ott_middleware.http import register_language
from ott_middleware.http.languages import LANGUAGES, language_for
from ott_middleware.http.page_texts import ENGLISH, PageTexts


@pytest.fixture(autouse=True)
def _languages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LANGUAGES", dict(LANGUAGES))


def pieces(texts: PageTexts) -> list[str]:
    found: list[str] = []
    for text in texts.values():
        found += [text] if isinstance(text, str) else text  # type: ignore[call-overload]  # its values are objects to mypy
    return found


class TestShippedLanguages:
    def test_which(self) -> None:
        assert list(LANGUAGES) == ["en", "de", "fr", "es", "ja"]
        assert {each.direction for each in LANGUAGES.values()} == {"ltr"}

    @pytest.mark.parametrize("tag", list(LANGUAGES))
    def test_texts_are_complete(self, tag: str) -> None:
        texts = LANGUAGES[tag].texts
        assert list(texts) == list(ENGLISH) == list(PageTexts.__annotations__)
        for name, text in texts.items():
            assert isinstance(text, str) == isinstance(ENGLISH[name], str)  # type: ignore[literal-required]  # any key of it

    @pytest.mark.parametrize("tag", list(LANGUAGES))
    def test_texts_are_spelled_well(self, tag: str) -> None:
        for piece in pieces(LANGUAGES[tag].texts):
            assert piece == piece.strip()
            assert "  " not in piece
            assert "'" not in piece, "a typographic apostrophe, as the other texts have"
            assert not re.search(r"\s[.,;:!?]", piece)

    @pytest.mark.parametrize("tag", list(LANGUAGES))
    def test_sentences_end_and_titles_do_not(self, tag: str) -> None:
        for text in LANGUAGES[tag].texts.values():
            if isinstance(text, tuple):
                title, sentences = text
                assert not title.endswith((".", "。"))
                assert sentences.endswith((".", "。"))

    @pytest.mark.parametrize("tag", [tag for tag in LANGUAGES if tag != "en"])
    def test_nothing_is_left_in_english(self, tag: str) -> None:
        assert not set(pieces(LANGUAGES[tag].texts)) & set(pieces(ENGLISH))


class TestLanguageFor:
    def test_preferred(self) -> None:
        assert language_for("fr-CA, en;q=0.5", "used").tag == "fr"
        assert language_for(None, "used").tag == "en"

    def test_page_is_in_one_language(self) -> None:
        register_language("it", {"used": ("Titolo", "Testo."), "without_link": "Continua"})
        header = "it, de;q=0.5"
        assert language_for(header, "used", "without_link").tag == "it"
        assert language_for(header, "used", "sign_in").tag == "de"


class TestRegisterLanguage:
    def test_new(self) -> None:
        register_language("ar-EG", ENGLISH, direction="rtl")
        found = language_for("ar-eg", "used")
        assert (found.tag, found.direction) == ("ar-EG", "rtl")
        assert language_for("ar", "used").tag == "en"

    def test_changed_texts_leave_the_others(self) -> None:
        register_language("de", {"sign_in": "Einloggen"})
        assert language_for("de", "used").texts == {**LANGUAGES["de"].texts, "sign_in": "Einloggen"}

    def test_list_is_a_pair(self) -> None:
        texts: Any = {"used": ["Titolo", "Testo."]}
        register_language("it", texts)
        assert language_for("it", "used").texts["used"] == ["Titolo", "Testo."]

    @pytest.mark.parametrize(
        ("arguments", "cure"),
        [
            (("", {}), "use a tag like 'it' or 'pt-BR'"),
            (("pt_BR", {}), "use a tag like 'it' or 'pt-BR'"),
            (("*", {}), "use a tag like 'it' or 'pt-BR'"),
            (('en"><script>', {}), "use a tag like 'it' or 'pt-BR'"),
            ((None, {}), "use a tag like 'it' or 'pt-BR'"),
            (("it", []), "texts: a list; pass a dict like ENGLISH"),
            (("it", {"expired": ("a", "b")}), "'expired' is none of the pages' texts; there are"),
            (("it", {"user": ("a", "b")}), "did you mean 'used'?"),
            (("it", {3: "a"}), "3 is none of the pages' texts"),
            (("it", {"used": "a"}), "'used' is 'a'; use a pair of a title and a text"),
            (("it", {"used": ("a", "b", "c")}), "use a pair of a title and a text"),
            (("it", {"used": ("a", "")}), "use a pair of a title and a text"),
            (("it", {"used": ("a", 3)}), "use a pair of a title and a text"),
            (("it", {"used": None}), "use a pair of a title and a text"),
            (("it", {"sign_in": ("a", "b")}), "use a text"),
            (("it", {"sign_in": "  "}), "use a text"),
        ],
    )
    def test_mistake(self, arguments: Any, cure: str) -> None:
        with pytest.raises(ConfigurationError, match=re.escape(cure)):
            register_language(*arguments)
        assert "it" not in module.LANGUAGES

    def test_mistaken_direction(self) -> None:
        wrong: Any = "left"
        with pytest.raises(ConfigurationError, match="direction: 'left'; use 'ltr' or 'rtl'"):
            register_language("it", {}, direction=wrong)
