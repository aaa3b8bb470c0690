"""`on_event` under gevent and eventlet: its thread is a greenlet, and holds up no other."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import services

import ott_middleware

pytestmark = pytest.mark.slow

PROGRAM = """
import sys
library, kind = sys.argv[1:]
if library == "gevent":
    from gevent import monkey
    monkey.patch_all()
else:
    import eventlet
    eventlet.monkey_patch()
import asyncio, threading, time
from ott_middleware.events import Events

heard, seen = [], []

async def later(event):
    await asyncio.sleep(0.1)
    heard.append(event.kind)

def now(event):
    time.sleep(0.1)
    heard.append(event.kind)

events = Events(later if kind == "async" else now, time.time, None)
for kind in ("generated", "redeemed"):
    events.send(kind)

def other():
    # Another request: it goes on meanwhile, and sees no event loop.
    while len(heard) < 2:
        time.sleep(0.01)
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            seen.append(len(heard))

thread = threading.Thread(target=other)
thread.start()
assert events.flush(20)
thread.join(20)
assert heard == ["generated", "redeemed"], heard
assert 0 in seen and 1 in seen, seen
events.send("revoked")
"""


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("library", ["gevent", "eventlet"])
def test_hook_holds_up_no_greenlet(library: str, kind: str) -> None:
    if importlib.util.find_spec(library) is None:
        services.absent(f"{library} is not installed: pip install -e .[test]")
    root = Path(ott_middleware.__file__).parents[1]
    paths = os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, library, kind],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert done.returncode == 0, done.stderr
    assert "Error" not in done.stderr
