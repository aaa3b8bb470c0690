"""dj-rest-auth: JSON web tokens in cookies."""

from app_django import prepare, set_up
from app_site import options
from django.core.wsgi import get_wsgi_application
from django.urls import include, path

from ott_middleware import CookieSession, OTTMiddleware

set_up(
    __name__,
    apps=("rest_framework", "dj_rest_auth"),
    REST_FRAMEWORK={
        "DEFAULT_AUTHENTICATION_CLASSES": ["dj_rest_auth.jwt_auth.JWTCookieAuthentication"]
    },
    REST_AUTH={
        "USE_JWT": True,
        "SESSION_LOGIN": False,
        "TOKEN_MODEL": None,
        "JWT_AUTH_COOKIE": "app-auth",
        "JWT_AUTH_REFRESH_COOKIE": "app-refresh",
    },
)
urlpatterns = [path("auth/", include("dj_rest_auth.urls"))]

application = OTTMiddleware(
    get_wsgi_application(),
    session=CookieSession("app-auth", "app-refresh", probe="/auth/user/", renews_key=True),
    **options(),
)

if __name__ == "__main__":
    prepare()
