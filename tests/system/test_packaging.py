"""What is installed is what is written here."""

from __future__ import annotations

import re
from importlib.metadata import metadata, requires, version
from importlib.resources import files
from pathlib import Path

import ott_middleware

ROOT = Path(__file__).parents[2]


def test_version_is_that_of_the_distribution() -> None:
    assert ott_middleware.__version__ == version("ott_middleware")


def test_type_information_is_shipped() -> None:
    assert files("ott_middleware").joinpath("py.typed").is_file()


def test_licence_is_shipped_and_named() -> None:
    assert metadata("ott_middleware")["License-Expression"] == "MIT"
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").startswith("MIT License")


def test_requirements_are_four_packages() -> None:
    needed = [line for line in requires("ott_middleware") or () if "extra ==" not in line]
    names = sorted(re.split(r"[^a-z-]", line)[0] for line in needed)
    assert names == ["asgiref", "cachetools", "cryptography", "werkzeug"]


def test_changelog_has_this_version() -> None:
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## {re.escape(ott_middleware.__version__)}\b", changes, re.MULTILINE)
