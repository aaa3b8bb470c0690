"""Wagtail: the editors' log-in page."""

from app_django import prepare, set_up
from app_site import options
from django.core.wsgi import get_wsgi_application
from django.urls import include, path

from ott_middleware import OTTMiddleware

set_up(
    __name__,
    apps=(
        *(
            f"wagtail.{app}"
            for app in (
                "contrib.forms",
                "contrib.redirects",
                "embeds",
                "sites",
                "users",
                "snippets",
            )
        ),
        *(f"wagtail.{app}" for app in ("documents", "images", "search", "admin")),
        "wagtail",
        "modelcluster",
        "taggit",
    ),
    middleware=("wagtail.contrib.redirects.middleware.RedirectMiddleware",),
    WAGTAIL_SITE_NAME="Ships",
    WAGTAILADMIN_BASE_URL="http://127.0.0.1",
)
urlpatterns = [
    path("admin/", include("wagtail.admin.urls")),
    path("documents/", include("wagtail.documents.urls")),
    path("", include("wagtail.urls")),
]

application = OTTMiddleware(get_wsgi_application(), **options())

if __name__ == "__main__":
    prepare()
