from django.core.wsgi import get_wsgi_application

from ott_middleware import OTTMiddleware

from .options import OPTIONS

application = OTTMiddleware(get_wsgi_application(), **OPTIONS)
