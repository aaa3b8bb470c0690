"""A FastAPI app with sessions of its own, wrapped in one line: links sign its people in elsewhere.

    python examples/pair.py fastapi_app     open http://localhost:8001

That command starts this file twice, as two sites that link to each other. By itself, `python
examples/fastapi_app.py --port PORT` reads OTT_ORIGIN (its own address) and OTT_TARGET (the other
site's); both need the same OTT_BACKEND (a URL, as sqlite:///links.db), OTT_SECRET (64 hexadecimal
digits).
"""

from __future__ import annotations

import argparse
import os
import secrets
from html import escape
from urllib.parse import parse_qs

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.middleware.sessions import SessionMiddleware

from ott_middleware import OTTMiddleware, get_handle

SECRET_KEY = os.environ.get("OTT_SECRET") or secrets.token_hex(32)
BACKEND = os.environ.get("OTT_BACKEND", "memory://")
ORIGIN = os.environ.get("OTT_ORIGIN", "http://localhost:8001")
TARGET = os.environ.get("OTT_TARGET", "http://127.0.0.1:8002")

site = FastAPI()
site.add_middleware(SessionMiddleware, secret_key=SECRET_KEY)

PAGE = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>FastAPI</title>'
    '<link rel="icon" href="data:,"><h1>FastAPI</h1>{body}</html>'
)
SIGN_IN = (
    '<form method="post" action="/sign-in"><label>Your name <input name="name" value="Ada" '
    'required maxlength="40"></label> <button>Sign in</button></form>'
)
SIGNED_IN = (
    '<p>Hello, <b>{name}</b>.</p><p><a href="/elsewhere">Go to {target}</a></p>'
    '<form method="post" action="/sign-out"><button>Sign out</button></form>'
)


@site.get("/")
def home(request: Request) -> HTMLResponse:
    """Greet whoever this app's own session names."""
    name = request.session.get("user_id")
    body = SIGNED_IN.format(name=escape(name), target=escape(TARGET)) if name else SIGN_IN
    return HTMLResponse(PAGE.format(body=body))


@site.post("/sign-in")
async def sign_in(request: Request) -> RedirectResponse:
    """Sign somebody in. A real app would ask for more than a name."""
    form = parse_qs((await request.body()).decode("utf-8", "replace"))
    name = form.get("name", [""])[0].strip()
    if name.isprintable() and 0 < len(name) <= 40:
        request.session.clear()
        request.session["user_id"] = name
    return RedirectResponse("/", 303)


@site.post("/sign-out")
def sign_out(request: Request) -> RedirectResponse:
    """Sign out."""
    request.session.clear()
    return RedirectResponse("/", 303)


@site.get("/elsewhere")
async def elsewhere(request: Request) -> RedirectResponse:
    """Send the browser to the other app, signed in there."""
    ott = get_handle(request)
    if await ott.asession() is None:
        return RedirectResponse("/", 303)
    # Made at the click, and not before: a link is a password for as long as it lives.
    return RedirectResponse(await ott.alink(f"{TARGET}/"), 303)


app = OTTMiddleware(
    site,
    session="auto",
    secret=SECRET_KEY,
    backend=BACKEND,
    store_token="hashed",
    public_origin=ORIGIN,
    handoff_targets=[TARGET],
)

if __name__ == "__main__":
    import uvicorn

    parser = argparse.ArgumentParser(description="A FastAPI app whose links sign people in.")
    parser.add_argument("--port", type=int, default=8001)
    uvicorn.run(app, host="127.0.0.1", port=parser.parse_args().port)
