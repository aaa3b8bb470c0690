"""The limits of a probe: an in-process request that asks the wrapped app for the signed-in user."""

from __future__ import annotations

from ..http.messages import Response

#: Seconds to wait for the app's response.
PROBE_SECONDS = 5
#: The bytes of the response's body that are read.
PROBE_BYTES = 64 * 1024
#: The response to a probe that the app sends while it responds to a probe: without it, an app that
#: asks for its session in the probed view would call itself without end.
SIGNED_OUT = Response(401)
