"""axe-core, which finds what keeps a page from being read by everyone: from the npm registry."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

from services import absent

PACKAGE = "axe-core@~4.11.0"
# WCAG 2.0 to 2.2, levels A and AA.
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22a", "wcag22aa"]
# Rules about how things look, which take axe most of its time.
LOOKS = ["color-contrast", "link-in-text-block", "target-size"]
RUN = """async ([options, everything, exclude]) => {
  const places = everything ? { exclude } : { include: oneOfEachLook() };
  const result = await axe.run(places, options);
  return result.violations.flatMap(violation => violation.nodes.map(node =>
    `${violation.id}: ${node.html.slice(0, 200)}: `
      + node.failureSummary.split('\\n').slice(1).join(';').trim()));

  // A page has thousands of words and links in a dozen looks: one of each look is enough.
  function oneOfEachLook() {
    const looks = new Map();
    for (const element of document.querySelectorAll("body *")) {
      const links = element.matches("a, button, input, label, summary");
      const nodes = [...element.childNodes];
      const says = nodes.some(node => node.nodeType === Node.TEXT_NODE && node.data.trim());
      if ((!links && !says) || exclude.some(part => element.closest(part))) continue;
      if (!element.checkVisibility({ visibilityProperty: true, opacityProperty: true })) continue;
      const { color, display, fontSize, fontWeight } = getComputedStyle(element);
      const look = [color, display, fontSize, fontWeight, ...backgrounds(element)];
      if (links) look.push(element.tagName, element.className, element.parentElement.localName);
      if (!looks.has(look.join())) looks.set(look.join(), element);
    }
    return [...looks.values()];
  }

  function backgrounds(element) {
    const found = [];
    for (; element; element = element.parentElement) {
      const { backgroundColor, backgroundImage, opacity } = getComputedStyle(element);
      found.push(backgroundColor, backgroundImage, opacity);
    }
    return found.filter(value => !["none", "1", "rgba(0, 0, 0, 0)"].includes(value));
  }
}"""


def script(folder: Path) -> str:
    """Return the text of axe-core, installed below `folder`."""
    if shutil.which("npm") is None:
        absent("needs npm")
    (folder / "package.json").write_text('{"private": true}')
    install = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", PACKAGE]
    result = subprocess.run(install, cwd=folder, capture_output=True, text=True, timeout=300)
    if result.returncode != 0:
        absent(f"needs {PACKAGE} from the npm registry: {result.stderr[-1000:]}")
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


def violations(page: Any, *exclude: str) -> list[str]:
    """Return what violates WCAG on a page that has the script, its looks aside.

    :param exclude: selectors of parts that are not looked at.
    """
    rules = {name: {"enabled": False} for name in LOOKS}
    return _run(page, {"runOnly": {"type": "tag", "values": TAGS}, "rules": rules}, True, exclude)


def bad_looks(page: Any, *exclude: str) -> list[str]:
    """Return the texts of too little contrast, and the links that are hard to see or to hit.

    One of each look.
    """
    return _run(page, {"runOnly": {"type": "rule", "values": LOOKS}}, False, exclude)


def _run(
    page: Any, options: dict[str, Any], everything: bool, exclude: tuple[str, ...]
) -> list[str]:
    options |= {"resultTypes": ["violations"], "preload": False}
    found: list[str] = page.evaluate(RUN, [options, everything, list(exclude)])
    return found
