/* Lets the search box take questions, in the words that people use.
 *
 * Sphinx's own search shows pages that have *all* words of a query. Here a page that has most of them is found too: rare words
 * count more than frequent ones, and words of titles more than those of a text. A term of the glossary stands for the
 * pages that its entry links to, so that the glossary is the list of synonyms. Sphinx's index is used as it is; where Sphinx's
 * functions are not as expected, its own search stays.
 */
"use strict";

(() => {
  const TITLE = 4;
  const HEADING = 3;
  const TEXT = 1;
  const GLOSSARY = 5;
  // Pages that name nearly everything, and explain little of it.
  const LISTS = { changelog: 0.3, contributing: 0.3, architecture: 0.6, glossary: 0.6, mistakes: 0.5 };
  // Sphinx fetches each page of the list for the lines below its name.
  const MOST = 8;

  /** The entries of the glossary: the words of a term, and where its explanation links to. */
  let glossary = [];

  /** Return the stems of a text's words. "Log out" is one word, since Sphinx passes over "out". */
  const stems = (text) => {
    const one = text
      .toLowerCase()
      .replace(/\b(log|sign)(ged|ned|ging|ning|ing|ed|s)?[ -]?((me|you|them|the user|users?) )?(out|off)\b/g, "logout")
      .replace(/\b(log|sign)(ged|ned|ging|ning|ing|ed|s)?[ -]?((me|you|them|the user|a user|users?) )?(in|into|on)\b/g, "login")
      .replace(/\b(redis|is|are|goes|went) down\b/g, "$1 outage");
    const stemmer = new Stemmer();
    const ignored = new Set(stopwords); // a list, in older versions of Sphinx
    const kept = splitQuery(one).filter((word) => !ignored.has(word));
    return [...new Set(kept.map((word) => stemmer.stemWord(word)))];
  };

  const readGlossary = async () => {
    try {
      const response = await fetch("glossary.html");
      if (!response.ok) return;
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      for (const explained of page.querySelectorAll("dl.glossary > dd")) {
        const links = [...explained.querySelectorAll("a.reference.internal")].map((a) => a.getAttribute("href"));
        for (let term = explained.previousElementSibling; term?.tagName === "DT"; term = term.previousElementSibling) {
          term.querySelector(".headerlink")?.remove();
          glossary.push({ words: stems(term.textContent), links });
        }
      }
    } catch {
      glossary = []; // opened as a file, say: the search works without synonyms
    }
  };

  /** Return the pages that have a word, as a set of numbers; a word that no page has stands for those that begin with it. */
  const pagesWith = (word) => {
    const found = new Set();
    for (const index of [Search._index.terms, Search._index.titleterms]) {
      const add = (pages) => [pages].flat().forEach((page) => found.add(page));
      if (Object.hasOwn(index, word)) add(index[word]);
    }
    if (found.size === 0 && word.length > 3)
      for (const [term, pages] of Object.entries(Search._index.terms))
        if (term.startsWith(word)) [pages].flat().forEach((page) => found.add(page));
    return found;
  };

  /** Return the score of each page for a query, and of its headings by their anchors. */
  const score = (query) => {
    const { docnames, titles, alltitles, terms } = Search._index;
    const lengths = docnames.map(() => 1);
    for (const pages of Object.values(terms)) for (const page of [pages].flat()) lengths[page] += 1;
    const mean = lengths.reduce((sum, length) => sum + length) / lengths.length;
    const words = stems(query);
    const pages = new Map(words.map((word) => [word, pagesWith(word)]));
    const rarity = (word) => Math.log(1 + docnames.length / (1 + (pages.get(word)?.size ?? 0)));
    // The anchor "" is the top of a page.
    const results = docnames.map((name) => ({ text: 0, anchors: new Map([["", 0]]), factor: LISTS[name] ?? 1 }));
    const add = (page, anchor, gain) => results[page].anchors.set(anchor, (results[page].anchors.get(anchor) ?? 0) + gain);

    for (const word of words)
      for (const page of pages.get(word))
        results[page].text += (TEXT * rarity(word)) / (0.7 + (0.3 * lengths[page]) / mean);

    for (const [title, places] of Object.entries(alltitles)) {
      const named = stems(title);
      const shared = words.filter((word) => named.includes(word));
      if (shared.length === 0) continue;
      // Of two titles with a word, the one says more that has fewer others.
      const share = 0.5 + (0.5 * shared.length) / named.length;
      const gain = share * shared.reduce((sum, word) => sum + rarity(word), 0);
      for (const [page, anchor] of places)
        if (title === titles[page]) add(page, "", TITLE * gain);
        else add(page, anchor, HEADING * gain);
    }

    for (const entry of glossary) {
      if (!entry.words.every((word) => words.includes(word))) continue;
      const gain = entry.words.reduce((sum, word) => sum + rarity(word), 0);
      entry.links.forEach((link, at) => {
        const [file, anchor] = link.split("#");
        const page = docnames.indexOf(file.replace(/\.html$/, ""));
        if (page >= 0) add(page, anchor ?? "", (GLOSSARY * gain) / (1 + at / 2));
      });
    }
    return results;
  };

  const headingOf = (page, anchor) => {
    const { titles, alltitles } = Search._index;
    const is = ([, places]) => places.some(([at, id]) => at === page && id === anchor);
    const heading = Object.entries(alltitles).find(is)?.[0];
    return heading && heading !== titles[page] ? `${titles[page]} > ${heading}` : titles[page];
  };

  /** Return the results of a query, the best one last, as Sphinx does. */
  const find = (query) => {
    const { docnames, filenames } = Search._index;
    const found = score(query).map(({ text, anchors, factor }, page) => {
      const top = anchors.get("");
      const [anchor, best] = [...anchors].reduce((one, other) => (other[1] > one[1] ? other : one));
      return { page, anchor, score: factor * (text + best + (anchor ? top : 0)) };
    });
    const kept = found.filter((each) => each.score > 0).sort((a, b) => b.score - a.score);
    return kept
      .slice(0, MOST)
      .reverse()
      .map(({ page, anchor, score }) => [
        docnames[page],
        headingOf(page, anchor),
        anchor ? `#${anchor}` : "",
        null,
        Math.round(10 * score),
        filenames[page],
        "text",
      ]);
  };

  document.addEventListener("DOMContentLoaded", () => {
    if (typeof Search === "undefined" || typeof Search._performSearch !== "function") return;
    const performSearch = Search._performSearch;
    const query = Search.query;
    const ready = readGlossary();
    Search._performSearch = (text, ...parsed) => {
      const own = performSearch(text, ...parsed);
      // The name of a class, an option or a function: Sphinx knows its entry.
      const name = text.trim().toLowerCase();
      const entries = own.filter((each) => each[6] === "object" && each[1].toLowerCase().split(".").at(-1) === name);
      return [...find(text), ...entries];
    };
    // Of a heading without a text of its own Sphinx has no summary, and fails.
    const makeSearchSummary = Search.makeSearchSummary;
    Search.makeSearchSummary = (...found) => makeSearchSummary(...found) ?? document.createElement("p");
    Search.query = (text) => ready.then(() => query(text));
  });
})();
