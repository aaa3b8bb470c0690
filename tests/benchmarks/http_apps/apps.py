"""The apps of `over_http.py`: a site of this package, and the floor that no site can go below.

Both sign a user up at the path, and with the body, of Better Auth: its users' name and email.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import time
from typing import Any
from urllib.parse import quote, unquote

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ott_middleware import MemoryBackend, OTTMiddleware, SealedSession

SECRET = os.environ["OTT_BENCH_SECRET"]
JSON = (b"content-type", b"application/json")


async def read(receive: Any) -> bytes:
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


async def respond(send: Any, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": 200, "headers": [JSON, length, *headers]})
    await send({"type": "http.response.body", "body": body})


async def live(receive: Any, send: Any) -> None:
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await live(receive, send)
        return
    sent = json.loads(await read(receive))
    user = {"id": secrets.token_urlsafe(16), "name": sent["name"], "email": sent["email"]}
    scope["ott"].sign_in(user, remember=True)
    await respond(send, b"{}")


ours = OTTMiddleware(
    _app,
    base_path="/api/auth",
    session=SealedSession(SECRET),
    backend=MemoryBackend(),
    secret=SECRET,
    # As Better Auth has its `baseURL`.
    public_origin=os.environ["OTT_BENCH_ORIGIN"],
    store_token="hashed",
)


class Floor:
    """The work of a pair alone: crypto, JSON, a dict, and the responses. No policy, no checks."""

    def __init__(self) -> None:
        self.cookies = AESGCM(hashlib.sha256(SECRET.encode()).digest())
        self.stored: dict[bytes, tuple[float, bytes]] = {}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await live(receive, send)
        elif scope["path"] == "/api/auth/one-time-token/generate":
            await self.generate(scope, send)
        elif scope["path"] == "/api/auth/one-time-token/verify":
            await self.verify(receive, send)
        else:
            sent = json.loads(await read(receive))
            user = {"id": secrets.token_urlsafe(16), "name": sent["name"], "email": sent["email"]}
            session = {"id": secrets.token_urlsafe(16), "userId": user["id"]}
            value = json.dumps({"session": session, "user": user}, separators=(",", ":"))
            await respond(send, b"{}", self.cookie_of(value.encode()))

    async def generate(self, scope: Any, send: Any) -> None:
        cookie = dict(scope["headers"])[b"cookie"].decode().partition("=")[2]
        plain = open_with(self.cookies, bytes.fromhex(unquote(cookie)))
        token = secrets.token_urlsafe(24)
        sealed = seal_with(AESGCM(self.key_of(token)), plain)
        self.stored[hashlib.sha256(token.encode()).digest()] = time.time() + 180, sealed
        await respond(send, json.dumps({"token": token}, separators=(",", ":")).encode())

    async def verify(self, receive: Any, send: Any) -> None:
        token = json.loads(await read(receive))["token"]
        expires, sealed = self.stored.pop(hashlib.sha256(token.encode()).digest())
        assert expires > time.time()
        value = json.loads(open_with(AESGCM(self.key_of(token)), sealed))
        plain = json.dumps(value, separators=(",", ":")).encode()
        await respond(send, plain, self.cookie_of(plain))

    def key_of(self, token: str) -> bytes:
        return hmac.digest(SECRET.encode(), token.encode(), "sha256")

    def cookie_of(self, plain: bytes) -> tuple[bytes, bytes]:
        value = quote(seal_with(self.cookies, plain).hex())
        return b"set-cookie", f"floor={value}; Path=/; HttpOnly; SameSite=Lax".encode()


def seal_with(cipher: AESGCM, plain: bytes) -> bytes:
    nonce = os.urandom(12)
    return nonce + cipher.encrypt(nonce, plain, None)


def open_with(cipher: AESGCM, sealed: bytes) -> bytes:
    return cipher.decrypt(sealed[:12], sealed[12:], None)


floor = Floor()
