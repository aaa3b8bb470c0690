"""Flask-Login's users: reads the signed-in user, and signs a user in."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

import flask
import flask_login
from flask_login.config import COOKIE_NAME
from flask_login.utils import decode_cookie

from ...errors import SessionNotFound, full_name
from ..dict_session import Person, id_of

logger = logging.getLogger("ott_middleware")


class FlaskLogin:
    """The Flask-Login of one app. Whatever loads a user is called within a context of that app.

    :param app: with a `login_manager`.
    :param fields: the attributes of a user that may leave the site.
    """

    def __init__(self, app: flask.Flask, fields: Iterable[str]) -> None:
        self._app = app
        self._manager: Any = app.login_manager  # type: ignore[attr-defined]  # Flask-Login puts it there
        self._fields = tuple(fields)
        self.cookie_name: str = app.config.get("REMEMBER_COOKIE_NAME", COOKIE_NAME)

    def current_user(self) -> Person | None:
        """Return the signed-in user of the context's request, as Flask-Login finds it.

        By its own loading: it knows the remember cookie, and strong session protection, by which a
        cookie that is sent by another browser signs no user in.
        """
        return self._person(flask_login.current_user._get_current_object(), {})

    def person_in(self, values: Mapping[str, Any]) -> Person | None:
        """Return the user of a session, in whatever browser."""
        kept = {name: values[name] for name in ("_fresh", "_id") if name in values}
        return self._load_person(id_of(values.get("_user_id")), kept)

    def person_from_match(self, person: Any) -> Person | None:
        """Return a user by the id, or by the app's own user object."""
        # A guess at the value: Flask-Login demands of a user object that it has that method alone.
        if hasattr(person, self._manager.id_attribute):
            # Loaded again in any case: the app may not let that user in any more.
            person = self._id(person)
        user_id = id_of(person)
        if user_id is None:
            logger.error(
                "FlaskSession: match returned %s; return the id of a user, or the user",
                full_name(person),
            )
        return self._load_person(user_id, {})

    def person_by_remember_cookie(self, cookie: str) -> Person | None:
        """Return a user by the remember cookie alone."""
        return self._load_person(self.read_remember_cookie(cookie), {})

    def read_remember_cookie(self, cookie: str) -> str | None:
        """Return the id in a remember cookie, or None if this app did not sign it."""
        try:
            user_id: str | None = decode_cookie(cookie, key=self._app.secret_key)
        except TypeError:  # signatures are compared as ASCII, and this one is none
            return None
        return user_id

    def sign_in(self, user_id: str, values: Mapping[str, Any]) -> None:
        """Sign a user in to the session of the context's request.

        :param values: of the session that this one comes from; none where that is another site's.
        :raises SessionNotFound: the app does not let the user in any more.
        """
        # A login is fresh if the password was just entered, in this browser. A cookie copied to
        # another browser is not fresh there, and a link does not make it so.
        fresh = (
            values.get("_fresh") is True
            and values.get("_id") == self._manager._session_identifier_generator()
        )
        user = self._load(user_id)
        if user is None or not flask_login.login_user(user, fresh=fresh):
            raise SessionNotFound

    def _load_person(self, user_id: str | None, kept: Mapping[str, Any]) -> Person | None:
        return None if user_id is None else self._person(self._load(user_id), kept)

    def _load(self, user_id: str) -> Any:
        # None where the app finds its users by other means only.
        return self._manager._user_callback and self._manager._user_callback(user_id)

    def _person(self, user: Any, kept: Mapping[str, Any]) -> Person | None:
        if user is None or not user.is_authenticated or not user.is_active:
            return None
        user_id = id_of(self._id(user))
        if user_id is None:
            return None
        # Read here, where the app's database can be asked.
        fields = {name: getattr(user, name) for name in self._fields if hasattr(user, name)}
        return Person(user_id, fields, {"_user_id": user_id, **kept})

    def _id(self, user: Any) -> Any:
        return getattr(user, self._manager.id_attribute)()
