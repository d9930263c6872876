"""Requests that collect garbage for a known time: `collecting_app.py PORT`, `/collect?ms=N`. Nothing but the standard library."""

import gc
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

gc.disable()


def collect_for(ms):
    """Collects in pieces, until they took so much CPU time together, then sleeps for 20 ms."""
    spent = 0.0
    while spent < ms / 1000:
        for _ in range(10_000):
            cycle = []
            cycle.append(cycle)
        begun = time.thread_time()
        gc.collect()
        spent += time.thread_time() - begun
    time.sleep(0.02)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        collect_for(int(self.path.partition("=")[2] or 0))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        pass


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
