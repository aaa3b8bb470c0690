"""The README says what is so: its code runs, its table and its commands are right."""

from __future__ import annotations

import ast
import dataclasses
import json
import re
import subprocess
import sys
from http import HTTPStatus
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

import pytest
from documents import DOCUMENTS, ROOT, ask, blocks, prose
from harness import NAVIGATION, Reply, Seen, World
from starlette.responses import Response

import ott_middleware
from ott_middleware import CookieSession, MemoryBackend
from ott_middleware.options import Options, OptionValues
from ott_middleware.tokens.options import TokenOptions

README = ROOT / "README.md"
HEADINGS = [
    "The one line",
    "FastAPI, Starlette",
    "Django",
    "Django",
    "Flask",
    "A bare WSGI app",
]


@pytest.fixture(scope="module")
def results() -> list[dict[str, Any]]:
    """What came of the README's code, run in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(ROOT / "tests" / "documents.py"), str(README)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    answer: list[dict[str, Any]] = json.loads(done.stdout)
    return answer


def test_code_runs_in_one_program(results: list[dict[str, Any]]) -> None:
    assert [result["heading"] for result in results] == HEADINGS


@pytest.mark.parametrize("index", range(len(HEADINGS)), ids=lambda i: f"{HEADINGS[i]}-{i}")
def test_one_line_hands_a_user_over(results: list[dict[str, Any]], index: int) -> None:
    result = results[index]
    cookie = result["cookie"]
    status, location, cookies = result["link"]
    assert (status, location) == (303, "?a=1")
    name = cookie.partition("=")[0]
    if result["heading"] in ("FastAPI, Starlette", "Flask"):
        # The session is the cookie: it comes with its end among its values.
        assert [pair.partition("=")[0] for pair in cookies] == [name]
    else:
        assert cookie in cookies
    assert result["again"] == [400, []]
    # A framework may write its cookie anew in the answer to the call.
    assert name in {pair.partition("=")[0] for pair in result["call"]}
    if result["named"]:
        assert cookies == result["call"] == [cookie]


def test_session_is_named_for_an_unknown_app_only(results: list[dict[str, Any]]) -> None:
    named = [result["heading"] for result in results if result["named"]]
    assert named == ["The one line", "A bare WSGI app"]


def test_examples_are_safe_to_copy() -> None:
    for block in blocks(README, "python")[1:]:
        for option in (
            'store_token="hashed"',
            'public_origin="https://a.example"',
            'handoff_targets=["https://b.example"]',
        ):
            assert option in block.text, f"line {block.line}"
    # A shared store is named in one place, which speaks of the secret right after it.
    assert "backend=" not in "".join(block.text for block in blocks(README, "python"))
    assert "give all processes the same `secret=" in prose(README)


class TestFirstScreen:
    def test_order(self) -> None:
        text = README.read_text(encoding="utf-8")
        parts = (
            'backend="sqlite:',
            "At `b.example`",
            "docs/images/handoff.png",
            "<!-- command: demo -->",
            "<!-- command: test -->",
            "## Is it for you?",
        )
        places = [text.index(part) for part in parts]
        assert places == sorted(places)

    def test_relative_links_are_few_and_in_the_last_section(self) -> None:
        # On a package index a relative link leads nowhere: the text names the page in words.
        text = prose(README)
        links = re.findall(r"(?<!!)\[[^\]]+\]\((?!https?:)[^)]+\)", text)
        assert len(links) <= 3
        _, more = text.split("\n## More\n")
        assert all(link in more for link in links)


def test_recipe_of_two_sites_hands_a_user_over(tmp_path: Path) -> None:
    apps = []
    for block in blocks(README, "py"):
        for option in ("backend=", "secret=", 'store_token="hashed"', "public_origin="):
            assert option in block.text, f"line {block.line}"
        names: dict[str, Any] = {"__name__": "recipe"}
        source = block.text.replace("/var/lib/shop", str(tmp_path))
        # Without postponed annotations, which FastAPI could not resolve in this namespace.
        exec(compile(source, str(README), "exec", dont_inherit=True), names)
        apps.append(names["app"])
    source_site, target_site = apps

    async def sign_in(request: Any) -> Response:
        request.session["user_id"] = "ada"
        return Response()

    source_site.add_route("/sign-in", sign_in)
    a, b = ({"host": f"{name}.example", "scheme": "https"} for name in "ab")
    visitor = ask(source_site, "GET", "/go", {}, **a)
    assert (visitor.status, dict(visitor.headers)["location"]) == (303, "/sign-in")
    assert ask(target_site, "GET", "/welcome", {}, **b).body == b'"Hello guest"'
    signed_in = ask(source_site, "GET", "/sign-in", {}, **a)
    cookie = dict(signed_in.headers)["set-cookie"].split(";")[0]
    link = dict(ask(source_site, "GET", "/go", {"cookie": cookie}, **a).headers)["location"]
    assert link.startswith("https://b.example/welcome?ott=")
    target = link.removeprefix("https://b.example")
    opened = ask(target_site, "GET", target, NAVIGATION, **b)
    assert (opened.status, dict(opened.headers)["location"]) == (303, "./welcome")
    cookie = dict(opened.headers)["set-cookie"].split(";")[0]
    assert ask(target_site, "GET", "/welcome", {"cookie": cookie}, **b).body == b'"Hello ada"'
    assert ask(target_site, "GET", target, NAVIGATION, **b).status == 400


def test_opening_transcript_is_what_happens(world: World) -> None:
    transcript = next(block for block in blocks(README, "text") if "\n> GET" in block.text)
    exchanges = re.findall(r"((?:^> .*\n)+)((?:^< .*\n?)+)", transcript.text, flags=re.M)
    assert len(exchanges) == 3
    (token,) = set(re.findall(r"ott=(\S+)", transcript.text))
    assert len(token) == 32

    async def app(seen: Seen) -> Reply:
        if seen.path == "/go":
            return Reply(303, [("Location", await seen.ott.alink("https://b.example/welcome"))])
        return Reply()

    backend = MemoryBackend(clock=world.clock)
    sites = {
        host: world.serve(
            app,
            session=CookieSession("sessionid", probe="/account"),
            backend=backend,
            generate_token=lambda session, context: token,
            public_origin=f"https://{host}",
            handoff_targets=targets,
        )
        for host, targets in (("a.example", ["https://b.example"]), ("b.example", []))
    }
    for asked, told in exchanges:
        first, *lines = re.findall(r"^> (.*)", asked, flags=re.M)
        method, host, target = re.fullmatch(r"(\S+) https://([^/]+)(\S+)", first).groups()
        headers = dict(NAVIGATION)
        headers.update((n.lower(), v) for n, v in (line.split(": ", 1) for line in lines))
        answer = sites[host].send(method, target, headers, host=host)
        first, *lines = re.findall(r"^< (.*)", told, flags=re.M)
        status, _, text = first.partition(" ")
        assert answer.status == int(status)
        assert text == HTTPStatus(answer.status).phrase or text in answer.body.decode()
        for name, value in (line.split(": ", 1) for line in lines):
            assert (name.lower(), value) in answer.headers
        if not lines:
            assert "set-cookie" not in dict(answer.headers)


def test_options_table_lists_each_option() -> None:
    table = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+) \|$", README.read_text(), flags=re.M)
    fields = [*dataclasses.fields(Options), *dataclasses.fields(TokenOptions)]
    real = {each.name: each.default for each in fields if each.init}
    del real["token_options"]
    assert sorted(name for name, _, _ in table) == sorted(OptionValues.__annotations__)
    assert {name for name, _, _ in table} == set(real)
    for name, default, _ in table:
        if real[name] is dataclasses.MISSING:
            assert default == "required"
        else:
            value = ast.literal_eval(default.strip("`"))
            assert (type(value), value) == (type(real[name]), real[name]), name


@pytest.mark.parametrize("name", ["demo", "test"])
def test_command_is_one_line_behind_its_marker(name: str) -> None:
    marked = [block for block in blocks(README) if block.before == f"<!-- command: {name} -->"]
    assert len(marked) == 1
    command = marked[0].text
    assert "\n" not in command
    assert command.startswith("python3 -m venv .venv && .venv/bin/pip install -q ")
    extras = re.findall(r"\[(\w+)\]", command)
    assert extras
    assert set(extras) <= set(metadata("ott_middleware").get_all("Provides-Extra") or ())


def test_demo_can_be_told_to_check() -> None:
    (command,) = (b.text for b in blocks(README) if b.before == "<!-- command: demo -->")
    assert command.endswith("python examples/handoff.py")
    assert (ROOT / "examples" / "handoff.py").is_file()


def slug(heading: str) -> str:
    """The anchor of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_within_the_repository_have_targets(document: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", prose(document)):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        linked = (document.parent / path).resolve() if path else document
        assert linked.is_file(), target
        assert ROOT in linked.parents, target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", prose(linked), flags=re.M)
            # The build writes an entry for each option.
            headings += OptionValues.__annotations__ if linked.name == "options.md" else ()
            assert anchor in {slug(heading) for heading in headings}, target


def test_changelog_opens_with_compatibility() -> None:
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), flags=re.M)
    assert headings[0] == "Compatibility"
    assert headings[1].split()[0] == ott_middleware.__version__
