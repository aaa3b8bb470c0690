"""Tokens in an SQLite file."""

from .backend import SQLiteBackend

__all__ = ["SQLiteBackend"]
