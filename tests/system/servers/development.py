"""The served app under the servers that frameworks bring for development: `app` for `flask run`,
and this module as the settings of Django's `runserver`."""

from __future__ import annotations

import flask
from logging_served import wsgi

app = flask.Flask(__name__)
app.wsgi_app = wsgi  # type: ignore[method-assign]  # as Flask's documentation has it

DEBUG = True
SECRET_KEY = "not a secret: nothing is signed with it"
WSGI_APPLICATION = "logging_served.wsgi"
