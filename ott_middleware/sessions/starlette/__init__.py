"""The session adapter for Starlette and FastAPI apps with SessionMiddleware."""

from .adapter import StarletteSession

__all__ = ["StarletteSession"]
