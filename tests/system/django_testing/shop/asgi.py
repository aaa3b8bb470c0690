from django.core.asgi import get_asgi_application

from ott_middleware import OTTMiddleware

from .options import OPTIONS

application = OTTMiddleware(get_asgi_application(), **OPTIONS)
