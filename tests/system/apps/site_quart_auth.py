"""Quart-Auth: the user's id in a signed cookie."""

from typing import Any

from app_site import KEY, NAME, PASSWORD, options
from quart import Quart, redirect, request
from quart_auth import AuthUser, QuartAuth, current_user, login_required, login_user, logout_user

from ott_middleware import CookieSession, OTTMiddleware

app = Quart(__name__)
app.secret_key = KEY
app.config["QUART_AUTH_COOKIE_SECURE"] = False
QuartAuth(app)


@app.route("/login", methods=["GET", "POST"])
async def login() -> Any:
    form = await request.form
    if (form.get("name"), form.get("password")) == (NAME, PASSWORD):
        login_user(AuthUser(NAME))
        return redirect("/me")
    return "<form method=post><input name=name><input name=password type=password></form>"


@app.route("/me")
@login_required
async def me() -> str:
    return f"Signed in as {current_user.auth_id}"


@app.route("/logout")
async def logout() -> Any:
    logout_user()
    return redirect("/login")


application = OTTMiddleware(
    app, session=CookieSession("QUART_AUTH", probe="/me", renews_key=True), **options()
)
