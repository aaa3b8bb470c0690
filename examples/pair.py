"""Start an example twice, as two sites that link to each other.

    python examples/pair.py flask_app     open http://localhost:8001

The second site is http://127.0.0.1:8002: for a browser another host, so that it keeps their cookies
apart. Both share a store and a secret, which end with the program: press Ctrl+C.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
SECONDS = 30  # to start in
# Where a visitor signs in, if that is not the first page.
SIGN_IN = {"basic_wsgi": "/login"}


def example(text: str) -> str:
    name = Path(text).stem
    if not (HERE / f"{name}.py").is_file():
        raise argparse.ArgumentTypeError(f"there is no example {name}")
    return name


def wait(site: subprocess.Popen[bytes], port: int) -> None:
    for _ in range(SECONDS * 10):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if site.poll() is not None:
            sys.exit("The example did not start: see above.")
        time.sleep(0.1)
    sys.exit(f"The example did not start in {SECONDS} seconds.")


def main() -> None:
    parser = argparse.ArgumentParser(description="Start an example as two sites.")
    parser.add_argument("example", type=example, help="for example flask_app")
    parser.add_argument("--ports", type=int, nargs=2, default=(8001, 8002))
    given = parser.parse_args()
    # A supervisor's stop ends both sites, as Ctrl+C does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    origins = [
        f"http://{host}:{port}"
        for host, port in zip(("localhost", "127.0.0.1"), given.ports, strict=True)
    ]
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        shared = {
            **os.environ,
            "OTT_BACKEND": f"sqlite:///{folder}/links.db",
            "OTT_DATABASE": f"{folder}/people.db",
            "OTT_SECRET": secrets.token_hex(32),
        }
        sites = []
        for port, own, other in zip(given.ports, origins, origins[::-1], strict=True):
            site = subprocess.Popen(
                [sys.executable, str(HERE / f"{given.example}.py"), "--port", str(port)],
                env={**shared, "OTT_ORIGIN": own, "OTT_TARGET": other},
            )
            sites.append(stack.enter_context(site))
            stack.callback(site.terminate)
            # One after the other: the first creates the tables.
            wait(site, port)
        print(f"Open {origins[0]}{SIGN_IN.get(given.example, '/')}", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            sites[0].wait()


if __name__ == "__main__":
    main()
