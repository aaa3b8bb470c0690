"""Tokens in an SQL database, through SQLAlchemy."""

from .backend import SQLAlchemyBackend
from .table import token_table

__all__ = ["SQLAlchemyBackend", "token_table"]
