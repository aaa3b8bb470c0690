"""Probes a WSGI app: an in-process request that asks for the signed-in user."""

from __future__ import annotations

import contextvars
import io
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..context import PROBE, current_request
from ..errors import SessionUnavailable
from ..flow.handle import attach, new_handle
from ..flow.services import Services
from ..forks import renew_in_children
from ..http.messages import Headers, Request, Response
from .probe import NO_REQUEST, PROBE_BYTES, PROBE_SECONDS, SIGNED_OUT, read_headers

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

#: Probes without a response at one time; one more is refused.
MOST_PROBES = 64
# What the server said of the current request holds for its probe too.
_COPIED = (
    "SCRIPT_NAME",
    "SERVER_NAME",
    "SERVER_PORT",
    "SERVER_PROTOCOL",
    "REMOTE_ADDR",
    "wsgi.version",
    "wsgi.errors",
    "wsgi.multithread",
    "wsgi.multiprocess",
    "wsgi.run_once",
)


class WSGIProbe:
    """Asks one WSGI app.

    :param app: the app.
    """

    #: Makes the handle that the probed view finds; set as soon as the services exist.
    services: Services

    def __init__(self, app: WSGIApplication) -> None:
        self.app = app
        self.renew_after_fork()
        renew_in_children(self)

    def renew_after_fork(self) -> None:
        """Count the probes anew. Called in a forked child."""
        # The parent's probes run in threads that a child does not have: without this line their
        # places would stay taken for ever, and the semaphore's own lock could stay locked.
        self._places = threading.BoundedSemaphore(MOST_PROBES)

    def call_app(self, request: Request) -> Response:
        """Return the app's response to `request`, asked on behalf of the current request.

        :raises SessionUnavailable: no response within `PROBE_SECONDS`, or the app failed.
        """
        current = current_request() or NO_REQUEST
        if PROBE in current.carrier:
            return SIGNED_OUT
        environ = _environ_of(request, current)
        # The probed view may look at its handle, which finds no session.
        attach(new_handle(self.services), environ)
        # A call that hangs cannot be ended, only left behind: in a thread of its own, and in a
        # bounded number of threads. Without the bound, a hanging app would use up all threads.
        if not self._places.acquire(blocking=False):
            raise SessionUnavailable(f"probe: {MOST_PROBES} are without a response")
        call = _Call(self.app, environ, self._places.release)
        # A context of its own: values that the app keeps in its context (a user that it looked up)
        # belong to the current request, and the probe asks about other cookies.
        thread = threading.Thread(target=contextvars.Context().run, args=(call.run,), daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # the system gives no more threads
            self._places.release()
            raise SessionUnavailable("probe: no thread to ask the app in") from error
        thread.join(PROBE_SECONDS)
        if thread.is_alive():
            raise SessionUnavailable(f"probe: no response within {PROBE_SECONDS} s")
        if call.failure is not None:
            raise SessionUnavailable(f"probe: the app failed: {call.failure}")
        if call.status is None:
            raise SessionUnavailable("probe: the app did not call start_response")
        return Response(int(call.status[:3]), call.headers, bytes(call.body))


def _environ_of(request: Request, current: Request) -> WSGIEnvironment:
    carrier = current.carrier
    return {
        "SCRIPT_NAME": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        **{name: carrier[name] for name in _COPIED if name in carrier},
        "wsgi.url_scheme": current.scheme,
        "REQUEST_METHOD": request.method,
        "PATH_INFO": request.path,
        "QUERY_STRING": "",
        "CONTENT_LENGTH": "0",
        "HTTP_HOST": current.header("host") or "localhost",
        "wsgi.input": io.BytesIO(),
        **{f"HTTP_{k.upper().replace('-', '_')}": v for k, v in request.headers.items()},
        PROBE: True,
    }


class _Call:
    """One call of the app, and its response."""

    def __init__(
        self, app: WSGIApplication, environ: WSGIEnvironment, release: Callable[[], None]
    ) -> None:
        self._app, self._environ, self._release = app, environ, release
        self.status: str | None = None
        self.headers: Headers = ()
        self.body = bytearray()
        self.failure: str | None = None

    def run(self) -> None:
        try:
            chunks: Any = self._app(self._environ, self._start_response)
            try:
                for chunk in chunks:
                    self._write(chunk)
                    if len(self.body) >= PROBE_BYTES:
                        break
            finally:
                if hasattr(chunks, "close"):
                    chunks.close()
        except BaseException as error:
            # Whatever ended the app (an exit, a cancellation), the call has no response. No caller
            # in this thread could handle the exception.
            self.failure = type(error).__name__
        finally:
            self._release()

    def _start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], Any]:
        self.status, self.headers = status, read_headers(headers)
        return self._write

    def _write(self, chunk: bytes) -> None:
        self.body += chunk[: PROBE_BYTES - len(self.body)]
