"""HTTPS that the kernel encrypts, and who asks for it.

`https.py serve CERTIFICATE KEY`: answers what is asked.
`https.py ask CERTIFICATE ROUND...`: for each round, when the file `connect.ROUND` is there, opens connections and asks once on
each, and says so with the file `connected.ROUND`; when the file `go.ROUND` is there, asks on those and on new ones, and says in
`asked.ROUND` what it asked and got.
"""

import http.server
import json
import os
import socket
import ssl
import sys
import threading
import time

ROUNDS = 2
# SSL_OP_ENABLE_KTLS of OpenSSL 3 (include/openssl/ssl.h.in); `ssl` names it since 3.12.
KERNEL_ENCRYPTS = 1 << 3
# Of several records.
BODY = b"x" * 50_000
# Where they listen: Python, and nginx with its own file, with and without TLS.
PYTHON, NGINX, PLAIN_NGINX, PLAIN_PYTHON = 8001, 8002, 8003, 8004
CONNECTIONS = [
    *((port, version) for port in (PYTHON, NGINX) for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)),
    (PLAIN_NGINX, None),
    (PLAIN_PYTHON, None),
]
ASKED = [("GET", "/index.html", b""), ("GET", "/missing", b""), ("GET", "/large", b""), ("POST", "/post", BODY)]
HEADS_END = b"\r\n\r\n"


def context_of(purpose, certificate, key=None):
    context = ssl.SSLContext(purpose)
    if key:
        context.load_cert_chain(certificate, key)
    else:
        context.load_verify_locations(certificate)
    context.options |= KERNEL_ENCRYPTS
    return context


class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer()

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.answer()

    def answer(self):
        status, body = {
            "/index.html": (200, b"hello\n"),
            "/large": (200, 6 * BODY),
            "/post": (200, b"taken\n"),
        }.get(self.path.split("?")[0], (404, b"none\n"))
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    context = None

    def finish_request(self, request, client):
        # In the thread that serves the connection.
        if self.context:
            request = self.context.wrap_socket(request, server_side=True)
        super().finish_request(request, client)

    def shutdown_request(self, request):
        request.close()


def serve(certificate, key):
    plain, server = (Server(("127.0.0.1", port), Answer) for port in (PLAIN_PYTHON, PYTHON))
    server.context = context_of(ssl.PROTOCOL_TLS_SERVER, certificate, key)
    threading.Thread(target=plain.serve_forever).start()
    server.serve_forever()


def splice_all(body, to):
    """Sends it through a pipe, page by page, without a look at it."""
    read, write = os.pipe()
    for start in range(0, len(body), 4096):
        left = os.write(write, body[start : start + 4096])
        while left:
            left -= os.splice(read, to, left)
    os.close(read)
    os.close(write)


class Connection:
    """One connection, asked in plain words so that each byte is counted."""

    def __init__(self, port, version, certificate):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.scheme = "http"
        if version:
            context = context_of(ssl.PROTOCOL_TLS_CLIENT, certificate)
            context.minimum_version = context.maximum_version = version
            self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
            self.scheme = "https"

    def read(self):
        some = self.socket.recv(65536)
        if not some:
            sys.exit("the server has closed")
        return some

    def ask(self, method, target, body):
        request = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n"
        if body:
            request += f"Content-Length: {len(body)}\r\n"
        request = (request + "\r\n").encode()
        if self.scheme == "http":
            self.socket.sendall(request)
            splice_all(body, self.socket.fileno())
        else:
            self.socket.sendall(request + body)
        answer = b""
        while HEADS_END not in answer:
            answer += self.read()
        head, _ = answer.split(HEADS_END, 1)
        first, *lines = head.decode().split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in lines)
        length = len(head) + len(HEADS_END) + int(fields["content-length"])
        while len(answer) < length:
            answer += self.read()
        return {
            "scheme": self.scheme,
            "method": method,
            "target": target,
            "status": int(first.split()[1]),
            "request_bytes": len(request) + len(body),
            "response_bytes": len(answer),
        }


def wait_for(name):
    while not os.path.exists(name):
        time.sleep(0.05)


def ask_round(name, certificate):
    wait_for(f"connect.{name}")
    connect = lambda: {(port, version): Connection(port, version, certificate) for port, version in CONNECTIONS}
    connections = connect()
    for connection in connections.values():
        connection.ask("GET", "/index.html", b"")
    open(f"connected.{name}", "w").close()
    wait_for(f"go.{name}")
    made = []
    for age in ["old", "new"]:
        for (port, version), connection in connections.items():
            place = f"{port}-{version and version.name}-{age}"
            for number in range(ROUNDS):
                for method, path, body in ASKED:
                    # By `fexit` a read that waited already when the probe came is not seen.
                    if port == PLAIN_PYTHON and age == "old":
                        continue
                    # nginx answers a POST that it has no use for before it has read it.
                    if port in (PYTHON, PLAIN_PYTHON) or not body:
                        made.append(connection.ask(method, f"{path}?{place}-{number}", body))
        connections = connect()
    with open("asked", "w") as ledger:
        for one in made:
            print("ASKED", json.dumps(one), file=ledger)
    os.rename("asked", f"asked.{name}")


def ask(certificate, *rounds):
    for name in rounds:
        ask_round(name, certificate)


if __name__ == "__main__":
    {"serve": serve, "ask": ask}[sys.argv[1]](*sys.argv[2:])
