"""The session adapter for Django projects."""

from .adapter import DjangoSession

__all__ = ["DjangoSession"]
