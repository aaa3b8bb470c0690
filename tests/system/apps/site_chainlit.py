"""Chainlit: its password log-in, a JSON web token in a cookie."""

import os

from app_site import DATA, KEY, NAME, PASSWORD, options

os.environ.update(CHAINLIT_AUTH_SECRET=KEY, CHAINLIT_APP_ROOT=str(DATA))

import chainlit
from chainlit.server import app

from ott_middleware import CookieSession, OTTMiddleware


@chainlit.password_auth_callback
async def sign_in(username: str, password: str) -> chainlit.User | None:
    return chainlit.User(NAME) if (username, password) == (NAME, PASSWORD) else None


@chainlit.on_message
async def reply(message: chainlit.Message) -> None:
    await chainlit.Message("Aye").send()


application = OTTMiddleware(
    app,
    session=CookieSession("access_token", "access_token_*", probe="/user", renews_key=True),
    **options(),
)
