"""The WHATWG URL parser of Node.js, as a reference."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from services import absent

#: Parses a URL, or a reference against a base: its parts by name, or None where it is no URL.
Parse = Callable[..., "dict[str, str] | None"]

_PROGRAM = """
require('readline').createInterface({input: process.stdin}).on('line', line => {
  const [url, base] = JSON.parse(line)
  let found = null
  try {
    const {href, origin, username, password, pathname, search} = new URL(url, base)
    found = {href, origin, username, password, pathname, search}
  } catch {}
  console.log(JSON.stringify(found))
})
"""


@contextmanager
def node_parser() -> Iterator[Parse]:
    """Start Node.js once, for any number of URLs."""
    node = shutil.which("node")
    if node is None:
        absent("needs Node.js, for its WHATWG URL parser")
    with subprocess.Popen(
        [node, "-e", _PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:

        def ask(url: str, base: str | None = None) -> Any:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps([url, base] if base else [url]) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield ask
        process.kill()
