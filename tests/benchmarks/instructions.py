"""How many instructions redemptions and pass-throughs take, here and in the commit before.

Times wobble by more than the few percent that a careless line costs; the instructions that
callgrind counts do not, since the clock, all randomness and the order of hashes are fixed. The
same requests run on the package of another commit and on the one here, in the same run: a stored
number would be wrong with each new Python.

Only the requests are counted, between two marks: neither imports nor what sets a site up.
`--check` fails where a row takes over 3 % more, unless a commit's message has a line
`Instructions: ` and the reason. `--tiny` runs each request twice, without callgrind.

    python tests/benchmarks/instructions.py [--check] [--tiny] [COMMIT]

COMMIT is what the package is compared with, by default the parent of HEAD.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
MOST = 1.03
REASON = "Instructions: "
# Requests of a row.
REDEMPTIONS, PASSED = 100, 1000
NOW = 1_800_000_000.0

# A name, what makes a request before the count begins, and the call of one; with how many, a row.
Kind = tuple[str, Callable[[], Any], Callable[[Any], Any]]
Row = tuple[str, int, Callable[[], Any], Callable[[Any], Any]]


def fix_randomness() -> None:
    """Let the clock stand, and all random bytes be a count. Before anything else is imported."""
    numbers = itertools.count(1)
    time.time = lambda: NOW
    os.urandom = lambda size: next(numbers).to_bytes(8, "big").rjust(size, b"\x5a")[-size:]
    import secrets

    secrets.token_bytes = lambda nbytes=None: os.urandom(nbytes or 32)


def rows() -> Iterator[Row]:
    """The requests, as servers hand them on."""
    import passthrough
    import redemption

    # First, since the interpreter adapts itself to what it has run.
    for interface in ("asgi", "wsgi"):
        for name, make, call in passes(passthrough, interface):
            yield f"{interface}: passes, {name}", PASSED, make, call
    for interface in ("asgi", "wsgi"):
        for name, make, call in redemptions(redemption, interface):
            yield f"{interface}: {name}", REDEMPTIONS, make, call


def passes(passthrough: Any, interface: str) -> Iterator[Kind]:
    """Requests that are the app's alone."""
    from ott_middleware import OTTMiddleware

    asgi = interface == "asgi"
    wrapped = OTTMiddleware(
        passthrough.asgi_app if asgi else passthrough.wsgi_app, session="sessionid"
    )

    def call_asgi(scope: Any) -> None:
        try:
            wrapped(scope, None, passthrough.ignore).send(None)
        except StopIteration:
            return

    def call_wsgi(environ: Any) -> None:
        wrapped(environ, passthrough.ignored)

    for name, query in (
        ("no query", ""),
        ("a query", passthrough.PLAIN),
        ("escapes", passthrough.ESCAPED),
        ("'ott' in words", passthrough.WORDS),
    ):
        request = passthrough.scope(query) if asgi else passthrough.environ(query)
        yield name, request.copy, call_asgi if asgi else call_wsgi


def redemptions(redemption: Any, interface: str) -> Iterator[Kind]:
    """Generate, verify and a navigation, and requests that only have a session."""
    asgi = interface == "asgi"
    call = redemption.call if asgi else call_wsgi
    # Else the tokens that are minted before the count began would retire one another.
    site = redemption.Site(redemption.plain_app if asgi else wsgi_app, max_per_session=None)
    reader = redemption.Site(redemption.sealed_reader if asgi else wsgi_reader)
    site.generate = lambda: json.loads(call(site.app, site.generate_request()).body)["token"]

    def verification() -> tuple[Any, bytes]:
        body = json.dumps({"token": site.generate()}).encode()
        return site.verify_request(body), body

    def expect(status: int, app: Any) -> Callable[[Any], None]:
        def run(made: Any) -> None:
            request, body = made if isinstance(made, tuple) else (made, b"")
            assert call(app, request, body).status == status

        return run

    visitor = lambda: redemption.scope("GET", "/articles")  # noqa: E731
    signed_in = lambda: redemption.scope("GET", "/articles", cookie=reader.cookie)  # noqa: E731
    yield "generate path", site.generate_request, expect(200, site.app)
    yield "verify path", verification, expect(200, site.app)
    yield "?ott= navigation", site.navigation_request, expect(303, site.app)
    yield "visitor, SealedSession", visitor, expect(200, site.app)
    yield "reader, SealedSession", signed_in, expect(200, reader.app)


class Response:
    """What a server keeps of a WSGI response."""

    status = 0
    body = b""


def call_wsgi(app: Any, scope: dict[str, Any], body: bytes = b"") -> Response:
    """Hand the request of an ASGI scope to a WSGI app, as a server would."""
    import io

    response = Response()

    def start_response(status: str, headers: Any, exc_info: Any = None) -> None:
        response.status = int(status[:3])

    environ = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": scope["path"],
        "QUERY_STRING": scope["query_string"].decode(),
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": io.BytesIO(body),
    }
    for name, value in scope["headers"]:
        key = name.decode().upper().replace("-", "_")
        environ[key if key.startswith("CONTENT_") else f"HTTP_{key}"] = value.decode()
    chunks = app(environ, start_response)
    response.body = b"".join(chunks)
    if hasattr(chunks, "close"):
        chunks.close()
    return response


def wsgi_app(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "13")])
    return [b"Hello, world!"]


def wsgi_reader(environ: Any, start_response: Any) -> list[bytes]:
    assert environ["ott.handle"].session.user["id"] == "4711"
    return wsgi_app(environ, start_response)


def work(tiny: bool) -> list[tuple[str, int]]:
    """Run all rows, each between two marks; return their names and numbers of requests."""
    import gc

    fix_randomness()
    logging.disable()
    found = []
    # A collection comes when enough was allocated, for which a row need not be the cause.
    gc.disable()
    for name, count, make, call in rows():
        count = 2 if tiny else count
        for _ in range(count // 2):  # what is done once is done
            call(make())
        made = [make() for _ in range(count)]
        gc.collect()
        os.getsid(0)  # a mark: callgrind writes what it counted, and begins anew
        for each in made:
            call(each)
        os.getsid(0)
        found.append((name, count))
    return found


# The parent process.


def git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""


def begin(tree: Path) -> subprocess.Popen[str]:
    """Start the counted run with the package that is in a directory."""
    command = [
        *("valgrind", "--tool=callgrind", "--dump-before=getsid", "--quiet"),
        *(f"--callgrind-out-file={tree / 'count'}", sys.executable, str(tree / "instructions.py")),
    ]
    # Nothing else of this environment: the length of each variable moves the stack.
    environment = {
        **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        "PYTHONHASHSEED": "0",
        "PYTHONPATH": str(tree),
        "OTT_COUNTED": "yes",
    }
    return subprocess.Popen(command, env=environment, cwd=tree, stdout=subprocess.PIPE, text=True)


def counts(tree: Path, run: subprocess.Popen[str]) -> dict[str, float]:
    """Return the instructions that a request of each row took."""
    output, _ = run.communicate()
    if run.returncode:
        raise RuntimeError(f"the requests failed with the package of {tree.name}: see above")
    found = {}
    rows = json.loads(output.splitlines()[-1])
    # The last part ends with the program, and has no number.
    assert len(list(tree.glob("count.*"))) == 2 * len(rows), "some library sets marks as well"
    for number, (name, count) in enumerate(rows):
        # Before each row's first mark a part ends that is not the row's.
        lines = (tree / f"count.{2 * number + 2}").read_text().splitlines()
        totals = next(line for line in lines if line.startswith("totals:"))
        found[name] = int(totals.split()[1]) / count
    return found


def compare(before: str, work_in: Path) -> dict[str, tuple[float, float]]:
    """Count with both packages, at the same time."""
    trees = work_in / "1", work_in / "2"  # names of one length: see `begin`
    for tree in trees:
        tree.mkdir()
        for script in ("instructions.py", "passthrough.py", "redemption.py"):
            shutil.copy(Path(__file__).with_name(script), tree)
    archive = subprocess.run(
        ["git", "archive", before, "ott_middleware"], cwd=ROOT, check=True, capture_output=True
    )
    subprocess.run(["tar", "-x", "-C", str(trees[0])], input=archive.stdout, check=True)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "ott_middleware", trees[1] / "ott_middleware", ignore=ignored)
    old, new = (counts(tree, run) for tree, run in [(tree, begin(tree)) for tree in trees])
    return {name: (old[name], new[name]) for name in new}


def main() -> int:
    arguments = [each for each in sys.argv[1:] if not each.startswith("--")]
    if "--tiny" in sys.argv[1:]:
        print(f"instructions: {len(work(tiny=True))} kinds of requests run")
        return 0
    before = git("rev-parse", "--verify", f"{(arguments or ['HEAD~1'])[0]}^{{commit}}")
    missing = None if shutil.which("valgrind") else "valgrind is not installed"
    if not before:
        missing = "the commit before is not here: this is no clone, or one without its history"
    if missing:
        print(f"instructions: not compared, since {missing}")
        return 0
    with tempfile.TemporaryDirectory() as directory:
        found = compare(before, Path(directory))
    missed = 0
    for name, (old, new) in found.items():
        missed += new > MOST * old
        print(
            f"{new / old:.4f} of the instructions before, {name:34}: {old:9.0f} -> {new:9.0f} a "
            f"request, bound {MOST}: {'held' if new <= MOST * old else 'MISSED'}"
        )
    reasons = [
        line
        for line in git("log", "--format=%B", f"{before}..HEAD").splitlines()
        if line.startswith(REASON)
    ]
    for reason in reasons if missed else ():
        print(f"the reason that a commit has: {reason}")
    return 1 if "--check" in sys.argv[1:] and missed and not reasons else 0


if __name__ == "__main__":
    if os.environ.get("OTT_COUNTED"):
        print(json.dumps(work(tiny=False)))
        sys.exit(0)
    sys.exit(main())
