"""Flask-JWT-Extended: the access token in a cookie, and a second one against CSRF."""

from typing import Any

from app_site import KEY, NAME, PASSWORD, options
from flask import Flask, jsonify, request
from flask_jwt_extended import (
    JWTManager,
    create_access_token,
    get_jwt_identity,
    jwt_required,
    set_access_cookies,
    unset_jwt_cookies,
)

from ott_middleware import CookieSession, OTTMiddleware
from ott_middleware.http import CookieName

app = Flask(__name__)
app.config.update(JWT_SECRET_KEY=KEY, JWT_TOKEN_LOCATION=["cookies"])
JWTManager(app)


@app.post("/login")
def login() -> Any:
    if (request.json["username"], request.json["password"]) != (NAME, PASSWORD):
        return jsonify(msg="Bad username or password"), 401
    response = jsonify(msg="login successful")
    set_access_cookies(response, create_access_token(identity=NAME))
    return response


@app.post("/logout")
def logout() -> Any:
    response = jsonify(msg="logout successful")
    unset_jwt_cookies(response)
    return response


@app.route("/me", methods=["GET", "POST"])
@jwt_required()
def me() -> Any:
    return jsonify(id=get_jwt_identity(), changed=request.method == "POST")


application = OTTMiddleware(
    app,
    session=CookieSession(
        "access_token_cookie",
        CookieName("csrf_access_token", httponly=False),
        probe="/me",
        renews_key=True,
    ),
    **options(),
)
