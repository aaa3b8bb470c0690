"""Apps that take long to install or to start; they run in the full run alone."""

from __future__ import annotations

from app_browser import Fill, Post, Visit
from app_rows import App
from app_site_words import EMAIL, NAME, PASSWORD

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
)
