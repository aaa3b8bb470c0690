"""Litestar: `SessionAuth` over its encrypted cookie, new with each response."""

from typing import Annotated, Any

from app_site import KEY, NAME, PASSWORD, options
from litestar import Litestar, Request, get, post
from litestar.enums import RequestEncodingType
from litestar.exceptions import NotAuthorizedException
from litestar.middleware.session.client_side import CookieBackendConfig
from litestar.params import Body
from litestar.response import Redirect
from litestar.security.session_auth import SessionAuth

from ott_middleware import CookieSession, OTTMiddleware


async def find_user(session: dict[str, Any], connection: Any) -> str | None:
    return session.get("user")


@get("/login", media_type="text/html")
async def form() -> str:
    return "<form method=post><input name=name><input name=password type=password></form>"


@post("/login")
async def login(
    request: Request[Any, Any, Any],
    data: Annotated[dict[str, str], Body(media_type=RequestEncodingType.URL_ENCODED)],
) -> Redirect:
    if (data.get("name"), data.get("password")) != (NAME, PASSWORD):
        raise NotAuthorizedException
    request.set_session({"user": NAME})
    return Redirect("/me")


@get("/me", media_type="text/plain")
async def me(request: Request[str, Any, Any]) -> str:
    return f"Signed in as {request.user}"


@get("/logout")
async def logout(request: Request[Any, Any, Any]) -> Redirect:
    request.clear_session()
    return Redirect("/login")


auth = SessionAuth[str, Any](
    retrieve_user_handler=find_user,
    session_backend_config=CookieBackendConfig(secret=KEY.encode()[:32]),
    exclude=["^/login$"],
)
app = Litestar(
    [form, login, me, logout],
    on_app_init=[auth.on_app_init],
)

application = OTTMiddleware(
    app, session=CookieSession("session", "session-*", probe="/me", renews_key=True), **options()
)
