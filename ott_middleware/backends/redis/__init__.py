"""Tokens in Redis or Valkey."""

from .backend import RedisBackend

__all__ = ["RedisBackend"]
