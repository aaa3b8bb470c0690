"""The session adapter for Flask apps, with or without Flask-Session and Flask-Login."""

from .adapter import FlaskSession

__all__ = ["FlaskSession"]
