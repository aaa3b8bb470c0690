"""FastAPI-Users: its cookie transport over sessions in a table that both sites read."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from typing import Any

from app_site import DATA, EMAIL, KEY, PASSWORD, options
from fastapi import Depends, FastAPI
from fastapi_users import BaseUserManager, FastAPIUsers, UUIDIDMixin, schemas
from fastapi_users.authentication import AuthenticationBackend, CookieTransport
from fastapi_users.authentication.strategy.db import DatabaseStrategy
from fastapi_users_db_sqlalchemy import SQLAlchemyBaseUserTableUUID, SQLAlchemyUserDatabase
from fastapi_users_db_sqlalchemy.access_token import (
    SQLAlchemyAccessTokenDatabase,
    SQLAlchemyBaseAccessTokenTableUUID,
)
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase

from ott_middleware import CookieSession, OTTMiddleware


class Base(DeclarativeBase):
    pass


class User(SQLAlchemyBaseUserTableUUID, Base):
    pass


class AccessToken(SQLAlchemyBaseAccessTokenTableUUID, Base):
    pass


engine = create_async_engine(f"sqlite+aiosqlite:///{DATA / 'users.db'}")
new_session = async_sessionmaker(engine, expire_on_commit=False)


async def database() -> AsyncIterator[Any]:
    async with new_session() as session:
        yield session


async def user_database(session: Any = Depends(database)) -> AsyncIterator[Any]:
    yield SQLAlchemyUserDatabase(session, User)


class UserManager(UUIDIDMixin, BaseUserManager[User, uuid.UUID]):
    reset_password_token_secret = verification_token_secret = KEY


async def user_manager(users: Any = Depends(user_database)) -> AsyncIterator[UserManager]:
    yield UserManager(users)


async def strategy(session: Any = Depends(database)) -> DatabaseStrategy[Any, Any, Any]:
    return DatabaseStrategy(SQLAlchemyAccessTokenDatabase(session, AccessToken), 3600)


cookies = AuthenticationBackend(
    name="cookies", transport=CookieTransport(cookie_secure=False), get_strategy=strategy
)
users = FastAPIUsers[User, uuid.UUID](user_manager, [cookies])
site = FastAPI()
site.include_router(users.get_auth_router(cookies), prefix="/auth")
site.include_router(
    users.get_users_router(schemas.BaseUser[uuid.UUID], schemas.BaseUserUpdate), prefix="/users"
)

application = OTTMiddleware(
    site,
    session=CookieSession("fastapiusersauth", probe="/users/me", renews_key=True),
    **options(),
)


async def prepare() -> None:
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with contextlib.asynccontextmanager(database)() as session:
        manager = UserManager(SQLAlchemyUserDatabase(session, User))
        await manager.create(schemas.BaseUserCreate(email=EMAIL, password=PASSWORD))


if __name__ == "__main__":
    asyncio.run(prepare())
