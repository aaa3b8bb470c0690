"""The documentation as HTML: built once a run, and served to the browser of the tests."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path

from services import absent

DOCS = Path(__file__).parents[3] / "docs"
# Every page of the site, and those that Sphinx adds.
PAGES = [*sorted(path.stem for path in DOCS.glob("*.md")), "genindex", "search"]


def built(folder: Path) -> Path:
    """Return the directory of the HTML: the one that OTT_TEST_DOCS names, else a new build."""
    given = os.environ.get("OTT_TEST_DOCS")
    if given:
        assert (Path(given) / "index.html").exists(), f"OTT_TEST_DOCS={given}: no index.html"
        return Path(given)
    if find_spec("furo") is None:
        absent('needs the documentation\'s tools: pip install ".[docs]"')
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html"]
    done = subprocess.run(
        [*command, str(DOCS), str(folder)],
        cwd=DOCS.parent,
        env={**os.environ, "PYTHONPATH": str(DOCS.parent)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return folder


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a directory; yield the URL of its root, without a slash at its end."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
