"""Watches requests that pass to the app, and tells the few that the flow must see.

Under an option that watches responses, nearly every request needs nothing: no user signs in or out.
Building a `Request` to learn that would take ten times as long as the look at what the interface
has in its hands. Each look here is a necessary condition of what `Forwarding` does: where a look
says yes, the flow decides, by all that the request and the response hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Generic

from ..context import PROBE
from ..sessions.base import Session, SignInAdapter
from ..sessions.by_cookies import finds_by_cookies_alone
from ..tokens.revocations import revocations
from .forward import COOKIE_HEADERS, Forwarding, Text, names_one_of
from .handle import Handle
from .services import Services


class Watch(Generic[Text]):
    """Decides, for one middleware, which requests and responses the flow must see.

    :param forwarding: edits the responses.
    :param encode: returns a text as the interface has the texts of headers.
    """

    def __init__(
        self, services: Services, forwarding: Forwarding, encode: Callable[[str], Text]
    ) -> None:
        options, guard = services.options, services.guard
        adapter = options.adapter
        #: Returns what edits the response of a request that passed, as the flow would have done.
        self.edit = forwarding.edit_passed
        self._offers = options.set_ott_header_on_new_session
        self._cookie_headers: tuple[Text, ...] = tuple(map(encode, COOKIE_HEADERS))
        self._now = guard.now
        self._sets_remote_user = guard.sets_remote_user
        self._signs_in = adapter if isinstance(adapter, SignInAdapter) else None
        self._names: tuple[Text, ...] | None = None
        if finds_by_cookies_alone(adapter):
            self._names = tuple(map(encode, adapter.cookie_names))
        #: Whether the request's cookies are looked at: the session that was there before the app
        #: was called must be known.
        self.reads_cookies = self._offers or options.revoke_on_sign_out
        #: Whether the response of a request that passed may need an edit.
        self.reads_response = self._offers or services.handle_sets_cookies
        # Any page may be one that the app protects.
        self._protects = options.protected is not None

    def needs_flow(self, handle: Handle, carrier: Any, path: str, cookies: Iterable[Text]) -> bool:
        """Note when a request came in; return whether the flow must see it before the app does.

        :param path: as the server gives it, with the mount point or without.
        :param cookies: the values of its `Cookie` headers; read only if `reads_cookies`.
        """
        handle.began = revocations.now()
        if self._signs_in is not None and self._signs_in.sign_out_path is not None:
            sign_out = self._signs_in.sign_out_path.rstrip("/")
            # Servers differ in how they decode other characters: the flow compares those.
            if sign_out in path or not sign_out.isascii():
                return True
        # Each request is asked for the name that the app reads, and cleaned of what a client sent.
        if self._sets_remote_user or self._protects:
            return True
        if not self.reads_cookies:
            return False
        # The flow knows what a probe must not do: start or end a session.
        if PROBE in carrier:
            return True
        if self._names is None:
            # The adapter may find a session in a header: it is asked wherever the flow would.
            return any(True for _ in cookies)
        # A cookie of that name is somewhere in there, or nowhere.
        return any(name in each for each in cookies for name in self._names)

    def needs_edit(self, handle: Handle, headers: Any, before: Session | None = None) -> bool:
        """Return whether the flow must edit the response of a request that passed.

        :param headers: of the response, as the app gave them.
        :param before: the session whose tokens are revoked where the app ends it, if there is one.
        """
        # From here on, the handle refuses to sign in, and to start a handoff.
        if handle.close():
            return True
        if before is None and not self._offers:
            return False
        # An iterator could be read only once; the flow reads it, and the server gets a list.
        if not isinstance(headers, (list, tuple)) or names_one_of(headers, self._cookie_headers):
            return True
        return before is not None and before.expired(self._now())
