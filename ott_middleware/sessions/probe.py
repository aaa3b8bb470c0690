"""Asks the wrapped app whether a user is signed in, for `CookieSession(probe="/path")`."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Awaitable, Mapping
from typing import Any

from ..errors import ConfigurationError, SessionUnavailable
from ..http.messages import Request, Response
from .base import CallApp

# The characters that a request target holds unencoded, so that path and target are one text.
_PATH = re.compile(r"/[A-Za-z0-9/:@!$&'()*+,;=._~-]*")


class AppProbe:
    """Asks the wrapped app for its signed-in user, by a GET with the cookies of a session.

    :param path: of the app; it responds with 2xx to signed-in users and to no others.
    :raises ConfigurationError: no path, or one with a query.
    """

    def __init__(self, path: str) -> None:
        if not (isinstance(path, str) and _PATH.fullmatch(path)):
            raise ConfigurationError(f"probe: {path!r}; pass a path like '/me', without a query")
        self._path = path
        self._call_app: CallApp | None = None

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
        accept = {"accept": "application/json"}
        request = Request("GET", "http", self._path, target=self._path, headers=accept)
        response = self._call_app(request.with_cookies(values))
        return _await_user(response) if inspect.isawaitable(response) else _read_user(response)


async def _await_user(response: Awaitable[Response]) -> Mapping[str, Any] | None:
    return _read_user(await response)


def _read_user(response: Response) -> Mapping[str, Any] | None:
    if response.status >= 500:
        raise SessionUnavailable(f"probe: the app responded with {response.status}")
    if not 200 <= response.status < 300:
        return None
    try:
        user = json.loads(response.body)
    except (ValueError, RecursionError):
        return {}
    return {"user": user, "user_id": user.get("id")} if isinstance(user, dict) else {}
