"""The documentation's own search box: what people ask leads to the page that answers it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import pytest
from search_questions import QUESTIONS

from ott_middleware.reasons import Word

pytestmark = pytest.mark.browser

#: Words of the answer, before the first heading, table or code block below it.
MOST_WORDS = 200
ANSWER = """async ([url, anchor]) => {
  const page = new DOMParser().parseFromString(await (await fetch(url)).text(), 'text/html')
  const main = page.querySelector('[role=main]')
  const place = anchor ? page.getElementById(anchor) : main.querySelector('section')
  const section = place.closest('section, dl')
  const words = []
  for (const each of section.children) {
    if (each.matches('section, table, .table-wrapper, [class*=highlight-]')) break
    if (!each.matches('h1, h2, h3, span')) words.push(...each.textContent.trim().split(/\\s+/))
  }
  return words.filter(word => word).length
}"""


class SearchBox:
    """The search box, and the hits of a query: page and anchor of each, the best one first."""

    def __init__(self, page: Any, site: str) -> None:
        self.page = page
        page.goto(f"{site}/search.html")

    def ask(self, query: str) -> list[tuple[str, str]]:
        page = self.page
        page.locator("input[name=q]:visible").first.fill(query)
        with page.expect_navigation(url="**/search.html?q=*"):
            page.keyboard.press("Enter")
        # The summary is written after the last hit.
        page.wait_for_function("document.querySelector('p.search-summary')?.innerText")
        links = page.eval_on_selector_all(
            "ul.search > li > a", "all => all.map(a => a.getAttribute('href'))"
        )
        parts = [link.partition("#") for link in links]
        return [(file.removesuffix(".html"), anchor) for file, _, anchor in parts]

    def count_words(self, hit: tuple[str, str]) -> int:
        count: int = self.page.evaluate(ANSWER, [f"{hit[0]}.html", hit[1]])
        return count


@pytest.fixture(scope="module")
def box(chromium: Any, docs_site: str) -> Iterator[SearchBox]:
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(20_000)
    yield SearchBox(page, docs_site)
    context.close()


class TestQuestions:
    @pytest.mark.parametrize(("question", "pages"), QUESTIONS, ids=[q for q, _ in QUESTIONS])
    def test_right_page_is_among_the_first_three(
        self, question: str, pages: str, box: SearchBox
    ) -> None:
        first = box.ask(question)[:3]
        right = [hit for hit in first if hit[0] in pages.split()]
        assert right, first
        assert 0 < box.count_words(right[0]) < MOST_WORDS, right[0]

    def test_there_are_forty_and_more(self) -> None:
        assert len(dict(QUESTIONS)) == len(QUESTIONS) >= 40


class TestSearchBox:
    def test_unknown_word_is_passed_over(self, box: SearchBox) -> None:
        assert box.ask("websocket xyzzyplugh")[0][0] == "websockets"

    def test_unknown_words_alone_find_nothing(self, box: SearchBox) -> None:
        assert box.ask("xyzzyplugh frobnicate") == []
        assert "did not match any documents" in box.page.locator(".search-summary").inner_text()

    def test_name_leads_to_its_entry(self, box: SearchBox) -> None:
        page, anchor = box.ask("CookieSession")[0]
        assert (page, anchor.rpartition(".")[2]) == ("session_adapters", "CookieSession")

    @pytest.mark.parametrize("word", ["used_token", "other_audience", "handoff_loop", "body"])
    def test_reason_word_leads_to_its_entry(self, word: str, box: SearchBox) -> None:
        assert ("errors", word.replace("_", "-")) in box.ask(word)[:3]

    def test_error_code_leads_to_its_entry(self, box: SearchBox) -> None:
        assert box.ask("INVALID_TOKEN")[0] == ("errors", "invalid-token-400")

    def test_reason_words_are_anchors(self, box: SearchBox) -> None:
        missing = box.page.evaluate(
            """async words => {
              const text = await (await fetch('errors.html')).text()
              const page = new DOMParser().parseFromString(text, 'text/html')
              return words.filter(word => !page.getElementById(word))
            }""",
            list(get_args(Word)),
        )
        assert missing == []

    @pytest.mark.parametrize("query", ["logout", "CORS"])
    def test_each_hit_shows_its_text(self, query: str, box: SearchBox) -> None:
        # "CORS" finds a heading whose anchor has no text, for which Sphinx has no summary.
        box.ask(query)
        box.page.wait_for_function(
            """() => document.querySelectorAll('ul.search > li').length ===
                 document.querySelectorAll('ul.search > li > p').length"""
        )

    def test_glossary_has_the_synonyms(self, box: SearchBox) -> None:
        box.page.route("**/glossary.html", lambda route: route.abort())
        try:
            assert box.ask("SSO")[0][0] != "what"
            assert box.ask("rate limit")[0][0] == "rate_limits"
        finally:
            box.page.unroute("**/glossary.html")
