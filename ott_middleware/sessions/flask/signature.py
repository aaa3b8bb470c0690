"""The signature of Flask's session cookies: such a session lasts for a lifetime from its date."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import flask
from flask.sessions import SecureCookieSessionInterface
from itsdangerous import BadSignature, TimestampSigner

from ..lifetime import add_end, sign_at


@dataclass(frozen=True, slots=True)
class SignedCookie:
    """The value of a session cookie that a Flask app has signed.

    :ivar value: as a browser sends it.
    :ivar date: of the signature, aware.
    """

    value: str
    date: datetime
    _payload: bytes
    _signer: TimestampSigner
    _serializer: Any

    @classmethod
    def read(cls, app: flask.Flask, value: str) -> SignedCookie | None:
        """Verify a cookie's value.

        :return: None for the key of a session that is kept on a server, and for the cookies that a
            derived session interface writes in a way of its own.
        """
        interface = app.session_interface
        if not isinstance(interface, SecureCookieSessionInterface):
            return None
        # The adapter has seen a secret key, and without one no user is signed in.
        serializer: Any = interface.get_signing_serializer(app)
        signer = serializer.make_signer(serializer.salt)
        try:
            payload, date = signer.unsign(value, return_timestamp=True)
        except BadSignature:
            return None
        return cls(value, date, payload, signer, serializer)

    def add_end(self, expires_at: datetime | None) -> str:
        """Return the value with the session's end among the session's values.

        The signature keeps its date. Without the end beside it, the next response of the app would
        date the session anew, and the session would outlive the one that it was copied from.
        """
        values = add_end(self._serializer.load_payload(self._payload), expires_at)
        if values is None:
            return self.value
        payload = self._serializer.dump_payload(values)
        return sign_at(self._signer, payload, int(self.date.timestamp()))

    def date_back(self, latest: int) -> str:
        """Return the value with a signature that is dated to `latest` (Unix seconds) or before."""
        if self.date.timestamp() <= latest:
            return self.value
        return sign_at(self._signer, self._payload, max(0, latest))
