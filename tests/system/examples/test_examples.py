"""Each example runs twice, under its real server, and a link leads from the one to the other."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import gallery
import pytest
from documents import ROOT, blocks
from running import free_port, running
from visitor import Visitor, forms_of

EXAMPLES = Path(__file__).parents[3] / "examples"
# Those have tests of their own.
OTHERS = {"basic_wsgi", "django_tickets", "fastapi_tickets", "handoff", "pair"}
APPS = sorted({path.stem for path in EXAMPLES.glob("*.py")} - OTHERS)
KNOWN = {
    *("bottle_app", "django_asgi", "django_wsgi", "falcon_asgi", "falcon_wsgi", "fastapi_app"),
    *("flask_app", "legacy_wsgi", "litestar_app", "pyramid_app", "quart_app"),
}


def test_frameworks_have_an_example_each() -> None:
    assert set(APPS) == KNOWN


class TestGallery:
    def test_each_example_has_one_command(self) -> None:
        commands = [block.text for block in blocks(ROOT / "docs" / "gallery.md", "sh")]
        scripts = [re.findall(r"python examples/(?:pair\.py )?(\w+)", text) for text in commands]
        assert sorted(name for (name,) in scripts) == sorted({*APPS, *OTHERS} - {"pair"})

    @pytest.mark.parametrize("name", sorted({*APPS, *OTHERS} - {"pair"}))
    def test_header_has_the_command_of_the_page(self, name: str) -> None:
        source = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
        shows, _, command = source.split("\n")[:3]
        assert re.fullmatch(r'"""[A-Z].+\.', shows)
        line = re.match(r"    (python examples/[\w. ]+?) {2,}", command)
        assert line is not None
        page = [block.text for block in blocks(ROOT / "docs" / "gallery.md", "sh")]
        assert [text for text in page if text.endswith(f"&& {line[1]}")] != []

    def test_page_is_the_one_in_the_picture(
        self, pair: tuple[str, str], request: pytest.FixtureRequest
    ) -> None:
        here, _ = pair
        name = request.node.callspec.params["pair"]
        shown = gallery.text_of(gallery.picture(name).read_bytes())
        assert gallery.words_of(signed_in(here).read(here + "/"), "Zoë") == shown


@pytest.mark.parametrize("name", [*APPS, "basic_wsgi", "handoff"])
def test_example_is_safe_to_copy(name: str) -> None:
    source = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
    wrapped = source.count("OTTMiddleware(")
    for option in ('store_token="hashed"', "public_origin="):
        assert source.count(option) == wrapped, option
    assert "handoff_targets=" in source
    # Whoever can write to a shared store could sign in as any user.
    assert "OTT_BACKEND" not in source or re.search(r"^ +secret=", source, re.M)


START = """
import importlib, logging, sys
handler = logging.StreamHandler()
handler.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s"))
logging.getLogger("ott_middleware").addHandler(handler)  # frameworks may set up the root logger
example = importlib.import_module(sys.argv[1])
if hasattr(example, "wrapped"):
    example.wrapped(8000)
"""


@pytest.mark.parametrize("backend", ["memory://", "sqlite:///links.db"])
@pytest.mark.parametrize("name", [*APPS, "basic_wsgi"])
def test_start_warns_of_nothing(name: str, backend: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", START, name],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(EXAMPLES), str(EXAMPLES.parent)]),
            "OTT_BACKEND": backend,
            "OTT_SECRET": "a0" * 32,
            "OTT_DATABASE": str(tmp_path / "people.db"),
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    warnings = [line for line in done.stderr.splitlines() if "ott_middleware WARNING" in line]
    # In the memory of one process, tokens do not reach the other site.
    assert len(warnings) == (backend == "memory://")
    assert all("WARNING handoff_targets: " in line for line in warnings)
    assert "ott_middleware ERROR" not in done.stderr


Pair = tuple[str, str]  # two origins of one example


@pytest.fixture(scope="module", params=APPS)
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
                        "OTT_ORIGIN": f"http://127.0.0.1:{port}",
                        "OTT_TARGET": f"http://127.0.0.1:{other}",
                        "OTT_SECRET": "a0" * 32,
                        "OTT_DATABASE": str(directory / "people.db"),
                    },
                )
            )
        here, there = (f"http://127.0.0.1:{port}" for port in ports)
        yield here, there


def greeted(visitor: Visitor, origin: str) -> str | None:
    """Whom the app's own page greets."""
    found = re.search("Hello, ([^.]+)\\.", re.sub("<[^>]+>", "", visitor.read(origin + "/")))
    return found and found[1]


def signed_in(origin: str) -> Visitor:
    visitor = Visitor()
    assert visitor.submit(origin + "/", name="Zoë").status == 303
    assert greeted(visitor, origin) == "Zoë"
    return visitor


def test_link_signs_in_at_the_other_host_once(pair: Pair) -> None:
    here, there = pair
    zoe = signed_in(here)
    assert greeted(zoe, there) is None
    link = zoe.get(here + "/elsewhere").location
    assert link is not None
    assert link.startswith(f"{there}/?ott=")

    arrival = zoe.get(link)
    assert (arrival.status, arrival.location) == (303, "./")
    assert greeted(zoe, there) == "Zoë"

    thief = Visitor()
    refused = thief.get(link)
    assert (refused.status, refused.all("set-cookie")) == (400, [])
    assert greeted(thief, there) is None


def test_signed_out_visitor_gets_no_token(pair: Pair) -> None:
    here, _ = pair
    assert Visitor().generate(here).status == 401
    assert "ott=" not in (Visitor().get(here + "/elsewhere").location or "")


def test_sign_out_ends_the_session(pair: Pair) -> None:
    here, _ = pair
    zoe = signed_in(here)
    (form,) = forms_of(zoe.get(here + "/"))
    assert zoe.press(here + "/", form.action).status == 303
    assert greeted(zoe, here) is None
    assert zoe.generate(here).status == 401
