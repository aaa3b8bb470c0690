"""Session adapters: the signed-in user of a request, and the cookies to set."""

import typing

from .. import lazy
from .base import Session, SessionAdapter, SignInAdapter, UserSession
from .bearer import BearerSession
from .cookie import CookieSession
from .framework import FrameworkSession
from .sealed import SealedSession

# `DjangoSession`, `FlaskSession` and `StarletteSession` need their framework: a star import goes
# without them.
__all__ = [
    "BearerSession",
    "CookieSession",
    "FrameworkSession",
    "SealedSession",
    "Session",
    "SessionAdapter",
    "SignInAdapter",
    "UserSession",
]

if typing.TYPE_CHECKING:
    from .django import DjangoSession as DjangoSession
    from .flask import FlaskSession as FlaskSession
    from .starlette import StarletteSession as StarletteSession
else:
    __getattr__, __dir__ = lazy.import_on_use(
        __name__,
        {
            "DjangoSession": ".django.adapter",
            "FlaskSession": ".flask.adapter",
            "StarletteSession": ".starlette.adapter",
        },
        install={
            "DjangoSession": "django",
            "FlaskSession": "flask",
            "StarletteSession": "starlette itsdangerous",
        },
    )
