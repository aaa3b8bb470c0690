"""The limits of in-process requests to the wrapped app."""

from __future__ import annotations

from ..http.messages import Response

PROBE_SECONDS = 5
PROBE_BYTES = 64 * 1024
# What an app hears that answers the question by asking it in turn.
NOBODY = Response(401)
