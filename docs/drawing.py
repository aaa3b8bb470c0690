"""Shapes and texts as SVG, in light and dark, for the pictures of the documentation."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

# Pixels. Narrow, so that the text can be read on a telephone.
WIDTH = 560
LINE = 18
LIGHT = {
    "paper": "#ffffff",
    "ink": "#1f2328",
    "quiet": "#59636e",
    "edge": "#818b98",
    "box": "#f6f8fa",
    "source": "#ddf4ff",
    "target": "#dafbe1",
    "store": "#fff8c5",
    "bad": "#b3141f",
    "good": "#116329",
}
DARK = {
    "paper": "#131416",
    "ink": "#e6e9ec",
    "quiet": "#a5adb6",
    "edge": "#7d8590",
    "box": "#1d2025",
    "source": "#0c2d4d",
    "target": "#0f3320",
    "store": "#3a2d05",
    "bad": "#ff938a",
    "good": "#5fd97e",
}
TEXTS = ("ink", "quiet", "bad", "good")
FILLS = ("paper", "box", "source", "target", "store")


def style() -> str:
    rules = [
        "text { font: 14px system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif; }",
        ".code { font: 12px ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace; }",
        ".bold { font-weight: 600; }",
        ".edge { fill: none; stroke-width: 1.3; }",
        ".dots { stroke-dasharray: 3 4; }",
    ]

    def colours(palette: dict[str, str]) -> list[str]:
        fills = [f".{name} {{ fill: {palette[name]}; }}" for name in (*TEXTS, *FILLS)]
        lines = [f"stroke: {palette['edge']}", f"fill: {palette['edge']}"]
        return [*fills, f".edge {{ {lines[0]}; }}", f".head {{ {lines[1]}; }}"]

    dark = " ".join(colours(DARK))
    return "\n".join([*rules, *colours(LIGHT), f"@media (prefers-color-scheme: dark) {{ {dark} }}"])


def svg(title: str, text: str, height: float, parts: Iterable[str]) -> str:
    """Return a picture with its name and its text alternative."""
    body = "\n".join(parts)
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" \
width="{WIDTH}" height="{height:g}" role="img" aria-labelledby="title text">
<title id="title">{escape(title)}</title>
<desc id="text">{escape(text)}</desc>
<style>
{style()}
</style>
<rect class="paper" width="{WIDTH}" height="{height:g}" rx="8"/>
{body}
</svg>
"""


def words(x: float, y: float, text: str, kind: str = "ink", anchor: str = "start") -> str:
    """Write a line; what stands in backticks is code."""
    spans = [
        f'<tspan class="code">{escape(part)}</tspan>' if number % 2 else escape(part)
        for number, part in enumerate(text.split("`"))
    ]
    return (
        f'<text class="{kind}" x="{x:g}" y="{y:g}" text-anchor="{anchor}">{"".join(spans)}</text>'
    )


def box(x: float, y: float, wide: float, high: float, fill: str) -> str:
    place = f'x="{x:g}" y="{y:g}" width="{wide:g}" height="{high:g}" rx="6"'
    return f'<rect class="{fill}" {place}/><rect class="edge" {place}/>'


def arrow(x1: float, y1: float, x2: float, y2: float, dots: bool = False) -> str:
    """Draw a line with a head at its end, straight across or straight down."""
    line = f'<path class="edge{" dots" if dots else ""}" d="M{x1:g} {y1:g}L{x2:g} {y2:g}"/>'
    if y1 == y2:
        back = -8 if x2 > x1 else 8
        head = f"M{x2:g} {y2:g}l{back} -4.5v9z"
    else:
        head = f"M{x2:g} {y2:g}l-4.5 -8h9z"
    return f'{line}<path class="head" d="{head}"/>'


Message = tuple[str, str, str]  # from, to, lines of text; from and to alike: a note


def sequence(
    title: str, text: str, columns: dict[str, tuple[float, str]], messages: list[Message]
) -> str:
    """Draw who sends what to whom: time runs downwards."""
    parts, y = [], 62.0
    for begin, end, said in messages:
        lines = said.split("\n")
        x1, x2 = columns[begin][0], columns[end][0]
        middle = (x1 + x2) / 2
        y += 6
        for number, line in enumerate(lines):
            y += LINE
            kind = "ink" if number == 0 else "quiet"
            parts.append(_note(x1, y, line) if begin == end else _label(middle, y, line, kind))
        y += 8
        if begin != end:
            parts.append(arrow(x1, y, x2, y, dots=x2 < x1))
            y += 4
    bottom = y + 14
    lines = []
    for name, (x, fill) in columns.items():
        lines.append(f'<path class="edge dots" d="M{x:g} 46V{bottom:g}"/>')
        lines += [box(x - 54, 14, 108, 32, fill), words(x, 35, name, "ink bold", "middle")]
    return svg(title, text, bottom + 12, [*lines, *parts])


def _wide(text: str) -> float:
    """Return about how many pixels a line takes."""
    return sum(7.3 * len(part) for part in text.split("`")) + 8


def _paper(x: float, y: float, text: str) -> str:
    wide = _wide(text)
    left = min(max(x - wide / 2, 4), WIDTH - 4 - wide)
    return f'<rect class="paper" x="{left:g}" y="{y - 14:g}" width="{wide:g}" height="{LINE}"/>'


def _label(x: float, y: float, text: str, kind: str) -> str:
    half = _wide(text) / 2
    x = min(max(x, half + 4), WIDTH - 4 - half)
    return _paper(x, y, text) + words(x, y, text, kind, "middle")


def _note(x: float, y: float, text: str) -> str:
    half = _wide(text) / 2
    x = min(max(x, half + 4), WIDTH - 4 - half)
    return _paper(x, y, text) + words(x, y, text, "good", "middle")
