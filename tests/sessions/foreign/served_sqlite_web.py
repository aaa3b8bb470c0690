"""sqlite-web as its own command sets it up, with its password login; wrapped in one line."""

from __future__ import annotations

import os
import sys

from sqlite_web.sqlite_web import app, configure_app

from ott_middleware import CookieSession, OTTMiddleware

sys.argv = ["sqlite_web", "--password", os.environ["DATABASE"]]
configure_app()

# Who is signed in has no name there, only a mark in the session: it is asked by its front page,
# which it shows to nobody else.
application = OTTMiddleware(
    app,
    session=CookieSession("sqlite_web_session", probe="/"),
    backend=os.environ["OTT_BACKEND"],
)
