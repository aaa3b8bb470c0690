"""What is installed is what is written here."""

from __future__ import annotations

import re
from importlib.metadata import metadata, requires, version
from importlib.resources import files
from pathlib import Path

import ott_middleware

ROOT = Path(__file__).parents[2]


def test_the_version_is_the_distribution_s() -> None:
    assert ott_middleware.__version__ == version("ott_middleware")


def test_type_checkers_may_read_the_package() -> None:
    assert files("ott_middleware").joinpath("py.typed").is_file()


def test_the_licence_is_shipped_and_named() -> None:
    assert metadata("ott_middleware")["License-Expression"] == "MIT"
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").startswith("MIT License")


def test_installed_alone_it_needs_four_packages() -> None:
    needed = [line for line in requires("ott_middleware") or () if "extra ==" not in line]
    names = sorted(re.split(r"[^a-z-]", line)[0] for line in needed)
    assert names == ["asgiref", "cachetools", "cryptography", "werkzeug"]


def test_the_changelog_tells_of_this_version() -> None:
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## {re.escape(ott_middleware.__version__)}\b", changes, re.MULTILINE)
