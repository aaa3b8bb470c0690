"""Gradio, mounted in a FastAPI app that signs users in: `auth_dependency` asks its session."""

from typing import Annotated

import gradio
from app_site import KEY, NAME, PASSWORD, options
from fastapi import FastAPI, Form, HTTPException
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request

from ott_middleware import OTTMiddleware

app = FastAPI()
app.add_middleware(SessionMiddleware, secret_key=KEY)


@app.get("/login", response_class=HTMLResponse)
def form() -> str:
    return "<form method=post><input name=name><input name=password type=password></form>"


@app.post("/login")
def login(
    request: Request, name: Annotated[str, Form()], password: Annotated[str, Form()]
) -> RedirectResponse:
    if (name, password) != (NAME, PASSWORD):
        raise HTTPException(401)
    request.session["user"] = name
    return RedirectResponse("/gradio/", 303)


@app.get("/logout")
def logout(request: Request) -> RedirectResponse:
    request.session.clear()
    return RedirectResponse("/login", 303)


def user_of(request: Request) -> str | None:
    return request.session.get("user")


with gradio.Blocks(title="Ships") as demo:
    gradio.Textbox(label="Ship")
gradio.mount_gradio_app(app, demo, path="/gradio", auth_dependency=user_of)

application = OTTMiddleware(app, **options())
