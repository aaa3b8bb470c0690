"""Apps that take long to install or to start; they run in the full run alone."""

from __future__ import annotations

import base64
import re

from app_browser import Browser, Fill, Post, Press, Visit
from app_rows import App
from app_site_words import EMAIL, NAME, PASSWORD
from light_apps import LIGHT


def sign_in_to_superset(browser: Browser, origin: str) -> None:
    """Send what its log-in page sends, a script with a token that the page has."""
    page = browser.read(origin + "/login/")
    found = re.search(r'name="csrf_token"\s+id="csrf_token"\s+value="([^"]+)"', page)
    assert found, page
    fields = {"username": NAME, "password": PASSWORD, "csrf_token": found[1]}
    answer = browser.post(origin + "/login/", fields, referer=origin + "/login/")
    assert answer.status == 302, answer.body


def sign_in_to_trac(browser: Browser, origin: str) -> None:
    """Answer the question of the web server, as a browser does in a window of its own."""
    assert browser.get(origin + "/login").status == 401
    known = base64.b64encode(f"{NAME}:{PASSWORD}".encode()).decode()
    answer = browser.get(origin + "/login", authorization=f"Basic {known}")
    assert answer.status in (302, 303), answer.body


def no_form(browser: Browser, origin: str) -> None:
    """MLflow has no log-in page: users come from another app."""


def ask_for_log_out(browser: Browser, origin: str) -> None:
    """Ask for the page that ends the session, though the app has none of that name."""
    browser.get(origin + "/logout")


HEAVY = (
    App(
        name="Wagtail",
        site="wagtail",
        family="Django",
        requires=("wagtail==8.0.1", "django==5.2.*"),
        server="waitress",
        page="/admin/account/",
        mark=EMAIL,
        sign_in=Fill("/admin/login/", {"username": NAME, "password": PASSWORD}),
        sign_out=Post("/admin/logout/", csrf=("csrftoken", "csrfmiddlewaretoken")),
        shares="the database and secret key",
        prepare=True,
        environment="django",
        slow=True,
    ),
    App(
        name="django-oscar",
        site="oscar",
        family="Django",
        requires=("django-oscar==4.2.1", "django==5.2.*"),
        server="waitress",
        page="/accounts/profile/",
        mark=EMAIL,
        sign_in=Fill(
            "/accounts/login/",
            {"login-username": EMAIL, "login-password": PASSWORD},
            {"login_submit": "Log In"},
        ),
        sign_out=Visit("/accounts/logout/"),
        shares="the database and secret key",
        prepare=True,
        environment="django",
        slow=True,
    ),
    App(
        name="Superset",
        site="superset",
        family="Flask",
        # 2.4 of Flask-Caching passes an argument that this Superset does not take.
        requires=("apache-superset==6.1.0", "flask-caching<2.4"),
        server="waitress",
        page="/api/v1/me/",
        mark=EMAIL,
        sign_in=sign_in_to_superset,
        sign_out=Visit("/logout/"),
        shares="the database and secret key",
        prepare=True,
        environment="superset",
        slow=True,
    ),
    App(
        name="Chainlit",
        site="chainlit",
        family="FastAPI",
        requires=("chainlit==2.12.0",),
        server="uvicorn",
        page="/user",
        mark=NAME,
        sign_in=Post("/login", {"username": NAME, "password": PASSWORD}),
        sign_out=Post("/logout"),
        shares="`CHAINLIT_AUTH_SECRET`",
        environment="chainlit",
        slow=True,
    ),
    App(
        name="Gradio",
        site="gradio",
        family="FastAPI",
        requires=("gradio==6.31.0", "itsdangerous"),
        server="uvicorn",
        page="/gradio/",
        mark="Ships",
        sign_in=Fill("/login", {"name": NAME, "password": PASSWORD}),
        sign_out=Visit("/logout"),
        shares="the secret key",
        environment="gradio",
        slow=True,
    ),
    App(
        name="NiceGUI",
        site="nicegui",
        family="FastAPI",
        requires=("nicegui==3.18.0", "itsdangerous", "python-multipart"),
        server="uvicorn",
        page="/",
        mark="Hello ada!",
        sign_in=Fill("/login", {"name": NAME, "password": PASSWORD}),
        sign_out=Visit("/logout"),
        shares="the storage and its secret",
        environment="nicegui",
        warns="session fixation",
        slow=True,
    ),
    App(
        name="Trac",
        site="trac",
        family="Trac",
        requires=("trac==1.6", "setuptools<81"),
        server="waitress",
        page="/wiki/TracGuide",
        mark="logged in as",
        sign_in=sign_in_to_trac,
        sign_out=Press("/wiki/TracGuide", "/logout"),
        shares="the project",
        prepare=True,
        environment="trac",
        slow=True,
    ),
    App(
        name="Calibre-Web",
        site="calibre_web",
        family="Flask",
        requires=("calibreweb==0.6.27",),
        server="waitress",
        page="/me",
        mark="top_user",
        sign_in=Fill("/login", {"username": "admin", "password": "admin123"}),
        sign_out=Visit("/logout"),
        shares="the configuration folder",
        prepare=True,
        environment="calibre",
        slow=True,
    ),
    App(
        name="MLflow",
        site="mlflow",
        family="Flask",
        requires=("mlflow[auth]==3.17.2",),
        server="waitress",
        page="/api/2.0/mlflow/users/current",
        mark='"username":"ada"',
        sign_in=no_form,
        sign_out=ask_for_log_out,
        shares="the users' names; users come from SQLAdmin",
        environment="mlflow",
        source=next(app for app in LIGHT if app.site == "sqladmin"),
        slow=True,
    ),
)
