"""Lets a WSGI app behind a bridge find the ASGI scope of its request, and so its handle.

a2wsgi keeps the scope in the environ. The bridges of asgiref, Starlette and uvicorn do not: what
they call is wrapped once more.
"""

from __future__ import annotations

from typing import Any

from ..sessions.layers import class_names, layers_of

# Where a bridge keeps the WSGI app that it calls. Each passes a method of the request's own object,
# which has an attribute `scope`, as `start_response`.
_BRIDGES = {
    "asgiref.wsgi.WsgiToAsgi": "wsgi_application",
    "starlette.middleware.wsgi.WSGIMiddleware": "app",
    "uvicorn.middleware.wsgi._WSGIMiddleware": "app",
}


class _KeepScope:
    """Puts the scope into the environ, under the key that a2wsgi uses."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def __call__(self, environ: Any, start_response: Any) -> Any:
        scope = getattr(getattr(start_response, "__self__", None), "scope", None)
        if scope is not None:
            environ["asgi.scope"] = scope
        return self.app(environ, start_response)


def keep_scopes(app: Any) -> None:
    """Change the bridges in an ASGI app so that their environs have the scope."""
    for layer in list(layers_of(app)):
        for name in class_names(layer) & _BRIDGES.keys():
            inner = getattr(layer, _BRIDGES[name])
            if not isinstance(inner, _KeepScope):
                setattr(layer, _BRIDGES[name], _KeepScope(inner))
