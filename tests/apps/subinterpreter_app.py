"""Each request asks another server from an interpreter of its own, which others of the process do not share:
`subinterpreter_app.py PORT`.
"""

import queue
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters

ASK = """
import socket

with socket.create_connection(("{host}", {port})) as connection:
    connection.sendall(b"GET {path} HTTP/1.1\\r\\nHost: h\\r\\nConnection: close\\r\\n\\r\\n")
    while connection.recv(4096):
        pass
"""

free = queue.Queue()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        url = urlsplit(parse_qs(urlsplit(self.path).query)["url"][0])
        interpreter = free.get()
        failure = interpreters.run_string(interpreter, ASK.format(host=url.hostname, port=url.port, path=url.path))
        free.put(interpreter)
        self.send_response(500 if failure else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    for _ in range(4):
        free.put(interpreters.create())
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
