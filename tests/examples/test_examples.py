"""Each example runs twice, under its real server, and a link leads from the one to the other."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import free_port, running
from visitor import Visitor

EXAMPLES = Path(__file__).parents[2] / "examples"
# How each is signed in to: the page with the form, and what is filled in.
APPS = {
    "bottle_app": ("/", {"name": "Zoë"}),
    "falcon_asgi": ("/", {"name": "Zoë"}),
    "falcon_wsgi": ("/", {"name": "Zoë"}),
    "legacy_wsgi": ("/", {"name": "Zoë"}),
    "litestar_app": ("/", {"name": "Zoë"}),
    "pyramid_app": ("/", {"name": "Zoë"}),
    "quart_app": ("/", {"name": "Zoë"}),
}


def test_every_example_is_run() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {"handoff", *APPS}


Pair = tuple[str, str, str]  # the example's name, and two origins of it


@pytest.fixture(scope="module", params=sorted(APPS))
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    """Two processes of one example, which link to each other."""
    name: str = request.param
    directory = tmp_path_factory.mktemp(name)
    ports = free_port(), free_port()
    with contextlib.ExitStack() as stack:
        for port, other in (ports, ports[::-1]):
            stack.enter_context(
                running(
                    f"{name}-{port}",
                    [name, "--port", "{port}"],
                    directory / f"log-{port}",
                    port=port,
                    path=EXAMPLES,
                    variables={
                        "OTT_BACKEND": f"sqlite:///{directory / 'links.db'}",
                        "OTT_TARGET": f"http://127.0.0.1:{other}",
                        "OTT_SECRET": "a0" * 32,
                    },
                )
            )
        here, there = (f"http://127.0.0.1:{port}" for port in ports)
        yield name, here, there


def signed_in(name: str, origin: str) -> Visitor:
    page, fields = APPS[name]
    visitor = Visitor()
    assert visitor.submit(origin + page, **fields).status == 303
    assert "Hello, Zoë" in visitor.read(origin + "/")
    return visitor


def test_a_link_signs_in_at_the_other_host_once(pair: Pair) -> None:
    name, here, there = pair
    zoe = signed_in(name, here)
    assert "Hello" not in zoe.read(there + "/")
    link = zoe.get(here + "/elsewhere").location
    assert link is not None
    assert link.startswith(f"{there}/?ott=")

    arrival = zoe.get(link)
    assert (arrival.status, arrival.location) == (303, "/")
    assert "Hello, Zoë" in zoe.read(there + "/")

    thief = Visitor()
    refused = thief.get(link)
    assert (refused.status, refused.all("set-cookie")) == (400, [])
    assert "Hello" not in thief.read(there + "/")


def test_nobody_gets_no_token(pair: Pair) -> None:
    _, here, _ = pair
    assert Visitor().generate(here).status == 401
    assert "ott=" not in (Visitor().get(here + "/elsewhere").location or "")


def test_who_signs_out_is_nobody_there(pair: Pair) -> None:
    name, here, _ = pair
    zoe = signed_in(name, here)
    assert zoe.press(here + "/", "/logout").status == 303
    assert "Hello" not in zoe.read(here + "/")
    assert zoe.generate(here).status == 401
