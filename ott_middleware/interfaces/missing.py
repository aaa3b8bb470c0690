"""Explains an attribute of the app that was looked for on the middleware around it."""

from __future__ import annotations

import inspect
from typing import Any

from ..sessions.layers import layers_of

# How the middleware is put into an app that keeps its own name, by what the app has.
_INSIDE = (
    ("wsgi_app", "app.wsgi_app = OTTMiddleware(app.wsgi_app)"),
    ("asgi_app", "app.asgi_app = OTTMiddleware(app.asgi_app)"),
    ("add_middleware", "app.add_middleware(OTTMiddleware)"),
)


def explain_missing(middleware: Any, name: str) -> AttributeError:
    """Return the error for an attribute that a middleware does not have."""
    text = f"{type(middleware).__name__} has no attribute {name!r}"
    # Without `app` the middleware is being made, or copied: nothing to look at. Names with two
    # underscores are asked for by Python and by libraries, not by the app's developer.
    app = None if name.startswith("__") else vars(middleware).get("app")
    for layer in layers_of(app, mounted=False):
        if _has(layer, name):
            inside = next((f"{line}; or" for has, line in _INSIDE if _has(layer, has)), "or")
            return AttributeError(
                f"{text}: it is one of the app's. Keep the app's own name for it, and wrap it "
                f"inside: {inside} give the wrapped app a name of its own, application = "
                "OTTMiddleware(app), and pass that to the server"
            )
    return AttributeError(text)


def _has(layer: Any, name: str) -> bool:
    return inspect.getattr_static(layer, name, None) is not None
