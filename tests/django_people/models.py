"""A project's own users: numbered by UUIDs, called by a name."""

from __future__ import annotations

import uuid

from django.contrib.auth.models import AbstractBaseUser, UserManager
from django.db import models


class Person(AbstractBaseUser):  # type: ignore[misc]  # its base has no types
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    name = models.CharField(max_length=40, unique=True)
    born = models.DateField()
    fee = models.DecimalField(max_digits=6, decimal_places=2)
    is_active = models.BooleanField(default=True)

    USERNAME_FIELD = "name"
    objects = UserManager()

    labels = ("oars", {"size": 1.5})

    class Meta:
        app_label = "django_people"
