"""A Django app with the template tag `ott_link`: `INSTALLED_APPS += ["ott_middleware.django"]`."""
