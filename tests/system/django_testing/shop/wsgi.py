import os

from django.core.wsgi import get_wsgi_application

from ott_middleware import DjangoSession, OTTMiddleware

from .accounts import find_or_create
from .options import OPTIONS

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
application = OTTMiddleware(
    get_wsgi_application(),
    session=DjangoSession(expose=["email"], match=find_or_create),
    **OPTIONS,
)
