"""The routes of the end to end tests on the standard library's http.server: `plain_app.py HOST PORT`."""

import json
import re
import sys
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"


class Routes(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        parts = urlsplit(self.path)
        self.query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        try:
            self.route(parts.path)
        except RuntimeError as error:
            self.answer(str(error).encode(), status=500)

    do_HEAD = do_POST = do_GET

    def route(self, path):
        if match := re.fullmatch(r"/items/(\d+)", path):
            self.answer_json({"item": int(match[1])})
        elif match := re.fullmatch(rf"/users/({UUID})/orders/(\d+)", path):
            self.answer_json({"user": match[1], "order": int(match[2])})
        elif path in NAMED:
            NAMED[path](self)
        else:
            self.answer(b"not found", status=404)

    def number(self, name, default):
        return int(self.query.get(name, default))

    def answer(self, body, status=200, kind="text/plain"):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def answer_json(self, value):
        self.answer(json.dumps(value).encode(), kind="application/json")

    def fast(self):
        self.answer(b"ok")

    def slow(self):
        time.sleep(self.number("ms", 100) / 1000)
        self.answer(b"slow")

    def boom(self):
        raise RuntimeError("boom")

    def stream(self):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        size = self.number("size", 10)
        for _ in range(self.number("chunks", 3)):
            time.sleep(self.number("ms", 0) / 1000)
            self.wfile.write(b"%x\r\n%s\r\n" % (size, b"x" * size))
        self.wfile.write(b"0\r\n\r\n")

    def big(self):
        self.answer(b"x" * self.number("bytes", 100_000))

    def echo(self):
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            length = sum(len(chunk) for chunk in self.chunks())
        else:
            length = len(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        self.answer(str(length).encode())

    def chunks(self):
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass

    def call(self):
        try:
            with urllib.request.urlopen(self.query["url"], timeout=10) as answer:
                self.answer_json({"status": answer.status, "length": len(answer.read())})
        except urllib.error.HTTPError as error:
            self.answer_json({"status": error.code, "length": len(error.read())})

    def show_headers(self):
        self.answer_json({name.lower(): value for name, value in self.headers.items()})

    def nocontent(self):
        self.send_response(204)
        self.end_headers()

    def close(self):
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b"a")
        self.wfile.write(b"b")

    def hang(self):
        time.sleep(600)

    def log_message(self, format, *args):
        pass


NAMED = {
    "/": Routes.fast,
    "/fast": Routes.fast,
    "/slow": Routes.slow,
    "/boom": Routes.boom,
    "/stream": Routes.stream,
    "/big": Routes.big,
    "/echo": Routes.echo,
    "/call": Routes.call,
    "/headers": Routes.show_headers,
    "/nocontent": Routes.nocontent,
    "/close": Routes.close,
    "/hang": Routes.hang,
}

if __name__ == "__main__":
    ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Routes).serve_forever()
