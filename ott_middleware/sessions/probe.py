"""Asks the wrapped app whether a user is signed in, for `CookieSession(probe="/path")`."""

from __future__ import annotations

import html
import inspect
import json
import logging
import re
import zlib
from collections.abc import Awaitable, Mapping
from typing import Any

from ..errors import ConfigurationError, SessionUnavailable
from ..http.messages import Request, Response
from .base import CallApp

logger = logging.getLogger("ott_middleware")

# The characters that a request target holds unencoded, so that path and target are one text.
_PATH = re.compile(r"/[A-Za-z0-9/:@!$&'()*+,;=._~-]*")
_CHARSET = re.compile(r"charset=[\"']?([A-Za-z0-9_.:-]{1,40})", re.IGNORECASE)
# Statuses of a path that is not there, or is spelled otherwise.
_NO_PAGE = {301, 308, 404, 405, 410}
#: The bytes of a body that are read; the interfaces read no more either.
MAX_BODY = 64 * 1024


class AppProbe:
    """Asks the wrapped app for its signed-in user, by a GET with the cookies of a session.

    :param probe: a path of the app, which responds with 2xx to signed-in users and to no others; or
        a pair of a path and a text that the page at this path shows to signed-in users alone.
    :raises ConfigurationError: no path, one with a query, or no text.
    """

    def __init__(self, probe: str | tuple[str, str]) -> None:
        path, text = probe if isinstance(probe, (tuple, list)) and len(probe) == 2 else (probe, "*")
        if not (isinstance(path, str) and _PATH.fullmatch(path)):
            raise ConfigurationError(
                f"probe: {probe!r}; pass a path like '/me', without a query, or a path and a text "
                "that only signed-in users see there: ('/prefs', 'Sign out')"
            )
        if not (isinstance(text, str) and text.strip()):
            raise ConfigurationError(
                f"probe: {probe!r}; pass a text that is not empty, which the page shows to "
                "signed-in users alone"
            )
        self._path = path
        self._text = None if path is probe else text
        self._call_app: CallApp | None = None
        self._warned_of_length = False
        self._warned_of_path = False

    def bind(self, call_app: CallApp) -> None:
        """Set the app that is asked.

        :raises ConfigurationError: there is one already.
        """
        if self._call_app is not None:
            # The first app would ask the second for the signed-in user.
            raise ConfigurationError("session: this adapter probes an app already; make another")
        self._call_app = call_app

    def __call__(self, values: Mapping[str, str]) -> Any:
        """Ask the app; return the `user` and its `user_id`, None unless a user is signed in.

        :param values: the cookies by name.
        :return: an awaitable of it under ASGI.
        :raises SessionUnavailable: no app is bound, or the app fails.
        """
        if self._call_app is None:
            raise SessionUnavailable("probe: needs a wrapped app; pass validate= without one")
        # Some apps respond to `application/json` without a page, which alone has the text.
        accept = {"accept": "application/json" if self._text is None else "text/html, */*;q=0.5"}
        request = Request("GET", "http", self._path, target=self._path, headers=accept)
        response = self._call_app(request.with_cookies(values))
        return self._await_user(response) if inspect.isawaitable(response) else self._read(response)

    async def _await_user(self, response: Awaitable[Response]) -> Mapping[str, Any] | None:
        return self._read(await response)

    def _read(self, response: Response) -> Mapping[str, Any] | None:
        if response.status >= 500:
            raise SessionUnavailable(f"probe: the app responded with {response.status}")
        if not 200 <= response.status < 300:
            self._log_refusal(response.status)
            return None
        headers = {name.lower(): value for name, value in response.headers}
        body = _decompress(response.body, headers.get("content-encoding", ""))
        if self._text is not None and not self._has_text(body, headers.get("content-type", "")):
            return None
        try:
            user = json.loads(body)
        except (ValueError, RecursionError):
            return {}
        return {"user": user, "user_id": user.get("id")} if isinstance(user, dict) else {}

    def _log_refusal(self, status: int) -> None:
        # Pages that need a session respond so to strangers; a misspelt path does so to all users.
        level = (
            logging.WARNING if status in _NO_PAGE and not self._warned_of_path else logging.DEBUG
        )
        self._warned_of_path = self._warned_of_path or level == logging.WARNING
        logger.log(
            level,
            "probe: %s responded with %d, so that the session counts as ended; if users who are "
            "signed in get this response too, pass a path that responds with 200 to them",
            self._path,
            status,
        )

    def _has_text(self, body: bytes, content_type: str) -> bool:
        page, text = _decode(body, content_type), str(self._text)
        # A page writes `&` as `&amp;`, and may write any other character by its number.
        if text in page or text in html.unescape(page):
            return True
        if len(body) >= MAX_BODY and not self._warned_of_length:
            self._warned_of_length = True
            logger.warning(
                "probe: %s is longer than 64 KiB, and its beginning does not have the text that "
                "only signed-in users see, so that no user counts as signed in; use a shorter page "
                "or an earlier text",
                self._path,
            )
        return False


def _decompress(body: bytes, encoding: str) -> bytes:
    """Return a body as the app wrote it, before a layer of the app compressed it unasked."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise SessionUnavailable(
            "probe: the response is compressed in a way that was not asked for"
        )
    try:
        # Attack: a body of a few bytes that becomes gigabytes. No more than `MAX_BODY` is unpacked.
        # (47: either header, that of gzip or that of zlib. A body that was cut off is read so far.)
        return zlib.decompressobj(47).decompress(body, MAX_BODY)
    except zlib.error as error:
        raise SessionUnavailable("probe: the response cannot be decompressed") from error


def _decode(body: bytes, content_type: str) -> str:
    charset = _CHARSET.search(content_type)
    try:
        return body.decode(charset[1] if charset else "utf-8", "replace")
    except (LookupError, ValueError):  # no charset, or one that cannot replace
        return body.decode("utf-8", "replace")
