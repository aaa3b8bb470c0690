"""Superset reads a module of this name: the settings that its manual asks for."""

from app_site import DATA, KEY

SECRET_KEY = KEY
SQLALCHEMY_DATABASE_URI = f"sqlite:///{DATA / 'superset.db'}"
TALISMAN_ENABLED = False
