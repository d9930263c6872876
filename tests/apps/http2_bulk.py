"""Large bodies over HTTP/2 with httpx, four at once: `http2_bulk.py before|after URL COUNT BYTES [CERTIFICATE]`.

Waits for a line on stdin before it asks, with connections that it opens after that or has opened before. Half of the requests are sent so many bytes, all on one connection, the others
send as many, each on its own. One JSON object a line for each: method, target, status, request_bytes, response_bytes, start_ns, last_ns. Bytes are counted from
the frames in clear text, by a reader of frames that knows nothing of the library that wrote them.
"""

import asyncio
import json
import ssl
import sys
import time

import httpcore
import httpx

AT_ONCE = 4
PREFACE = len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
# The kinds of frames that belong to a message: DATA, HEADERS, CONTINUATION.
COUNTED = (0, 1, 9)


class Wire:
    """Counts the bytes of messages by stream, as they pass."""

    def __init__(self, skip):
        self.left, self.header, self.bytes = skip, b"", {}

    def feed(self, data):
        at = 0
        while at < len(data):
            if self.left:
                step = min(self.left, len(data) - at)
                self.left, at = self.left - step, at + step
                continue
            step = min(9 - len(self.header), len(data) - at)
            self.header, at = self.header + data[at : at + step], at + step
            if len(self.header) == 9:
                self.left = int.from_bytes(self.header[:3], "big")
                kind, stream = self.header[3], int.from_bytes(self.header[5:9], "big")
                if kind in COUNTED:
                    self.bytes[stream] = self.bytes.get(stream, 0) + 9 + self.left
                self.header = b""


class Counted(httpcore.AsyncNetworkStream):
    """A connection whose clear text is counted."""

    def __init__(self, stream, backend):
        self.stream, self.backend = stream, backend

    async def read(self, max_bytes, timeout=None):
        data = await self.stream.read(max_bytes, timeout)
        self.backend.received.feed(data)
        return data

    async def write(self, buffer, timeout=None):
        self.backend.sent.feed(buffer)
        await self.stream.write(buffer, timeout)

    async def start_tls(self, ssl_context, server_hostname=None, timeout=None):
        return Counted(await self.stream.start_tls(ssl_context, server_hostname, timeout), self.backend)

    def get_extra_info(self, info):
        return self.stream.get_extra_info(info)

    async def aclose(self):
        await self.stream.aclose()


class Backend(httpcore.AsyncNetworkBackend):
    """For one connection."""

    def __init__(self):
        self.sent, self.received = Wire(PREFACE), Wire(0)

    async def connect_tcp(self, host, port, **options):
        return Counted(await httpcore.AnyIOBackend().connect_tcp(host, port, **options), self)


class Caller:
    """A client with one connection."""

    def __init__(self, base, certificate):
        trusted = ssl.create_default_context(cafile=certificate) if certificate else None
        self.base, self.backend = base, Backend()
        transport = httpx.AsyncHTTPTransport(http1=False, http2=True)
        transport._pool = httpcore.AsyncConnectionPool(
            ssl_context=trusted, http1=False, http2=True, max_connections=1, network_backend=self.backend
        )
        self.client = httpx.AsyncClient(transport=transport, timeout=60)

    async def ask(self, method, target, content=None):
        start_ns = time.monotonic_ns()
        response = await self.client.request(method, self.base + target, content=content)
        entry = {"method": method, "target": target, "status": response.status_code}
        entry |= {"start_ns": start_ns, "last_ns": time.monotonic_ns()}
        stream, sent, received = response.extensions["stream_id"], self.backend.sent, self.backend.received
        entry |= {"request_bytes": sent.bytes[stream], "response_bytes": received.bytes[stream]}
        print(json.dumps(entry))
        return response


async def fresh(base, count, size, at_once, certificate):
    """Every connection is opened now."""
    shared = Caller(base, certificate)
    # So that the others find a connection.
    await shared.ask("GET", "/fast")
    await load(count, size, at_once, shared, lambda: Caller(base, certificate))


async def held(base, count, size, at_once, certificate):
    """Every connection is open before the word comes, and has been asked on; another word comes when it was asked on again."""
    callers = [Caller(base, certificate) for _ in range(1 + count // 2)]
    for caller in callers:
        await caller.client.get(base + "/fast")
    print("open")
    sys.stdin.readline()
    # Not the path from before, which the header block would only refer to.
    for number, caller in enumerate(callers):
        await caller.ask("GET", f"/fast?early={number}")
    sys.stdin.readline()
    await load(count, size, at_once, callers.pop(), callers.pop)


async def load(count, size, at_once, shared, next_caller):
    async def fetch(number):
        async with at_once:
            response = await shared.ask("GET", f"/big?bytes={size}&n={number}")
        assert len(response.content) == size

    async def send(number):
        async with at_once:
            caller = next_caller()
            response = await caller.ask("POST", f"/echo?n={number}", b"x" * size)
            await caller.client.aclose()
        assert response.text == str(size)

    # httpcore stands still where a connection is full both ways, so bodies are sent on others.
    await asyncio.gather(*map(fetch, range(count // 2)), *map(send, range(count // 2)))
    await shared.client.aclose()


async def main(since, base, count, size, certificate=None):
    begin = held if since == "before" else fresh
    await begin(base, int(count), int(size), asyncio.Semaphore(AT_ONCE), certificate)


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    if sys.argv[1] == "after":
        sys.stdin.readline()
    asyncio.run(main(*sys.argv[1:]))
