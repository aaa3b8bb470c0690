from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model

from ott_middleware.sessions import UserSession


def find_or_create(arrived: UserSession) -> Any:
    """The local user for a session of the source site; a new one at the first visit."""
    email = arrived.user["email"]
    if not email.endswith("@example.com"):
        return None  # refused: the visitor sees "No account here"
    users = get_user_model().objects
    user, _ = users.get_or_create(username=email, defaults={"email": email})
    return user
