"""The documents, taken at their word: their code is run as it stands.

As a program: `python documents.py README.md` runs a document's Python and hands a person over
through every app that it wraps. A process of its own, since Django has settings once for each.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import re
import sys
import tempfile
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import FETCH, NAVIGATION, Answer, call_asgi, call_wsgi, make_environ, make_scope

from ott_middleware import CookieSession, OTTMiddleware

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
COOKIE = "6f1c09e2"


@dataclass(frozen=True)
class Block:
    """A fenced block: its first line, the heading above and the line right before the fence."""

    document: Path
    line: int
    language: str
    heading: str
    before: str
    text: str


def blocks(document: Path, language: str | None = None) -> list[Block]:
    return [block for block in _blocks(document) if language is None or block.language == language]


def _blocks(document: Path) -> Iterator[Block]:
    lines = document.read_text(encoding="utf-8").splitlines()
    heading, opened = "", 0
    for number, line in enumerate(lines, 1):
        if line.startswith("```") and opened:
            text = "\n".join(lines[opened : number - 1])
            language, before = lines[opened - 1][3:].strip(), lines[opened - 2]
            yield Block(document, opened + 1, language, heading, before, text)
            opened = 0
        elif line.startswith("```"):
            opened = number
        elif line.startswith("#") and not opened:
            heading = line.lstrip("#").strip()
    assert not opened, f"{document.name}: a fence is not closed"


def prose(document: Path) -> str:
    """A document without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", document.read_text(encoding="utf-8"), flags=re.M | re.S)


def run(document: Path, namespace: dict[str, Any] | None = None) -> dict[str, Any]:
    """Run all Python of a document in one namespace, in order."""
    namespace = {} if namespace is None else namespace
    for block in blocks(document, "python"):
        run_block(block, namespace)
    return namespace


def run_block(block: Block, namespace: dict[str, Any]) -> None:
    # Padded, so that a traceback names the document's own line.
    source = "\n" * (block.line - 1) + block.text
    namespace.setdefault("__name__", "__main__")
    exec(compile(source, str(block.document), "exec"), namespace)


def ask(app: Any, method: str, target: str, headers: dict[str, str], **how: Any) -> Answer:
    """One request to an app of either interface."""
    if inspect.iscoroutinefunction(type(app).__call__):
        scope = make_scope(method, target, headers, how.get("body", b""), **_server(how))
        messages = [{"type": "http.request", "body": how.get("body", b"")}]
        return asyncio.run(call_asgi(_patient(app), scope, messages))
    return call_wsgi(
        app, make_environ(method, target, headers, how.get("body", b""), **_server(how))
    )


def _patient(app: Any) -> Any:
    """The app with a client that waits for its answer, since Django gives up on one who is gone."""

    async def patient(scope: Any, receive: Any, send: Any) -> None:
        messages = iter([receive])

        async def once() -> Any:
            for message in messages:
                return await message()
            return await asyncio.Event().wait()

        async def lowered(message: Any) -> None:
            # Django writes `Set-Cookie`, and servers let it.
            headers = [(name.lower(), value) for name, value in message.get("headers", ())]
            await send({**message, "headers": headers} if headers else message)

        await app(scope, once, lowered)

    return patient


def _server(how: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in how.items() if name != "body"}


def generate(app: Any, cookie: str, **how: Any) -> str:
    answer = ask(app, "GET", "/one-time-token/generate", {"cookie": cookie}, **how)
    assert answer.status == 200, answer
    token: str = json.loads(answer.body)["token"]
    return token


def handoff(app: Any, cookie: str) -> dict[str, Any]:
    """Hand a person over through an app, by a link and by a call."""
    link = f"/?a=1&ott={generate(app, cookie)}"
    opened, again = (ask(app, "GET", link, NAVIGATION) for _ in range(2))
    call = f"/?ott={generate(app, cookie)}"
    called = ask(app, "GET", call, FETCH)
    return {
        "link": [opened.status, dict(opened.headers)["location"], _cookie(opened)],
        "again": [again.status, _cookie(again)],
        "call": _cookie(called),
    }


def _cookie(answer: Answer) -> list[str]:
    return [value.split(";")[0].strip() for name, value in answer.headers if name == "set-cookie"]


def _sign_in_django(request: Any) -> Any:
    from django.contrib.auth import get_user_model, login
    from django.http import HttpResponse

    user, _ = get_user_model().objects.get_or_create(username="ada")
    login(request, user)
    return HttpResponse()


def _pretend_to_be_mysite(folder: str) -> None:
    """The Django project that the examples speak of."""
    settings = types.ModuleType("mysite.settings")
    vars(settings).update(
        SECRET_KEY="not a secret: this site serves nobody",
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF="mysite.urls",
        USE_TZ=True,
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{folder}/db"}},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
        ],
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
        ],
    )
    urls = types.ModuleType("mysite.urls")
    from django.urls import path

    urls.urlpatterns = [path("sign-in", _sign_in_django)]  # type: ignore[attr-defined]  # made here
    sys.modules.update(
        {"mysite": types.ModuleType("mysite"), "mysite.settings": settings, "mysite.urls": urls}
    )
    os.environ.pop("DJANGO_SETTINGS_MODULE", None)


def _with_a_way_in(app: Any) -> None:
    """Give an example's app what it leaves out: a page that signs in."""
    kind = type(app).__name__
    if kind == "FastAPI":
        from starlette.requests import Request
        from starlette.responses import Response

        async def enter(request: Request) -> Response:
            request.session["user_id"] = "u1"
            return Response()

        app.add_route("/sign-in", enter)
    elif kind == "Flask":
        from flask import session

        def go_in() -> str:
            session["user_id"] = "u1"
            return ""

        app.add_url_rule("/sign-in", view_func=go_in)
    else:
        from django.core.management import call_command

        call_command("migrate", verbosity=0)


def _signed_in(app: Any) -> str:
    """What a browser sends after it signed in."""
    _with_a_way_in(app)
    answer = ask(app, "GET", "/sign-in", {})
    assert answer.status == 200, answer
    return next(pair for pair in _cookie(answer) if pair.startswith("session"))


def _any_app(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b""]


def main(document: Path) -> None:
    """Run a document's blocks, each by itself, and print what came of their apps."""
    with tempfile.TemporaryDirectory() as folder:
        _pretend_to_be_mysite(folder)
        print(json.dumps([_result(document, block) for block in blocks(document, "python")]))


def _result(document: Path, block: Block) -> dict[str, Any]:
    # What the opening line takes for granted: somebody's app, and the import.
    namespace: dict[str, Any] = {
        "app": _any_app,
        "CookieSession": CookieSession,
        "OTTMiddleware": OTTMiddleware,
    }
    run_block(block, namespace)
    app = namespace.get("application", namespace["app"])
    named = re.findall(r'session=CookieSession\("(\w+)", probe=', block.text)
    cookie = f"{named[0]}={COOKIE}" if named else _signed_in(app)
    return {
        "heading": block.heading,
        "line": block.line,
        "cookie": cookie,
        "named": bool(named),
        **handoff(app, cookie),
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
