"""SQLAdmin: its own log-in page and its list of a table."""

from typing import Any

from app_site import DATA, KEY, NAME, PASSWORD, options
from sqladmin import Admin, ModelView
from sqladmin.authentication import AuthenticationBackend
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from starlette.applications import Starlette
from starlette.requests import Request

from ott_middleware import OTTMiddleware, StarletteSession


class Base(DeclarativeBase):
    pass


class Ship(Base):
    __tablename__ = "ships"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class ShipAdmin(ModelView, model=Ship):
    column_list = [Ship.name]  # noqa: RUF012  (as its manual writes it)


class Login(AuthenticationBackend):
    async def login(self, request: Request) -> bool:
        form = await request.form()
        good = (form["username"], form["password"]) == (NAME, PASSWORD)
        if good:
            request.session.update({"token": NAME})
        return good

    async def logout(self, request: Request) -> bool:
        request.session.clear()
        return True

    async def authenticate(self, request: Request) -> bool:
        return "token" in request.session


engine = create_engine(f"sqlite:///{DATA / 'ships.db'}")
Base.metadata.create_all(engine)
app: Any = Starlette()
Admin(app, engine, authentication_backend=Login(KEY)).add_view(ShipAdmin)

application = OTTMiddleware(app, session=StarletteSession(app, user="token"), **options())
