"""The reference is complete: each option, class, log line and flag has its entry."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from documents import ROOT

import ott_middleware
from ott_middleware import CookieSession, MemoryBackend, OneTimeTokens, OTTMiddleware
from ott_middleware.options import OptionValues
from ott_middleware.tokens.options import TokenOptionValues

DOCS = ROOT / "docs"
PACKAGE = Path(ott_middleware.__file__).parent
SECRET = "a secret of 16 bytes or more"


@pytest.fixture(scope="module")
def extensions() -> Iterator[Any]:
    """The modules of `docs/_ext`, as the build of the documentation imports them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(DOCS))
        yield lambda name: importlib.import_module(f"_ext.{name}")


def plain_app(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b""]


class TestOptions:
    def test_each_has_reason_and_example(self, extensions: Any) -> None:
        notes = extensions("option_notes").NOTES
        assert notes.keys() == OptionValues.__annotations__.keys()
        for name, note in notes.items():
            assert note.why.endswith("."), name
            assert note.example.startswith(f"{name}=") or f", {name}=" in note.example

    @pytest.mark.parametrize("name", OptionValues.__annotations__)
    def test_example_is_accepted(
        self, extensions: Any, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        adapter = CookieSession("sid", validate=lambda values: {"id": "u1"})
        known = {
            "OTTMiddleware": OTTMiddleware,
            "CookieSession": CookieSession,
            "OneTimeTokens": OneTimeTokens,
            "MemoryBackend": MemoryBackend,
            "app": plain_app,
            "SECRET": SECRET,
            "adapter": adapter,
            "timedelta": timedelta,
            "find_user": lambda values: {"id": "u1"},
            "secrets": importlib.import_module("secrets"),
        }
        example = extensions("option_notes").NOTES[name].example
        rest = "" if name == "session" else ", session=adapter"
        wrapped = eval(f"OTTMiddleware(app, interface='wsgi', {example}{rest})", known)
        assert wrapped.flow

    def test_docstring_names_the_default(self, extensions: Any) -> None:
        entries = extensions("option_entries")
        told: dict[str, str] = {}
        for values in (OptionValues, TokenOptionValues):
            for name, text in entries.docstrings(values).items():
                (told[name],) = re.findall(r"\bDefault:\s+`(.*?)`", text)
        real = entries.defaults()
        assert told.keys() == OptionValues.__annotations__.keys()
        assert {n: ast.literal_eval(t) for n, t in told.items()} == {
            name: ast.literal_eval(real[name]) for name in told
        }

    def test_page_lists_all_of_them(self, extensions: Any) -> None:
        entries = extensions("option_entries")
        source = [(DOCS / "options.md").read_text()]
        kinds = dict.fromkeys(OptionValues.__annotations__, "a type")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(entries, "types", lambda: kinds)
            entries.write_entries(None, "options", source)
        names = re.findall(r"^### `(\w+)`$", source[0], flags=re.M)
        assert sorted(names) == sorted(OptionValues.__annotations__)
        # What a docstring says about the default stands once.
        assert source[0].count("\n- Default: ") == len(names) == source[0].count("Default:")
        assert "- Unit: minutes\n- Default: `3`.\n" in source[0]


class TestAttributes:
    def test_have_types_and_no_heading(self, extensions: Any) -> None:
        from ott_middleware.flow.health import Health

        lines = [
            "Says it.",
            "",
            ":ivar ok: whether it",
            "    works.",
            ":ivar seconds, problem: told.",
        ]
        extensions("attributes").list_attributes(None, "class", "", Health, None, lines)
        assert lines == [
            *("Says it.", "", "", ".. py:attribute:: ok", "   :no-index:", "   :type: bool", ""),
            *("   Whether it", "   works.", "", ".. py:attribute:: seconds", "   :no-index:"),
            *("   :type: float", "", ".. py:attribute:: problem", "   :no-index:", "   :type: str"),
            *("", "   Told.", ""),
        ]

    def test_arguments_of_one_text_stay_together(self, extensions: Any) -> None:
        lines = [":param a, b: see there.", ":param c: alone."]
        extensions("attributes").several_names(None, "class", "", None, None, lines)
        assert lines == [":param a,\u200bb: see there.", ":param c: alone."]


LEVELS = ("debug", "info", "warning", "error", "log")
# Lines whose text is put together elsewhere, by their file, and the entries that stand for each.
COMPOSED = {
    "events.py": {"on_event=… raised …"},
    "flow/reports.py": {"… refused: … (…)", "…: … (…)"},
    "flow/session_guard.py": {
        "…: no user was found in a request for a token",
        "…: browsers send its cookie … to paths below … alone",
        "…: …",
    },
    "flow/own_site.py": {
        "a token bound to … was refused: nothing says which site this is",
        "a token bound to … was refused: the Host of the request names none of public_origin",
    },
    "hooks.py": {"… raised … at …"},
}


def text_of(node: ast.AST, constants: dict[str, str]) -> str:
    """A text of the code, with `…` for each part that is not known before it runs."""
    if isinstance(node, ast.Constant):
        return re.sub(r"%[a-z]", "…", str(node.value))
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part, constants) for part in node.values)
    if isinstance(node, ast.BinOp):
        return text_of(node.left, constants) + text_of(node.right, constants)
    return constants.get(node.id, "…") if isinstance(node, ast.Name) else "…"


def log_lines() -> Iterator[tuple[str, str, str]]:
    """Each call of a logger in the package: its file, its level and its text."""
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text())
        constants = {
            node.targets[0].id: text_of(node.value, {})
            for node in tree.body
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        }
        for node in ast.walk(tree):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name(id="logger"), attr=level)):
                    if level in LEVELS:
                        text = text_of(node.args[level == "log"], constants)
                        yield str(path.relative_to(PACKAGE)), level, text


def stands_for(entry: str, text: str) -> bool:
    """Whether a text begins as an entry of the page does."""
    return re.match(".*".join(map(re.escape, entry.split("…"))), text, flags=re.S) is not None


LINES = dict(re.findall(r"^`(.+)`\n: ([A-Z]+)", (DOCS / "log_lines.md").read_text(), flags=re.M))


class TestLogLines:
    def test_each_has_an_entry(self) -> None:
        found = set()
        for file, level, text in log_lines():
            if not re.search(r"\w{4}", text):
                assert COMPOSED[file] <= LINES.keys(), (file, text)
                continue
            level = "warning" if level == "log" else level
            entries = {
                entry
                for entry, of in LINES.items()
                if re.search(r"\w{4}", entry) and stands_for(entry, text) and of == level.upper()
            }
            assert entries, (file, level, text)
            found |= entries
        assert found | set().union(*COMPOSED.values()) == LINES.keys()

    def test_composed_ones_are_texts_of_the_code(self) -> None:
        texts = "\n".join(
            text_of(node, {})
            for path in PACKAGE.rglob("*.py")
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, (ast.Constant, ast.JoinedStr))
        )
        pieces = [piece for entry in set().union(*COMPOSED.values()) for piece in entry.split("…")]
        for piece in pieces:
            assert piece.strip() in texts


class TestCommand:
    def test_each_flag_of_doctor_is_explained(self) -> None:
        source = (PACKAGE / "doctor/__init__.py").read_text()
        flags = re.findall(r'add_argument\("([\w-]+)"', source)
        assert {"app", "--peer", "--timeout"} <= set(flags)
        page = (DOCS / "doctor.md").read_text()
        assert set(flags) <= set(re.findall(r"^`([\w-]+)", page, flags=re.M))
