"""Looks for every token of a whole test run in all that the run has shown.

Each process of the run records the tokens that it mints: the tests' own, and the servers and
programs that they start (`watched/sitecustomize.py`). At the end all of them are looked for in what
was captured of the tests (logging, standard output and error), in the servers' logs, in pages (of
errors, of an account switch), in the locations of responses, and in the Referers that apps
received. A token that is found there fails the run.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

WATCHED = Path(__file__).parent / "watched"
sys.path.insert(0, str(WATCHED))

import token_record  # noqa: E402  (its folder is put on the path above)

_RUN = re.compile(rf"[A-Za-z0-9_-]{{{token_record.SHORTEST},}}".encode())
# What the end of the run has to say.
_found: list[str] = []
_owned: list[Path] = []


def install() -> None:
    """Begin to record; in the first process of a run, which looks at all records at the end."""
    from ott_middleware.flow import Flow
    from ott_middleware.flow.page_first import PageFirst
    from ott_middleware.tokens.service import OneTimeTokens

    if not os.environ.get(token_record.FOLDER):
        _owned.append(Path(tempfile.mkdtemp(prefix="ott-tokens-")))
        os.environ[token_record.FOLDER] = str(_owned[0])
        path = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(WATCHED), path)))
    token_record.keep()
    # Where `sitecustomize` has not done so: this process began before.
    for cls, name, watch in (
        (OneTimeTokens, "_generate", token_record.watch_tokens),
        (Flow, "decide", token_record.watch_flow),
        (PageFirst, "respond", token_record.watch_page_first),
    ):
        if not hasattr(getattr(cls, name), "is_recorded"):
            watch(cls)


def keep_log(path: Path) -> None:
    """Keep the log of a server that has ended."""
    if path.exists():
        token_record.append("server logs", path.read_text("utf-8", "replace"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome: Any = yield
    for name, text in outcome.get_result().sections:
        token_record.append("captured", f"{item.nodeid}, {name}:\n{text}")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    token_record.flush()
    # With xdist, the last hook of the controller runs when all workers have ended.
    for folder in _owned:
        _found.extend(find(folder))
        shutil.rmtree(folder, ignore_errors=True)
        os.environ.pop(token_record.FOLDER)
    _owned.clear()
    if _found and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for line in _found:
        terminalreporter.write_line(line, red=True)


def find(folder: Path) -> list[str]:
    """Return where the records of a folder have one of its tokens."""
    file = folder / "tokens"
    tokens = set(file.read_bytes().split()) if file.exists() else set()
    lengths = sorted({len(token) for token in tokens})
    found = []
    for kept in sorted(folder.iterdir()):
        if kept == file:
            continue
        text = kept.read_bytes()
        for run in _RUN.finditer(text):
            if _has_token(run[0], tokens, lengths):
                begin = text.rfind(b"\n", 0, run.start()) + 1
                line = text[max(begin, run.start() - 200) : run.end() + 60].decode(
                    "utf-8", "replace"
                )
                found.append(f"a token of this run is in its {kept.name}: {line!r}")
    return found


def _has_token(run: bytes, tokens: set[bytes], lengths: list[int]) -> bool:
    """Return whether a run of a token's characters is a token, or has one in it."""
    return any(
        run[at : at + length] in tokens for length in lengths for at in range(len(run) - length + 1)
    )
