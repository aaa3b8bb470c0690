"""Compares the app's own session cookie with the adapter's, in the first responses of the app.

A copy with another Path, Domain or SameSite than the app's own survives the app's sign-out, or
loses to the app's cookie. One warning says which argument to pass. Nothing is changed by what is
seen, since a visitor can cause a response with such a cookie.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

from ..http.cookies import Cookie
from ..http.set_cookie import differing_arguments
from ..sessions.base import SessionAdapter
from .services import Services

logger = logging.getLogger("ott_middleware")

#: The responses that are looked at.
MOST_RESPONSES = 1000
# What a log line shows of a response: a path or a domain of words, no part of which is as long as a
# secret, or a longer one with a digit.
_SHOWN = re.compile(
    r"(?!.*[A-Za-z0-9]{21})(?!.*(?=[A-Za-z]*[0-9])[A-Za-z0-9]{9})[A-Za-z0-9/._~-]{1,100}"
)


class CookieWatch:
    """Looks at the first responses of one app.

    :param services: of the middleware.
    :param stop: called once, when there is nothing more to look for.
    """

    def __init__(self, services: Services, stop: Callable[[], None]) -> None:
        self._services = services
        self._adapter = services.options.adapter
        self._stop = stop
        self._left = MOST_RESPONSES
        # Taken once, by the response that ends it.
        self._end = threading.Lock()
        self.over = False

    @staticmethod
    def is_needed(services: Services) -> bool:
        """Return whether the app may set a cookie that the adapter sets as well."""
        adapter = services.options.adapter
        # An adapter that signs in by itself has cookies of its own.
        return not services.guard.signs_in and (
            type(adapter).attributes_of is not SessionAdapter.attributes_of
        )

    def look(self, carrier: Any, headers: Any) -> None:
        """Look at the headers of a response.

        :param carrier: the scope or environ of its request.
        :param headers: as the app gave them, bytes or text; of another form, they are left to the
            server.
        """
        self._left -= 1
        try:
            lines = [] if self.over else list(_set_cookie_lines(headers))
            found = self._compare(carrier, lines) if lines else []
        except Exception as error:
            # The app's response goes out, whatever it holds. The error's text may quote a cookie.
            kind = type(error).__name__
            logger.debug("a response of the app could not be looked at for cookies (%s)", kind)
            found = []
        if not (found or self._left <= 0) or not self._end.acquire(blocking=False):
            return
        self.over = True
        self._stop()
        if found:
            logger.warning(
                "%s: the app sets its cookie with other attributes than this adapter: pass %s%s; "
                "as it is, the cookie that a link sets survives the app's sign-out, or loses to "
                "the app's own",
                type(self._adapter).__name__,
                " and ".join(found),
                " (a CookieName can have its own)" if self._has_several() else "",
            )

    def _has_several(self) -> bool:
        return len(self._adapter.cookie_names) > 1

    def _compare(self, carrier: Any, lines: list[str]) -> list[str]:
        names = [
            name
            for name in self._adapter.cookie_names
            if any(line.lstrip().startswith(name) for line in lines)
        ]
        if not names:
            return []
        request = self._services.parse_request(carrier)
        found = []
        for name in names:
            attributes = self._adapter.attributes_of(name)
            # A browser that has the cookie may have it from a link: the app's response may then be
            # about that one.
            if attributes is None or any(request.cookies(name)):
                continue
            found += self._differing(attributes.cookie(name, ""), lines, request.target)
        return found

    def _differing(self, cookie: Cookie, lines: list[str], target: str) -> list[str]:
        now = self._services.guard.now()
        compared = [differing_arguments(line, cookie, target, now) for line in lines]
        differing = [each for each in compared if each is not None]
        # An app that sets two cookies of one name sets this one too.
        if not differing or not all(differing):
            return []
        shown = ", ".join(f"{name}={_show(value)}" for name, value in differing[0].items())
        return [f"{shown} for {cookie.name!r}" if self._has_several() else shown]


def _set_cookie_lines(headers: Any) -> Iterator[str]:
    # An iterator could be read only once: the server would send no headers.
    for name, value in headers if isinstance(headers, (list, tuple)) else ():
        if name.lower() in ("set-cookie", b"set-cookie"):
            yield value.decode("latin-1") if isinstance(value, bytes) else value


def _show(value: str | bool | None) -> str:
    # Attack: an app writes what a visitor sent into a cookie's path; or it names no path, and the
    # request is for `/reset/SECRET/new`. Only words are logged, else the secret would be.
    plain = not isinstance(value, str) or _SHOWN.fullmatch(value)
    return repr(value) if plain else "(as the app has it)"
