"""Apps that nobody here wrote, from PyPI: wrapped as they come, and signed in to by a link.

Each runs twice, under a real server, as two hosts of one company would run it: with the same
database and the same secret. A person signs in at the one as its users do.
"""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin

import pytest
from running import Server, free_port, running
from visitor import Visitor

FOREIGN = Path(__file__).parent / "foreign"


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("foreign") / "ships.db"
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("create table ships (name text)")
        connection.execute("insert into ships values ('Argo')")
    return path


@contextlib.contextmanager
def twice(
    name: str, arguments: list[str], directory: Path, **variables: str
) -> Iterator[tuple[Server, Server]]:
    """Two processes of one app, which share a backend."""
    with contextlib.ExitStack() as stack:
        yield tuple(  # type: ignore[misc]  # two of them
            stack.enter_context(
                running(
                    f"{name} {number}",
                    arguments,
                    directory / f"{name}-{number}.log",
                    path=FOREIGN,
                    port=free_port(),
                    variables={"OTT_BACKEND": f"sqlite:///{directory / 'links.db'}", **variables},
                )
            )
            for number in (1, 2)
        )


def hand_over(visitor: Visitor, here: str, page: str) -> str:
    """Ask for a token at one host and open a page of the other with it."""
    token = visitor.token(here)
    link = f"{page}?ott={token}"
    arrival = visitor.get(link)
    assert arrival.status == 303, arrival.body
    assert urljoin(link, arrival.location or "") == page
    return link


def assert_dead(link: str) -> None:
    refused = Visitor().get(link)
    assert (refused.status, refused.all("set-cookie")) == (400, [])


# sqlite-web: a Flask app with one password for all.


@pytest.fixture(scope="module")
def sqlite_webs(database: Path) -> Iterator[tuple[str, str]]:
    pytest.importorskip("sqlite_web")
    arguments = ["waitress", "--listen", "127.0.0.1:{port}", "served_sqlite_web:application"]
    variables = {"DATABASE": str(database), "SQLITE_WEB_PASSWORD": "trireme"}
    with twice("sqlite-web", arguments, database.parent, **variables) as (one, other):
        yield one.origin, other.origin


def test_sqlite_web(sqlite_webs: tuple[str, str]) -> None:
    here, there = sqlite_webs
    member = Visitor()
    assert "must log-in" in member.read(there + "/ships/content/")
    member.submit(here + "/login/", password="trireme")

    link = hand_over(member, here, there + "/ships/content/")
    assert "Argo" in member.read(there + "/ships/content/")
    assert_dead(link)


def test_sqlite_web_without_sign_in_gives_no_token(sqlite_webs: tuple[str, str]) -> None:
    here, _ = sqlite_webs
    stranger = Visitor()
    stranger.submit(here + "/login/", password="galley")
    assert stranger.jars[here]["sqlite_web_session"]  # a session, with nobody in it
    assert stranger.generate(here).status == 401
    stranger.jars[here]["sqlite_web_session"] = "eyJhdXRob3JpemVkIjp0cnVlfQ.Z0OQ3A.forged"
    assert stranger.generate(here).status == 401


# datasette: an ASGI app, started by its own command, wrapped by a plugin.


@pytest.fixture(scope="module")
def datasettes(database: Path) -> Iterator[tuple[Server, Server]]:
    pytest.importorskip("datasette")
    metadata = database.with_name("metadata.json")
    metadata.write_text('{"allow": {"id": "root"}}')
    arguments = ["datasette", "serve", str(database), "--root", "--secret", "one for both"]
    arguments += ["--metadata", str(metadata), "--plugins-dir", str(FOREIGN / "plugins")]
    with twice("datasette", [*arguments, "--port", "{port}"], database.parent) as both:
        yield both


def signed_in_as_root(server: Server) -> Visitor:
    """By the link that the command prints, which datasette takes once."""
    found = re.search(r"/-/auth-token\?token=\w+", server.logged("/-/auth-token?token="))
    assert found
    root = Visitor()
    root.get(server.origin + found[0])
    return root


def test_datasette(datasettes: tuple[Server, Server]) -> None:
    one, other = datasettes
    here, there = one.origin, other.origin
    root = signed_in_as_root(one)
    assert root.get(there + "/ships/ships").status == 403

    link = hand_over(root, here, there + "/ships/ships")
    assert "Argo" in root.read(there + "/ships/ships")
    assert root.get(there + "/-/actor.json").json() == {"actor": {"id": "root"}}
    assert_dead(link)


def test_datasette_without_sign_in_gives_no_token(
    datasettes: tuple[Server, Server],
) -> None:
    here = datasettes[0].origin
    stranger = Visitor()
    assert stranger.generate(here).status == 401
    stranger.jars[here]["ds_actor"] = "eyJhIjp7ImlkIjoicm9vdCJ9fQ.forged"
    assert stranger.generate(here).status == 401


def test_datasette_that_is_open_to_all_tells_visitors_from_root(
    datasettes: tuple[Server, Server], database: Path
) -> None:
    """Why it is not asked by `probe=`, which goes by the status alone."""
    plugins = str(FOREIGN / "plugins")
    arguments = ["datasette", "serve", str(database), "--root", "--secret", "one for both"]
    arguments += ["--plugins-dir", plugins, "--port", "{port}"]
    log = database.with_name("open.log")
    backend = {"OTT_BACKEND": f"sqlite:///{database.with_name('links.db')}"}
    with running("open datasette", arguments, log, path=FOREIGN, variables=backend) as server:
        stranger = Visitor()
        stranger.jars[server.origin] = {"ds_actor": "eyJhIjp7ImlkIjoicm9vdCJ9fQ.forged"}
        asked = stranger.get(server.origin + "/-/actor.json")
        assert (asked.status, asked.json()) == (200, {"actor": None})
        assert stranger.generate(server.origin).status == 401

        root = signed_in_as_root(datasettes[1])
        hand_over(root, datasettes[1].origin, server.origin + "/-/actor.json")
        assert root.get(server.origin + "/-/actor.json").json() == {"actor": {"id": "root"}}


# Django's admin.


@dataclass(frozen=True)
class Admins:
    """Three hosts: two of one project (WSGI, ASGI), and one with a database of its own."""

    wsgi: str
    asgi: str
    elsewhere: str


@pytest.fixture(scope="module")
def admins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Admins]:
    directory = tmp_path_factory.mktemp("admin")
    backend = f"sqlite:///{directory / 'links.db'}"
    # The same ids, other people: who arrives is known by the name.
    people = {"one": ["ada", "bob"], "other": ["bob", "ada"]}
    variables = {
        name: {"DATABASE": str(directory / name), "DJANGO_SECRET": name, "OTT_BACKEND": backend}
        for name in people
    }
    # Both at once: each migrates a database of its own.
    preparing = [
        subprocess.Popen(
            [sys.executable, str(FOREIGN / "served_admin.py"), "sesame", *members],
            env={**os.environ, **variables[name]},
        )
        for name, members in people.items()
    ]
    assert [process.wait(60) for process in preparing] == [0, 0]
    waitress = ["waitress", "--listen", "127.0.0.1:{port}", "served_admin:wsgi"]
    uvicorn = ["uvicorn", "--port", "{port}", "--lifespan", "off", "served_admin:asgi"]
    with contextlib.ExitStack() as stack:
        origins = [
            stack.enter_context(
                running(
                    host,
                    how,
                    directory / f"{host}.log",
                    path=FOREIGN,
                    variables={**variables[name], "SESSION": session},
                )
            ).origin
            for host, how, name, session in (
                ("wsgi", waitress, "one", ""),
                ("asgi", uvicorn, "one", '{"expose": ["username"]}'),
                ("elsewhere", waitress, "other", '{"match": "username"}'),
            )
        ]
        yield Admins(*origins)


def administrator(origin: str, name: str = "ada") -> Visitor:
    visitor = Visitor()
    answer = visitor.submit(f"{origin}/admin/login/", username=name, password="sesame")
    assert answer.status == 302, answer.body
    return visitor


@pytest.mark.parametrize(
    ("source", "target"),
    [("wsgi", "asgi"), ("asgi", "wsgi"), ("asgi", "elsewhere")],
)
def test_django_admin(admins: Admins, source: str, target: str) -> None:
    here, there = getattr(admins, source), getattr(admins, target)
    ada = administrator(here)
    assert "Log in" in ada.read(there + "/admin/")

    link = hand_over(ada, here, there + "/admin/auth/user/")
    page = ada.read(there + "/admin/auth/user/")
    assert "Select user to change" in page
    assert "<strong>ada</strong>" in page
    assert_dead(link)


def test_django_admin_exposes_no_names_unless_it_is_told_to(admins: Admins) -> None:
    ada = administrator(admins.wsgi)
    assert_dead(f"{admins.elsewhere}/admin/?ott={ada.token(admins.wsgi)}")


def test_django_admin_works_on_after_the_arrival(admins: Admins) -> None:
    """Its forms are accepted, its messages are shown, and who signs out is signed out."""
    ada = administrator(admins.wsgi)
    hand_over(ada, admins.wsgi, admins.asgi + "/admin/")
    group = ada.submit(admins.asgi + "/admin/auth/group/add/", name="Rowers")
    assert group.status == 302, group.body
    assert "was added successfully" in ada.read(admins.asgi + "/admin/auth/group/")
    assert ada.press(admins.asgi + "/admin/", "/admin/logout/").status == 200
    assert "Log in" in ada.read(admins.asgi + "/admin/")
    # One session for both hosts: it ended on both.
    assert "Log in" in ada.read(admins.wsgi + "/admin/")


def test_django_admin_without_sign_in_gives_no_token(admins: Admins) -> None:
    for origin in (admins.wsgi, admins.asgi):
        stranger = Visitor()
        stranger.submit(f"{origin}/admin/login/", username="ada", password="open")
        assert stranger.generate(origin).status == 401
        stranger.jars[origin]["sessionid"] = "k" * 32
        assert stranger.generate(origin).status == 401
