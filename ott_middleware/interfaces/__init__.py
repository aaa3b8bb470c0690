"""The two interfaces, ASGI and WSGI: bytes in, bytes out, no policy."""
