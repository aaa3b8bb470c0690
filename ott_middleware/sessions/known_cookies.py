"""The default names of other frameworks' session cookies, for the error of `session="auto"`.

Each name was looked up in the source of the release that stands behind its row.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, NamedTuple


class _Known(NamedTuple):
    """The cookie of one framework.

    :ivar module: of the framework's app, or of what it adds to the app.
    :ivar added: whether it is no app but works inside of one: that it is loaded is all to be seen.
    :ivar probe: a path that only signed-in users get.
    """

    name: str
    module: str
    cookie: str
    added: bool = False
    probe: str = "/path"


# Those that work inside of the others come first.
_KNOWN = (
    _Known("Beaker", "beaker", "beaker.session.id", added=True),  # 1.14
    _Known("Quart-Auth", "quart_auth", "QUART_AUTH", added=True),  # 0.12
    # 15.0
    _Known("FastAPI-Users", "fastapi_users", "fastapiusersauth", added=True, probe="/users/me"),
    _Known("Chainlit", "chainlit", "access_token", added=True, probe="/user"),  # 2.12
    _Known("AuthX", "authx", "access_token_cookie", added=True),  # 1.7
    _Known("Flask-JWT-Extended", "flask_jwt_extended", "access_token_cookie", added=True),  # 4.7
    _Known("Piccolo", "piccolo_api", "id", added=True),  # 1.11
    _Known("starsessions", "starsessions", "session", added=True),  # 2.2
    _Known("Pyramid", "pyramid", "session"),  # 2.1; 'auth_tkt' of AuthTktAuthenticationPolicy
    _Known("CherryPy", "cherrypy", "session_id"),  # 18.10
    _Known("Trac", "trac", "trac_auth"),  # 1.6
    _Known("web.py", "web.application", "webpy_session_id"),  # 0.76
    _Known("Litestar", "litestar", "session"),  # 2.25; 'token' of JWTCookieAuth
    _Known("Quart", "quart", "session"),  # 0.22
    _Known("Datasette", "datasette", "ds_actor"),  # 0.65
)
_MOST_LINES = 3


def suggest_cookies(layers: Iterable[Any]) -> str:
    """Return sentences on the cookies of an app, by the modules of its layers, and on all others.

    :param layers: the app, and what it wraps.
    """
    modules = {
        # A function's own module, an object's class's.
        str(getattr(kind, "__module__", None)) + "."
        for layer in layers
        for kind in (layer, *type(layer).__mro__)
    }
    lines = [
        f"{each.name}: session=CookieSession({each.cookie!r}, probe={each.probe!r})"
        for each in _KNOWN
        if any(module.startswith(f"{each.module}.") for module in modules)
        or (each.added and each.module in sys.modules)
    ]
    names = ", ".join(f"{each.name} {each.cookie!r}" for each in _KNOWN)
    likely = f" This may be {'; or '.join(lines[:_MOST_LINES])}." if lines else ""
    return f"{likely} Default cookie names: {names}."
