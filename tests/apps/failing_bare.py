"""Failures without a framework. WSGI: `app`, ASGI: `asgi`; `failing_bare.py PORT [CERTIFICATE KEY]` serves the standard
library's.
"""

import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from failures import fail


def answer(path):
    case = path.rsplit("/", 1)[1]
    return fail(case).encode(), 503 if case == "explicit" else 200


def app(environ, start_response):
    body, status = answer(environ["PATH_INFO"])
    start_response(f"{status} X", [("Content-Length", str(len(body)))])
    return [body]


async def asgi(scope, receive, send):
    if scope["type"] != "http":
        return
    body, status = answer(scope["path"])
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body, status = answer(self.path)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    if len(sys.argv) > 2:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*sys.argv[2:])
        server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()
