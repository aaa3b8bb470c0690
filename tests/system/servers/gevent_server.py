"""Serves `logging_served` by gevent's own server."""

import sys

from gevent import monkey

monkey.patch_all()

if __name__ == "__main__":
    from gevent.pywsgi import WSGIServer
    from logging_served import wsgi

    WSGIServer(("127.0.0.1", int(sys.argv[1])), wsgi).serve_forever()
