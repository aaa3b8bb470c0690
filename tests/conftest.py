from __future__ import annotations

import pytest
from harness import World


@pytest.fixture(params=["asgi", "wsgi"])
def world(request: pytest.FixtureRequest) -> World:
    """Either of the two worlds: what a test says of a site holds in both."""
    return World(request.param)
