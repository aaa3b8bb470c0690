"""Apps from the package index, wrapped as they come: a link signs in at the other site.

Each app runs twice under a real server, at two addresses, so that no cookie of the one is sent to
the other. The sites share what the docs' table says: the app's store or key, the backend, `secret`.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from app_browser import FROM_SCRIPT, Browser
from app_environments import ROOT, environment
from app_rows import HERE, App
from apps_table import APPS, PAGE, with_table
from running import free_port, running

ROWS = [
    pytest.param(
        app, id=app.site, marks=[pytest.mark.apps, *([pytest.mark.slow_apps] if app.slow else [])]
    )
    for app in APPS
]
PATIENCE = 120.0  # seconds until a heavy app listens
SERVERS = {
    "uvicorn": "uvicorn --host {host} --port {port} {app}",
    "waitress": "waitress --listen {host}:{port} {app}",
}


def python_of(app: App) -> Path:
    """Return the Python of the environment that has the app, and others of that environment."""
    together = [each.requires for each in APPS if each.environment == app.environment]
    return environment(app.environment, [one for all_ in together for one in all_])


def prepare(app: App, python: Path, variables: dict[str, str], data: Path) -> None:
    made = subprocess.run(
        [python, HERE / f"site_{app.site}.py"],
        env={**os.environ, **variables},
        cwd=data,
        capture_output=True,
        timeout=3 * PATIENCE,
        check=False,
    )
    assert made.returncode == 0, made.stderr.decode()


@contextlib.contextmanager
def sites_of(source: App, target: App, data: Path) -> Iterator[tuple[str, str]]:
    """Serve an app at one address and an app, mostly the same, at another; yield both origins."""
    hosts = ("127.0.0.1", "127.0.0.2")
    ports = [free_port(host) for host in hosts]
    origins = [f"http://{host}:{port}" for host, port in zip(hosts, ports, strict=True)]
    with contextlib.ExitStack() as stack:
        for number, app in enumerate((source, target)):
            python = python_of(app)
            variables = {
                "SITE_DATA": str(data),
                "SITE_ORIGIN": origins[number],
                "SITE_TARGET": origins[1 - number],
                "PYTHONPATH": f"{HERE}{os.pathsep}{ROOT}",
            }
            if app.prepare and (number == 0 or app is not source):
                prepare(app, python, variables, data)
            command = SERVERS[app.server].format(
                host=hosts[number], port=ports[number], app=f"site_{app.site}:application"
            )
            stack.enter_context(
                running(
                    f"{app.site} {number}",
                    command.split(),
                    data / f"server-{number}.log",
                    port=ports[number],
                    host=hosts[number],
                    path=HERE,
                    python=python,
                    patience=PATIENCE,
                    variables=variables,
                )
            )
        yield origins[0], origins[1]


@pytest.mark.parametrize("app", ROWS)
class TestApp:
    def test_link_signs_in_at_the_other_site(self, app: App, tmp_path: Path) -> None:
        with sites_of(app.source or app, app, tmp_path) as (here, there):
            try:
                with Browser() as ada, Browser() as other:
                    walk_through(app, here, there, ada, other)
            except AssertionError:
                print(*(log.read_text() for log in sorted(tmp_path.glob("server-*.log"))))
                raise
        for log in sorted(tmp_path.glob("server-*.log")):
            lines = [
                line for line in log.read_text().splitlines() if "ott_middleware warns:" in line
            ]
            # The line of the table is all that is needed: it leads to no warning.
            assert bool(lines) == bool(app.warns), lines
            assert all(app.warns in line for line in lines), lines


def walk_through(app: App, here: str, there: str, ada: Browser, other: Browser) -> None:
    source = app.source or app
    assert ada.generate(here + source.base_path).status == 401
    assert source.mark not in ada.read(here + source.page)
    source.sign_in(ada, here)
    assert source.mark in ada.read(here + source.page)
    assert app.mark not in ada.read(there + app.page)

    token = bound_token(ada, here + source.base_path, there)
    link = f"{there}{app.page}{'&' if '?' in app.page else '?'}ott={token}"
    arrival = ada.get(link, sec_fetch_site="cross-site", sec_fetch_user="?1", referer=here + "/")
    assert arrival.status == 303, (arrival.status, arrival.body)
    assert token not in str(arrival.location)
    assert app.mark in ada.read(there + app.page)
    # Any page of the app, not just the first: what it sets or renews by itself is no hindrance.
    assert app.mark in ada.read(there + app.page)

    # The link was used: it signs no other browser in.
    refused = other.get(link)
    assert (refused.status, refused.all("set-cookie")) == (400, [])
    assert app.mark not in other.read(there + app.page)

    app.sign_out(ada, there)
    assert app.mark not in ada.read(there + app.page)
    assert ada.generate(there + app.base_path).status == 401


def bound_token(browser: Browser, base: str, there: str) -> str:
    """Ask for a token that the other site alone redeems."""
    answer = browser.get(f"{base}/one-time-token/generate?audience={there}", **FROM_SCRIPT)
    assert answer.status == 200, answer.body
    token: str = answer.json()["token"]
    return token


class TestTable:
    def test_docs_have_the_table(self) -> None:
        text = PAGE.read_text()
        assert with_table(text) == text, "run: python tests/system/apps/apps_table.py"
