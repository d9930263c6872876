"""HTTP/2 clients in clear text that keep books: `http2_client.py h2|httpx|warm URL COUNT`.

Waits for a line on stdin before it asks (`warm`: after the first request, on the same connection). One JSON object a
line for each request: method, target, status, request_bytes, response_bytes, start_ns, last_ns. Bytes are counted from
the frames on the wire, by a reader of frames that knows nothing of the library that wrote them; `httpx` counts none.
"""

import json
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

AT_ONCE = 50
ROUTES = [
    ("GET", "/fast?n={}"),
    ("GET", "/items/{}"),
    ("GET", "/big?bytes=100000&n={}"),
    ("GET", "/stream?chunks=3&size=1000&ms=2&n={}"),
    ("GET", "/missing?n={}"),
    ("POST", "/echo?n={}"),
    ("GET", "/nocontent?n={}"),
    ("GET", "/slow?ms=20&n={}"),
]


class Wire:
    """Counts the bytes of HEADERS, CONTINUATION and DATA frames by stream."""

    def __init__(self, skip):
        self.skip, self.buffer, self.bytes = skip, b"", {}

    def feed(self, data):
        self.buffer += data
        cut = min(self.skip, len(self.buffer))
        self.skip, self.buffer = self.skip - cut, self.buffer[cut:]
        while len(self.buffer) >= 9:
            size = 9 + int.from_bytes(self.buffer[:3], "big")
            if len(self.buffer) < size:
                return
            kind, stream = self.buffer[3], int.from_bytes(self.buffer[5:9], "big")
            if kind in (0, 1, 9):
                self.bytes[stream] = self.bytes.get(stream, 0) + size
            self.buffer = self.buffer[size:]


class Client:
    def __init__(self, base):
        import h2.config
        import h2.connection

        self.authority = urlsplit(base).netloc
        host, port = self.authority.split(":")
        self.socket = socket.create_connection((host, int(port)))
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.sent, self.received = Wire(len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")), Wire(0)
        self.open = {}
        self.h2.initiate_connection()
        self.flush()

    def flush(self):
        data = self.h2.data_to_send()
        self.sent.feed(data)
        self.socket.sendall(data)

    def begin(self, method, target):
        stream = self.h2.get_next_available_stream_id()
        body = b"x" * 5000 if method == "POST" else None
        headers = [(":method", method), (":scheme", "http"), (":authority", self.authority), (":path", target)]
        headers += [("user-agent", "books/1"), ("x-number", str(stream))]
        self.open[stream] = {"method": method, "target": target, "status": None, "start_ns": time.monotonic_ns()}
        self.h2.send_headers(stream, headers, end_stream=body is None)
        if body is not None:
            self.h2.send_data(stream, body, end_stream=True)
        self.flush()

    def finish_one(self):
        """Reads until a response is complete, and tells it."""
        import h2.events

        while True:
            done = None
            for event in self.h2.receive_data(self.read()):
                if isinstance(event, h2.events.ResponseReceived):
                    self.open[event.stream_id]["status"] = int(dict(event.headers)[":status"])
                elif isinstance(event, h2.events.DataReceived):
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2.events.StreamEnded):
                    done = event.stream_id
                    entry = self.open.pop(done)
                    entry["last_ns"] = time.monotonic_ns()
                    entry["request_bytes"] = self.sent.bytes.pop(done)
                    entry["response_bytes"] = self.received.bytes.pop(done)
                    print(json.dumps(entry), flush=True)
            self.flush()
            if done is not None:
                return

    def read(self):
        data = self.socket.recv(65536)
        if not data:
            sys.exit("the server has closed")
        self.received.feed(data)
        return data


def wanted(count):
    for number in range(count):
        method, target = ROUTES[number % len(ROUTES)]
        yield method, target.format(number)


def ask_with_h2(base, count):
    client = Client(base)
    for method, target in wanted(count):
        if len(client.open) >= AT_ONCE:
            client.finish_one()
        client.begin(method, target)
    while client.open:
        client.finish_one()


def ask_warm(base, count):
    """The same target before the word and after it, then others."""
    client = Client(base)
    client.begin("GET", "/fast?n=warm")
    client.finish_one()
    sys.stdin.readline()
    targets = ["/fast?n=warm", *(f"/items/{number}" for number in range(count))]
    for target in targets:
        client.begin("GET", target)
        client.finish_one()


def ask_with_httpx(base, count):
    import httpx

    with httpx.Client(http1=False, http2=True, timeout=30) as client:

        def ask(request):
            method, target = request
            start_ns = time.monotonic_ns()
            content = b"x" * 5000 if method == "POST" else None
            response = client.request(method, base + target, content=content)
            entry = {"method": method, "target": target, "status": response.status_code, "start_ns": start_ns}
            entry |= {"last_ns": time.monotonic_ns(), "request_bytes": 0, "response_bytes": 0}
            return json.dumps(entry)

        with ThreadPoolExecutor(8) as pool:
            for line in pool.map(ask, wanted(count)):
                print(line)


if __name__ == "__main__":
    kind, base, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    if kind == "warm":
        ask_warm(base, count)
    else:
        sys.stdin.readline()
        {"h2": ask_with_h2, "httpx": ask_with_httpx}[kind](base, count)
