"""Bodies larger than memory: `bulk_app.py PORT [CERTIFICATE KEY]`; with these two inside TLS.

GET /sent?bytes=N writes them piece by piece, GET /once?bytes=N by one call, GET /file?bytes=N has the kernel send them,
POST /taken reads them.
"""

import ssl
import sys
import tempfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

PIECE = bytes(1 << 20)
FILE_BYTES = 64 << 20


class Bulk(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        parts = urlsplit(self.path)
        left = int(parse_qs(parts.query)["bytes"][0])
        self.answer(left)
        if parts.path == "/sent":
            while left:
                left -= self.connection.send(PIECE[:left])
            return
        if parts.path == "/once":
            # Zeros that are not written to take no memory.
            self.connection.sendall(bytes(left))
            return
        with tempfile.TemporaryFile() as file:
            file.truncate(FILE_BYTES)
            while left:
                left -= self.connection.sendfile(file, 0, min(left, FILE_BYTES))

    def do_POST(self):
        left = int(self.headers["Content-Length"])
        while left:
            left -= len(self.rfile.read(min(left, len(PIECE))))
        self.answer(2)
        self.wfile.write(b"ok")

    def answer(self, length):
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, format, *args):
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Bulk)
    if len(sys.argv) > 2:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*sys.argv[2:])
        server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()
