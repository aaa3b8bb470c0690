"""Serves `logging_served` by eventlet's own server."""

import sys

import eventlet

eventlet.monkey_patch()

if __name__ == "__main__":
    import eventlet.wsgi
    from logging_served import wsgi

    eventlet.wsgi.server(eventlet.listen(("127.0.0.1", int(sys.argv[1]))), wsgi)
