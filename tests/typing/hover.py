"""An editor shows the documentation of each option: asks the language server of pyright.

It is no part of the default run, since pyright belongs to the group `lint`:
`pytest -n 0 tests/typing/hover.py`.
"""

from __future__ import annotations

import ast
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ott_middleware
from ott_middleware.options import OptionValues

PACKAGE = Path(ott_middleware.__file__).parent
SERVER = Path(sys.executable).with_name("pyright-langserver")


def documented_keys() -> dict[str, str]:
    """The keys of the options, each with the docstring under it, in one line."""
    sources = [(PACKAGE / module).read_text() for module in ("options.py", "tokens/options.py")]
    return {
        ast.unparse(key.target): " ".join(ast.literal_eval(ast.unparse(text)).split())
        for source in sources
        for each in ast.parse(source).body
        if isinstance(each, ast.ClassDef) and each.name.endswith("OptionValues")
        for key, text in itertools.pairwise(each.body)
        if isinstance(key, ast.AnnAssign)
    }


KEYS = documented_keys()
PROGRAM = "\n".join(
    [
        "from typing import Any",
        "from ott_middleware import ASGIMiddleware, OTTMiddleware",
        "def wrap(app: Any, asgi_app: Any, value: Any) -> None:",
        *(f"    OTTMiddleware(app, {key}=value)" for key in KEYS),
        '    OTTMiddleware(app, on_switch="")',
        "    OTTMiddleware(app, )",
        "",
    ]
)
FIRST = 3  # the line of the first option, counted from 0


class LanguageServer:
    """Speaks the Language Server Protocol with a child process, one request at a time."""

    def __init__(self, folder: Path) -> None:
        self.uri = (folder / "program.py").as_uri()
        self.numbers = itertools.count(1)
        self.process = subprocess.Popen(
            [SERVER, "--stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=folder
        )
        capabilities = {
            "textDocument": {"hover": {"contentFormat": ["plaintext"]}},
            "workspace": {"configuration": True},
        }
        self.request(
            "initialize",
            processId=os.getpid(),
            capabilities=capabilities,
            workspaceFolders=[{"uri": folder.as_uri(), "name": "folder"}],
        )
        self.send(method="initialized", params={})
        document = {"uri": self.uri, "languageId": "python", "version": 1, "text": PROGRAM}
        self.send(method="textDocument/didOpen", params={"textDocument": document})

    def send(self, **message: Any) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self.process.stdin is not None
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        self.process.stdin.flush()

    def receive(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        length = 0
        while line := self.process.stdout.readline().strip():
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        assert length, "the language server has ended"
        message: dict[str, Any] = json.loads(self.process.stdout.read(length))
        return message

    def request(self, method: str, **params: Any) -> Any:
        number = next(self.numbers)
        self.send(id=number, method=method, params=params)
        while True:
            message = self.receive()
            if "method" not in message and message.get("id") == number:
                assert "error" not in message, message
                return message["result"]
            if message.get("method") == "workspace/configuration":
                # The package that is tested is the one that this Python imports.
                settings = {
                    "pythonPath": sys.executable,
                    "analysis": {"extraPaths": [str(PACKAGE.parent)]},
                }
                self.send(id=message["id"], result=[settings for _ in message["params"]["items"]])
            elif "method" in message and "id" in message:
                self.send(id=message["id"], result=None)

    def at(self, method: str, line: int, character: int) -> Any:
        return self.request(
            f"textDocument/{method}",
            textDocument={"uri": self.uri},
            position={"line": line, "character": character},
        )

    def stop(self) -> None:
        self.request("shutdown")
        self.send(method="exit", params={})
        self.process.communicate(timeout=60)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LanguageServer]:
    started = LanguageServer(tmp_path_factory.mktemp("editor"))
    yield started
    started.stop()


def test_every_option_has_a_docstring() -> None:
    assert KEYS.keys() == OptionValues.__annotations__.keys()


class TestHover:
    @pytest.mark.parametrize("key", KEYS)
    def test_keyword_shows_its_docstring(self, server: LanguageServer, key: str) -> None:
        shown = server.at(
            "hover", FIRST + list(KEYS).index(key), len("    OTTMiddleware(app, ") + 1
        )
        signature, _, text = shown["contents"]["value"].partition("\n")
        assert signature.startswith(f"(variable) {key}: ")
        assert " ".join(text.replace("\\", "").split()) == KEYS[key]


class TestCompletion:
    def test_keywords_are_offered(self, server: LanguageServer) -> None:
        offered = server.at("completion", FIRST + len(KEYS) + 1, len("    OTTMiddleware(app, "))
        labels = {item["label"] for item in offered["items"]}
        assert labels >= {f"{key}=" for key in [*KEYS, "interface"]}

    def test_values_of_a_literal_are_offered(self, server: LanguageServer) -> None:
        at = len('    OTTMiddleware(app, on_switch="')
        offered = server.at("completion", FIRST + len(KEYS), at)
        labels = {item["label"] for item in offered["items"]}
        assert labels >= {'"keep"', '"replace"'}
