"""Bodies larger than memory: `bulk_app.py PORT`.

GET /sent?bytes=N writes them piece by piece, GET /file?bytes=N has the kernel send them, POST /taken reads them.
"""

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
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Bulk).serve_forever()
