"""The sites of the page "Two sites" as they stand there: `recipe_sites SIDE FOLDER PORT...`.

One process for all sites of a side, each on a port of its own. One a side, since a process has one
Django project.
"""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KINDS = ("wsgi", "asgi", "flask", "fastapi", "django-wsgi", "django-asgi")
TABS = {
    "Django": "django",
    "Flask": "flask",
    "FastAPI, Starlette": "fastapi",
    "Plain WSGI": "wsgi",
    "Plain ASGI": "asgi",
}


@dataclass(frozen=True)
class Recipe:
    """A Python block in a tab."""

    section: str
    tab: str
    before: str
    code: str


def recipes(page: Path) -> list[Recipe]:
    """The Python blocks of a page that stand in tabs, and those after them (tab "")."""
    found, section, tab = [], "", ""
    parts = re.split(
        r"^(## .+|:::\{tab\} .+|:::|```python\n[\s\S]*?^```)$", page.read_text(), flags=re.M
    )
    for before, part in zip(["", *parts], parts, strict=False):
        if part.startswith("## "):
            section = part[3:]
        elif part.startswith(":::"):
            tab = part[3:].removeprefix("{tab}").strip()
        elif part.startswith("```python"):
            code = part.removeprefix("```python\n").removesuffix("```")
            found.append(Recipe(section, tab, before.strip(), code))
    return found


def write_sites(page: Path, side: str, folder: Path) -> None:
    """Write the files that the tabs of a side name; Django's into a project that is made for it."""
    # In a process of its own: the command configures settings of its own.
    project = [sys.executable, "-m", "django", "startproject", "mysite", str(folder)]
    subprocess.run(project, check=True)
    for recipe in recipes(page):
        named = re.findall(r"`([\w/]+\.py)`", recipe.before)
        if recipe.section == f"The {side} site":
            (folder / named[-1]).write_text(recipe.code)
        elif recipe.section == "By e-mail instead of a click" and side == "source":
            with (folder / "source_fastapi.py").open("a") as file:
                file.write(recipe.code)
    asgi = (folder / "mysite/wsgi.py").read_text().replace("wsgi", "asgi")
    (folder / "mysite/asgi.py").write_text(asgi)


def migrate_django() -> None:
    """Make the tables and a user; the hash of the password is a quick one."""
    from django.conf import settings
    from django.core.management import call_command

    os.environ["DJANGO_SETTINGS_MODULE"] = "mysite.settings"
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    call_command("migrate", verbosity=0)
    os.environ["DJANGO_SUPERUSER_PASSWORD"] = "sesame"
    call_command("createsuperuser", username="ada", email="ada@example.com", interactive=False)


def load(side: str, kind: str) -> Any:
    if kind.startswith("django"):
        return importlib.import_module(f"mysite.{kind[-4:]}").application
    module = importlib.import_module(f"{side}_{kind}")
    return getattr(module, "application", None) or module.app


def serve(kind: str, app: Any, port: int) -> None:
    if kind in ("wsgi", "flask", "django-wsgi"):
        import waitress

        waitress.serve(app, host="127.0.0.1", port=port)
    else:
        import uvicorn

        uvicorn.run(app, host="127.0.0.1", port=port, lifespan="off", access_log=False)


def main(side: str, folder: str, *ports: str) -> None:
    import django

    sys.path.insert(0, folder)
    write_sites(Path(os.environ["RECIPE_PAGE"]), side, Path(folder))
    os.environ["DJANGO_SETTINGS_MODULE"] = "mysite.settings"
    django.setup()
    migrate_django()
    apps = [(kind, load(side, kind)) for kind in KINDS]
    threads = [
        threading.Thread(target=serve, args=(kind, app, int(port)))
        for (kind, app), port in zip(apps, ports, strict=True)
    ]
    # The test waits for the port of the last one.
    for thread in threads:
        thread.start()
    threads[-1].join()


if __name__ == "__main__":
    main(*sys.argv[1:])
