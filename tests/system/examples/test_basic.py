"""The example of an app that knows Basic authentication alone, under its real server."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import free_port, running
from visitor import Visitor

EXAMPLES = Path(__file__).parents[3] / "examples"
Pair = tuple[str, str]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Two processes of the example, which link to each other."""
    directory = tmp_path_factory.mktemp("basic")
    (directory / "files").mkdir()
    (directory / "files" / "minutes.txt").write_text("a file of the members")
    ports = free_port(), free_port()
    with contextlib.ExitStack() as stack:
        for port, other in (ports, ports[::-1]):
            stack.enter_context(
                running(
                    f"basic-{port}",
                    ["basic_wsgi", "--port", "{port}"],
                    directory / f"log-{port}",
                    port=port,
                    path=EXAMPLES,
                    variables={
                        "OTT_BACKEND": f"sqlite:///{directory / 'links.db'}",
                        "OTT_ORIGIN": f"http://127.0.0.1:{port}",
                        "OTT_TARGET": f"http://127.0.0.1:{other}",
                        "OTT_SECRET": "a0" * 32,
                        "DAV_FOLDER": str(directory / "files"),
                    },
                )
            )
        here, there = (f"http://127.0.0.1:{port}" for port in ports)
        yield here, there


def reads(visitor: Visitor, origin: str) -> bool:
    answer = visitor.get(origin + "/minutes.txt")
    if answer.status == 200:
        assert answer.body == b"a file of the members"
        return True
    # The app's own challenge, of the one scheme that it knows.
    assert (answer.status, answer.all("www-authenticate")[0][:5]) == (401, "Basic")
    return False


@pytest.mark.parametrize("name", ["ada", "zoë"])
def test_link_signs_in_to_an_app_that_knows_basic_alone(pair: Pair, name: str) -> None:
    here, there = pair
    visitor = Visitor()
    assert not reads(visitor, here)
    assert visitor.submit(here + "/login", name=name).status == 303
    assert reads(visitor, here)
    assert not reads(visitor, there)
    link = visitor.get(here + "/elsewhere").location
    assert link is not None
    assert visitor.get(link).status == 303
    assert reads(visitor, there)


def test_log_out_page_ends_the_session(pair: Pair) -> None:
    here, _ = pair
    visitor = Visitor()
    visitor.submit(here + "/login", name="ada")
    assert reads(visitor, here)
    assert visitor.get(here + "/logout").location == "/login"
    assert not reads(visitor, here)


def test_authorization_of_a_client_never_reaches_the_app(pair: Pair) -> None:
    here, _ = pair
    right = hmac.new(b"a0" * 32, b"basic ada", hashlib.sha256).hexdigest()
    pair_of = b64encode(f"ada:{right}".encode()).decode()
    answer = Visitor().get(here + "/minutes.txt", authorization=f"Basic {pair_of}")
    assert answer.status == 401
