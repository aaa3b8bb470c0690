"""NiceGUI: who is signed in stands in its storage on the server, by the id in its cookie."""

import os
from typing import Annotated, Any

from app_site import DATA, KEY, NAME, PASSWORD, options

os.environ["NICEGUI_STORAGE_PATH"] = str(DATA)

from fastapi import FastAPI, Form, HTTPException
from fastapi.responses import HTMLResponse, RedirectResponse
from nicegui import app, ui

from ott_middleware import CookieSession, OTTMiddleware


@app.get("/login", response_class=HTMLResponse)
def form() -> str:
    return "<form method=post><input name=name><input name=password type=password></form>"


@app.post("/login")
def login(name: Annotated[str, Form()], password: Annotated[str, Form()]) -> Any:
    if (name, password) != (NAME, PASSWORD):
        raise HTTPException(401)
    app.storage.user.update({"username": name, "authenticated": True})
    return RedirectResponse("/", 303)


@app.get("/me")
def me() -> dict[str, str]:
    if not app.storage.user.get("authenticated"):
        raise HTTPException(401)
    return {"id": app.storage.user["username"]}


@app.get("/logout")
def logout() -> RedirectResponse:
    app.storage.user.clear()
    return RedirectResponse("/login", 303)


@ui.page("/")
def page() -> None:
    if not app.storage.user.get("authenticated"):
        ui.navigate.to("/login")
    else:
        ui.label(f"Hello {app.storage.user['username']}!")


site = FastAPI()
ui.run_with(site, storage_secret=KEY)

application = OTTMiddleware(site, session=CookieSession("session", probe="/me"), **options())
