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

from ott_middleware import CookieSession, MemoryBackend, OneTimeTokens, OTTMiddleware
from ott_middleware.options import OptionValues
from ott_middleware.tokens.options import TokenOptionValues

DOCS = ROOT / "docs"
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
