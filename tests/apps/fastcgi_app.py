"""The Flask app under flup, in FastCGI: `fastcgi_app.py HOST:PORT|PATH`."""

import logging
import sys

from flup.server.fcgi import WSGIServer

# Else Flask logs to `wsgi.errors`, which flup takes no text for.
logging.basicConfig()

from flask_app import app

if __name__ == "__main__":
    host, colon, port = sys.argv[1].rpartition(":")
    address = (host, int(port)) if colon else sys.argv[1]
    WSGIServer(app, bindAddress=address, minSpare=2, maxSpare=4, debug=False).run()
