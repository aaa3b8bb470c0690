"""Calibre-Web: a Flask app with a Flask-Login of its own."""

import contextlib
import os
import sys

from app_site import DATA, options

os.environ["CALIBRE_DBPATH"] = str(DATA)
sys.argv = ["calibre-web"]

import calibreweb.__main__  # noqa: F401  (puts its modules on the path)
from cps import app, main, web_server

from ott_middleware import OTTMiddleware

# Its own program, up to where its own server would start.
web_server.start = lambda: True
with contextlib.suppress(SystemExit):
    main.main()

application = OTTMiddleware(app, **options())
