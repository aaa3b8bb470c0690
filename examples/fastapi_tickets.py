"""A FastAPI app whose clients hold a JWT: a ticket that works once opens their WebSocket.

    python examples/fastapi_tickets.py     open http://localhost:8001

A browser cannot send an `Authorization` header with a WebSocket, and a JWT in the URL would be in
access logs and be good for all of its life. So the page asks for a ticket with its JWT, and offers
the ticket as a sub-protocol: it works once, within 30 seconds, for a socket of this site alone.
"""

from __future__ import annotations

import argparse
import os
import secrets
from datetime import datetime, timedelta, timezone
from typing import Any

import jwt
from fastapi import Body, FastAPI, HTTPException, WebSocket, WebSocketDisconnect
from fastapi.responses import HTMLResponse

from ott_middleware import BearerSession, OTTMiddleware, get_handle

SECRET_KEY = os.environ.get("OTT_SECRET") or secrets.token_hex(32)
BACKEND = os.environ.get("OTT_BACKEND", "memory://")
ORIGIN = os.environ.get("OTT_ORIGIN", "http://localhost:8001")
# The service that a JWT is for. An identity provider issues tokens for many services.
AUDIENCE = "https://chat.example"

site = FastAPI()

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Tickets</title>
<link rel="icon" href="data:,"><h1>Tickets</h1>
<form><label>Your name <input name="name" value="Ada" required maxlength="40"></label>
<button>Connect</button></form><pre></pre>
<script type="module">
  document.querySelector("form").onsubmit = async (event) => {
    event.preventDefault();
    const name = event.target.name.value;
    const headers = { "Content-Type": "application/json" };
    const login = await fetch("login", { method: "POST", headers, body: JSON.stringify({ name }) });
    const { access_token } = await login.json();
    const response = await fetch("one-time-token/generate?channel=websocket", {
      headers: { Authorization: `Bearer ${access_token}` },
    });
    const { token } = await response.json();
    const url = new URL("chat", location.href.replace("http", "ws"));
    const socket = new WebSocket(url, ["ott", `ott.${token}`]);
    socket.onopen = () => socket.send("hello");
    socket.onmessage = (event) => (document.querySelector("pre").textContent += event.data + "\\n");
  };
</script></html>"""


@site.get("/")
def home() -> HTMLResponse:
    """Show a page that signs in, and connects."""
    return HTMLResponse(PAGE)


@site.post("/login")
def log_in(name: str = Body(embed=True, min_length=1, max_length=40)) -> dict[str, str]:
    """Issue a JWT, as an identity provider would. A real app would ask for more than a name."""
    if not name.isprintable():
        raise HTTPException(422)
    ends = datetime.now(timezone.utc) + timedelta(minutes=15)
    claims = {"sub": name, "aud": AUDIENCE, "exp": ends, "jti": secrets.token_urlsafe(16)}
    return {"access_token": jwt.encode(claims, SECRET_KEY, "HS256")}


async def validate(token: str) -> dict[str, Any] | None:
    """Return the user of a JWT, or None. It waits for nothing, so it need not run in a thread."""
    try:
        claims = jwt.decode(
            token,
            SECRET_KEY,
            algorithms=["HS256"],  # never those that the token itself names
            audience=AUDIENCE,  # a JWT for another service is none here
            options={"require": ["exp", "sub", "aud", "jti"]},
        )
    except jwt.InvalidTokenError:
        return None
    return {
        "id": claims["jti"],
        "user_id": claims["sub"],
        "user": {"id": claims["sub"]},
        "expires_at": datetime.fromtimestamp(claims["exp"], timezone.utc),
    }


@site.websocket("/chat")
async def chat(websocket: WebSocket) -> None:
    """Echo what a signed-in user says."""
    session = await get_handle(websocket).asession()
    if session is None:
        await websocket.close(4401)
        return
    await websocket.accept()
    try:
        while True:
            await websocket.send_text(f"{session.user_id}: {await websocket.receive_text()}")
    except WebSocketDisconnect:
        pass


app = OTTMiddleware(
    site,
    session=BearerSession(validate=validate),
    secret=SECRET_KEY,
    backend=BACKEND,
    store_token="hashed",
    public_origin=ORIGIN,
)

if __name__ == "__main__":
    import uvicorn

    parser = argparse.ArgumentParser(description="A FastAPI app that opens sockets by tickets.")
    parser.add_argument("--port", type=int, default=8001)
    uvicorn.run(app, host="127.0.0.1", port=parser.parse_args().port)
