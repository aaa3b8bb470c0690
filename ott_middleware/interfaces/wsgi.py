"""The WSGI interface: builds a `Request` from an environ, starts a `Response`; no policy.

(PEP 3333.)
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NoReturn

from ..context import using_request
from ..errors import BadRequest, LengthRequired, PayloadTooLarge
from ..flow import Flow
from ..flow.cookie_watch import CookieWatch
from ..flow.forward import Edit
from ..flow.handle import Handle, attach, detach, new_handle
from ..flow.health import Checked
from ..flow.services import Services
from ..flow.watch import Watch
from ..http.cutting import cut_request
from ..http.messages import Request, Response
from ..http.urls import NO_PARAM, PATH_MARK, SEEN, browser_path, path_of, spellings_of
from ..options import Options, OptionValues
from ..sessions.base import Session
from .fast_path import call_directly, call_instead
from .missing import explain_missing
from .wsgi_probe import WSGIProbe

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from typing_extensions import Unpack


class WSGIMiddleware(Checked):
    """One-time tokens around a WSGI app.

    :param app: the app; it should be wrapped by nothing that needs to see tokens or sessions first.
    :param options: see `OptionValues`.
    :raises ConfigurationError: a bad option.
    """

    #: What responds; set by `call_directly`.
    _respond: WSGIApplication

    def __init__(self, app: WSGIApplication, **options: Unpack[OptionValues]) -> None:
        built = Options.build(options, app)
        self.app = app
        self._probe = WSGIProbe(app)
        built.adapter.bind(self._probe.call_app)
        services = Services.build(built, parse_request=_parse_request, asynchronous=False)
        self.flow = Flow(services)
        self._watch = self.flow.watch(str)
        self._services = self._probe.services = services
        self._warn_of_second_layer(app)
        self._param = built.query_param
        respond = self._build_fast_path()
        if CookieWatch.is_needed(services):
            respond = self._watch_cookies(respond)
        call_directly(self, WSGIMiddleware, respond)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Respond to one request, or pass it to the app."""
        return self._respond(environ, start_response)

    # A type checker that saw it would accept every misspelt name.
    if not TYPE_CHECKING:  # pragma: no branch

        def __getattr__(self, name: str) -> NoReturn:
            raise explain_missing(self, name)

    def _build_fast_path(self) -> WSGIApplication:
        services, decide = self._services, self._decide
        # Every request of the app pays for each line of the inner function: its names are looked up
        # once, here.
        make, mark, call_app = Handle, PATH_MARK, self._call_watched(self.app)
        name = self._param or NO_PARAM
        begins, names_it = f"&{name}", re.compile(spellings_of(name, SEEN)).search

        def respond(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            try:
                query, path = environ["QUERY_STRING"], environ["PATH_INFO"]
            except KeyError:  # PEP 3333 lets a server leave out what is empty
                return decide(environ, start_response)
            # The quick look comes first: a parameter that begins with the name, or an escape. (For
            # more than one character `in` takes longer than rpartition().)
            if mark in path or (
                query
                and (
                    (
                        ("%" in (query := "&" + query) or query.rpartition(begins)[1])
                        and names_it(query)
                    )
                    # A parser that splits at ";" would find a token without an "&" before it.
                    or (";" in query and names_it(query.replace(";", "&")))
                )
            ):
                del query  # error reporters record the local variables of a failing app's callers
                return decide(environ, start_response)
            # new_handle() and attach(), without the price of the calls.
            handle = make()
            handle.services = services
            handle.carrier = environ.copy()
            environ["ott.handle"] = handle
            return call_app(environ, start_response)

        return respond

    def _call_watched(self, app: WSGIApplication) -> WSGIApplication:
        """Return a function that calls the app, and watches for what the flow must see."""
        watch, decide = self._watch, self._decide
        if watch is None:
            return app

        def call_app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            handle: Handle = environ["ott.handle"]
            cookie = environ.get("HTTP_COOKIE")
            if watch.needs_flow(handle, environ, environ["PATH_INFO"], (cookie,) if cookie else ()):
                detach(handle, environ)
                return decide(environ, start_response)
            if watch.reads_response:
                start_response = self._watch_response(watch, environ, handle, start_response)
            return app(environ, start_response)

        return call_app

    def _watch_cookies(self, respond: WSGIApplication) -> WSGIApplication:
        """Return a function that also looks at the first responses, until the watch is over."""
        watch = CookieWatch(self._services, lambda: call_instead(self, respond))

        def respond_and_look(
            environ: WSGIEnvironment, start_response: StartResponse
        ) -> Iterable[bytes]:
            # Old apps pass `exc_info` by its name, which servers take.
            def look(status: str, headers: Any, *more: Any, **named: Any) -> Any:
                watch.look(environ, headers)
                return start_response(status, headers, *more, **named)

            return respond(environ, start_response if watch.over else look)

        return respond_and_look

    def _decide(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        services = self._services
        query = environ.get("QUERY_STRING", "")
        request = services.read_request(environ, *cut_request(environ, query, self._param))
        del query
        handle = new_handle(services)
        with using_request(request):
            outcome = services.run(self.flow.decide(request, _reader(environ), handle))
        if isinstance(outcome, Response):
            return _start(outcome, request, start_response)
        del request  # it holds the token, which may still be unused
        for name, value in outcome.headers.items():
            key = f"HTTP_{name.upper().replace('-', '_')}"
            environ.pop(key, None)
            if value is not None:
                environ[key] = value
        if services.guard.sets_remote_user:
            _set_remote_user(environ, outcome.remote_user)
        attach(handle, environ)
        if outcome.edit is not None:
            if self._watch is None or outcome.always:
                start_response = self._edit_response(start_response, outcome.edit)
            else:
                start_response = self._watch_response(
                    self._watch, environ, handle, start_response, outcome.edit, outcome.before
                )
        return self.app(environ, start_response)

    def _watch_response(
        self,
        watch: Watch[str],
        environ: WSGIEnvironment,
        handle: Handle,
        start_response: StartResponse,
        edit: Edit | None = None,
        before: Session | None = None,
    ) -> StartResponse:
        start = start_response

        def start_watched(status: str, headers: Any, exc_info: Any = None) -> Any:
            nonlocal start
            # One edit for a response that begins anew: it knows the token that it offered.
            if watch.needs_edit(handle, headers, before) and start is start_response:
                start = self._edit_response(start_response, edit or watch.edit(handle, environ))
            more = () if exc_info is None else (exc_info,)
            return start(status, headers, *more)

        return start_watched

    def _edit_response(self, start_response: StartResponse, edit: Edit) -> StartResponse:
        def start_edited(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            changed = self._services.run(edit(int(status[:3]), tuple(headers)))
            more = () if exc_info is None else (exc_info,)
            return start_response(status, list(changed), *more)

        return start_edited


def _parse_request(environ: WSGIEnvironment, links: tuple[str, ...] = (), **read: Any) -> Request:
    headers = {
        key[5:].replace("_", "-").lower(): value
        for key, value in environ.items()
        if key.startswith("HTTP_")
    }
    for key in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if environ.get(key):
            headers[key.replace("_", "-").lower()] = environ[key]
    path = environ.get("PATH_INFO", "")
    if not path.startswith("/"):
        path = path_of(path)
    raw_path = path.encode("latin-1", "replace")
    client = environ.get("REMOTE_ADDR")
    return Request(
        method=environ["REQUEST_METHOD"].upper(),
        scheme=environ.get("wsgi.url_scheme", "http"),
        path=raw_path.decode("utf-8", "replace"),
        target=browser_path(
            environ.get("RAW_URI") or environ.get("REQUEST_URI"),
            environ.get("SCRIPT_NAME", "").encode("latin-1", "replace"),
            raw_path,
        ),
        query=environ.get("QUERY_STRING", ""),
        headers=headers,
        links=links,
        **read,
        carrier=environ,
        client=client if isinstance(client, str) else None,
    )


def _reader(environ: WSGIEnvironment) -> Callable[[int], Awaitable[bytes]]:
    async def read(limit: int) -> bytes:
        length = environ.get("CONTENT_LENGTH")
        if length:
            return _read(environ["wsgi.input"], int(length), exactly=True)
        if environ.get("wsgi.input_terminated"):
            body = _read(environ["wsgi.input"], limit + 1, exactly=False)
            if len(body) > limit:
                raise PayloadTooLarge
            return body
        # HTTP/1 without a length and without chunks is without a body (RFC 9112 section 6.3). Only
        # the server knows where any other body without a length ends.
        protocol = environ.get("SERVER_PROTOCOL", "")
        if environ.get("HTTP_TRANSFER_ENCODING") or not protocol.startswith(("HTTP/1", "HTTP/0")):
            raise LengthRequired
        return b""

    return read


def _read(stream: Any, length: int, *, exactly: bool) -> bytes:
    body = bytearray()
    while len(body) < length:
        try:
            chunk = stream.read(length - len(body))
        except OSError as error:
            raise BadRequest(why="the client disconnected before the body was complete") from error
        if not chunk:
            break
        body += chunk
    if exactly and len(body) < length:
        raise BadRequest(why="the body is shorter than its Content-Length")
    return bytes(body)


_USER_KEYS = frozenset(
    {
        *("REMOTE_USER", "AUTH_TYPE", "HTTP_REMOTE_USER", "HTTP_X_REMOTE_USER"),
        *("HTTP_X_FORWARDED_USER", "HTTP_X_AUTH_REQUEST_USER"),
    }
)


def _set_remote_user(environ: WSGIEnvironment, name: str | None) -> None:
    """Set `REMOTE_USER`, and remove what a client may have sent under its names."""
    for key in list(environ):
        # Servers differ in what they do to case, dashes and underscores; apps in what they read.
        if key.upper().replace("-", "_") in _USER_KEYS:
            del environ[key]
    if name is not None:
        environ["REMOTE_USER"] = name


_PHRASES = {each.value: each.phrase for each in HTTPStatus}


def _start(response: Response, request: Request, start_response: StartResponse) -> Iterable[bytes]:
    phrase = _PHRASES.get(response.status, "Unknown")
    start_response(f"{response.status} {phrase}", list(response.headers))
    return [b"" if request.method == "HEAD" else response.body]
