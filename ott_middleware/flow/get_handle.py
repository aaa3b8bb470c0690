"""`get_handle`: finds the handle in the request objects of frameworks, importing none of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..context import handle_in
from .handle import Handle

# The attributes of requests that hold the scope or environ. `scope`: Starlette, FastAPI, Quart,
# Litestar, Django and Falcon under ASGI, and consumers of Channels. `environ`: Werkzeug, Flask,
# Pyramid, Bottle and Django under WSGI. `env`: Falcon under WSGI.
_ATTRIBUTES = ("scope", "environ", "env")
# The keys where a bridge (a2wsgi) keeps the carrier that it translated.
_BRIDGES = ("asgi.scope", "wsgi_environ")


def get_handle(request: object) -> Handle:
    """Return the handle of a request.

    :param request: an ASGI scope, a WSGI environ, or the request object of Django, Flask, Werkzeug,
        Starlette, FastAPI, Quart, Litestar, Pyramid, Falcon or Bottle; also a WebSocket of these,
        or a consumer of Django Channels.
    :raises LookupError: the request did not come through the middleware; the text lists why.
    :raises TypeError: the argument is no request.
    """
    carriers = list(_carriers_of(request))
    for carrier in carriers:
        handle = handle_in(carrier)
        if isinstance(handle, Handle):
            return handle
    if not carriers:
        # Only the type: the value may be a token or a cookie.
        raise TypeError(
            f"get_handle() takes a request, a scope or an environ, not {type(request).__qualname__}"
        )
    raise LookupError(
        "this request has no handle. Either the app is not wrapped, or the request came in beside "
        "the middleware: serve the object that OTTMiddleware(app, ...) returned. Or a test client "
        "called the app without it (django.test.Client, RequestFactory: use OTTClient, or "
        "add_handle(request), of ott_middleware.testing.django; else call the wrapped app). Or a "
        "bridge between ASGI and WSGI made a new environ: put the middleware inside of the bridge, "
        "next to the app."
    )


def _carriers_of(request: Any) -> Iterator[Mapping[str, Any]]:
    """The scopes and environs of a request, the outermost first."""
    # Requests of some frameworks are mappings too, and keep their scope in an attribute.
    found = [getattr(request, name, None) for name in _ATTRIBUTES]
    for carrier in (request, *found):
        # Either key must be there: an ASGI scope's, or a WSGI environ's.
        if isinstance(carrier, Mapping) and ("type" in carrier or "REQUEST_METHOD" in carrier):
            yield carrier
            yield from (carrier[name] for name in _BRIDGES if isinstance(carrier.get(name), dict))
