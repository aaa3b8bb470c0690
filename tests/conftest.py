from __future__ import annotations

import sys
from pathlib import Path

import pytest
from harness import World

# The helper that starts servers.
sys.path.insert(0, str(Path(__file__).parent / "servers"))


@pytest.fixture(params=["asgi", "wsgi"])
def world(request: pytest.FixtureRequest) -> World:
    """Either of the two worlds: what a test says of a site holds in both."""
    return World(request.param)
