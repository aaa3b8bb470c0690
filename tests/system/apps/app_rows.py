"""One row of the table of apps: an app from the package index, and how a person uses it."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

from app_browser import Step

HERE = Path(__file__).parent


@dataclass(frozen=True)
class App:
    """An app that was wrapped as it comes.

    :ivar name: of the app, as the docs' table says it.
    :ivar site: the name of its site: `site_NAME.py` in this folder builds and wraps the app.
    :ivar family: its framework.
    :ivar requires: what is installed; the app itself first, in the version that was tried.
    :ivar server: serves the site: `uvicorn` or `waitress`.
    :ivar page: a page of the app.
    :ivar mark: words of that page which it shows to the signed-in user alone.
    :ivar sign_in: signs the user in, by the app's own form.
    :ivar sign_out: signs the user out, likewise.
    :ivar shares: what both sites have in common beside the backend and `secret=`.
    :ivar prepare: whether `python site_NAME.py` is to be run before: it makes the database.
    :ivar environment: the environment that it is installed in, with others of that name.
    :ivar base_path: that of the site's options.
    :ivar source: the app of the other site, where the user signs in. Default: the same app.
    :ivar warns: words of the warning that the site logs, where its app has a weakness.
    :ivar slow: whether it runs in the full run alone.
    """

    name: str
    site: str
    family: str
    requires: tuple[str, ...]
    server: str
    page: str
    mark: str
    sign_in: Step
    sign_out: Step
    shares: str
    prepare: bool = False
    environment: str = "light"
    base_path: str = ""
    source: App | None = None
    warns: str = ""
    slow: bool = False

    @property
    def line(self) -> str:
        """The line that wraps the app, without the options that every site has."""
        source = (HERE / f"site_{self.site}.py").read_text()
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "OTTMiddleware":
                node.keywords = [each for each in node.keywords if each.arg is not None]
                return ast.unparse(node).replace("'", '"')
        raise AssertionError(f"site_{self.site}.py does not call OTTMiddleware")
