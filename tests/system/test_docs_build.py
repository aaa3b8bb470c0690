"""How the documentation is built: by Read the Docs, and with the docs extra alone."""

from __future__ import annotations

import re

from documents import ROOT


class TestReadTheDocs:
    def test_builds_as_ci_does(self) -> None:
        text = (ROOT / ".readthedocs.yaml").read_text(encoding="utf-8")
        said = dict(re.findall(r"^ +-? ?(\w+): (.+)$", text, flags=re.M))
        assert (ROOT / said["configuration"]).is_file()
        assert said["fail_on_warning"] == "true"
        assert (said["path"], said["extra_requirements"]) == (".", "[docs]")


class TestDocsExtra:
    def test_has_each_extension(self) -> None:
        text = (ROOT / "docs" / "conf.py").read_text(encoding="utf-8")
        listed = re.findall(r'"([\w.]+)"', text.partition("extensions = [")[2].partition("]")[0])
        own = {path.stem for path in (ROOT / "docs" / "_ext").glob("*.py")}
        others = {name for name in listed if not name.startswith("sphinx.ext.")} - own
        project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
        needed = re.findall(r'"([\w-]+)', project.partition("\ndocs = [")[2].partition("\n]")[0])
        names = {name.replace("-", "_") for name in needed}
        # The package of the card has a dot in its name where it is imported.
        assert {name.replace(".", "_") for name in others} <= names
