"""django-oscar: the log-in page of its shop."""

import oscar
from app_django import APPS, prepare, set_up
from app_site import options
from django.apps import apps
from django.core.wsgi import get_wsgi_application
from django.urls import include, path
from oscar import defaults

from ott_middleware import OTTMiddleware

set_up(
    __name__,
    apps=tuple(app for app in oscar.INSTALLED_APPS if app not in APPS),
    middleware=(
        "oscar.apps.basket.middleware.BasketMiddleware",
        "django.contrib.flatpages.middleware.FlatpageFallbackMiddleware",
    ),
    processors=(
        "oscar.apps.search.context_processors.search_form",
        "oscar.apps.checkout.context_processors.checkout",
        "oscar.apps.communication.notifications.context_processors.notifications",
        "oscar.core.context_processors.metadata",
    ),
    SITE_ID=1,
    AUTHENTICATION_BACKENDS=[
        "oscar.apps.customer.auth_backends.EmailBackend",
        "django.contrib.auth.backends.ModelBackend",
    ],
    HAYSTACK_CONNECTIONS={"default": {"ENGINE": "haystack.backends.simple_backend.SimpleEngine"}},
    **{name: value for name, value in vars(defaults).items() if name.startswith("OSCAR_")},
)
urlpatterns = [
    path("i18n/", include("django.conf.urls.i18n")),
    path("", include(apps.get_app_config("oscar").urls[0])),
]

application = OTTMiddleware(get_wsgi_application(), **options())

if __name__ == "__main__":
    prepare()
