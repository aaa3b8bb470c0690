"""django-allauth: its own log-in page."""

from app_django import prepare, set_up
from app_site import options
from django.core.wsgi import get_wsgi_application
from django.urls import include, path

from ott_middleware import OTTMiddleware

set_up(
    __name__,
    apps=("allauth", "allauth.account"),
    middleware=("allauth.account.middleware.AccountMiddleware",),
    AUTHENTICATION_BACKENDS=[
        "django.contrib.auth.backends.ModelBackend",
        "allauth.account.auth_backends.AuthenticationBackend",
    ],
    ACCOUNT_EMAIL_VERIFICATION="none",
)
urlpatterns = [path("accounts/", include("allauth.urls"))]

application = OTTMiddleware(get_wsgi_application(), **options())

if __name__ == "__main__":
    prepare()
