"""The configuration of the Django app, which has a template tag and no models."""

from __future__ import annotations

from django.apps import AppConfig


class OTTConfig(AppConfig):  # type: ignore[misc]  # Django has no types
    """`INSTALLED_APPS += ["ott_middleware.django"]`."""

    name = "ott_middleware.django"
    # The last part of the name, Django's default, would be "django".
    label = "ott_middleware"
