"""HTTPS clients that are watched: `tls_clients.py requests|urllib3|httpx|http2|aiohttp|streams|pieces URL CERTIFICATE COUNT`.

Prints `ready`, waits for a line, sends its requests, and prints one JSON object a line for each: method, target,
status, body_bytes, start_ns, last_ns (CLOCK_MONOTONIC), and local, its address, where it knows it.
"""

import asyncio
import json
import ssl
import sys
import time

CONNECTIONS = 50


def entry(target, status, body_bytes, start_ns, local=None):
    return {
        "method": "GET",
        "target": target,
        "status": status,
        "body_bytes": body_bytes,
        "start_ns": start_ns,
        "last_ns": time.monotonic_ns(),
        "local": local,
    }


def targets(count):
    for n in range(count):
        yield [f"/items/{n}", f"/big?bytes=70000&n={n}", f"/missing?n={n}", f"/stream?chunks=3&size=1000&n={n}"][n % 4]


def blocking(kind, base, certificate, count):
    if kind == "requests":
        import requests

        session = requests.Session()
        # Of the session's own setting the environment may know better.
        ask = lambda url: session.get(url, timeout=30, verify=certificate)
        read = lambda answer: (answer.status_code, len(answer.content))
    elif kind == "urllib3":
        import urllib3

        pool = urllib3.PoolManager(ca_certs=certificate, retries=False)
        ask = lambda url: pool.request("GET", url, timeout=30)
        read = lambda answer: (answer.status, len(answer.data))
    else:
        import httpx

        context = ssl.create_default_context(cafile=certificate)
        client = httpx.Client(verify=context, timeout=30, http1=kind == "httpx", http2=kind == "http2")
        ask = client.get
        read = lambda answer: (answer.status_code, len(answer.content))
    wait()
    for target in targets(count):
        start_ns = time.monotonic_ns()
        status, length = read(ask(base + target))
        yield entry(target, status, length, start_ns)


async def with_aiohttp(base, certificate, count):
    import aiohttp

    connector = aiohttp.TCPConnector(limit=8, ssl=ssl.create_default_context(cafile=certificate))
    async with aiohttp.ClientSession(connector=connector) as session:
        wait()

        async def ask(target):
            start_ns = time.monotonic_ns()
            async with session.get(base + target) as answer:
                body = await answer.read()
                return entry(target, answer.status, len(body), start_ns)

        return await asyncio.gather(*map(ask, targets(count)))


async def with_streams(base, certificate, count):
    """All connections at once on one thread, each with its own targets, in turns with the others."""
    host, port = base.removeprefix("https://").split(":")
    context = ssl.create_default_context(cafile=certificate)
    wait()

    async def connection(number):
        reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
        local = "%s:%d" % writer.get_extra_info("sockname")[:2]
        entries = []
        for n in range(count):
            target = f"/items/{number * 1000 + n}"
            start_ns = time.monotonic_ns()
            writer.write(f"GET {target} HTTP/1.1\r\nHost: app.test\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            status = int(head.split()[1])
            fields = dict(line.split(b": ", 1) for line in head.lower().split(b"\r\n")[1:-2])
            body = await reader.readexactly(int(fields[b"content-length"]))
            entries.append(entry(target, status, len(body), start_ns, local))
        writer.close()
        return entries

    lists = await asyncio.gather(*map(connection, range(CONNECTIONS)))
    return [entry for entries in lists for entry in entries]


class Pieces:
    """A connection whose records arrive in two pieces, so that the server reads in vain in between."""

    def __init__(self, context, host, streams):
        self.reader, self.writer = streams
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=host)
        self.unread = b""

    async def until_done(self, step):
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                self.writer.write(self.outgoing.read())
                received = await self.reader.read(65536)
                if not received:
                    raise EOFError("the server hung up") from None
                self.incoming.write(received)

    async def send(self, clear):
        self.tls.write(clear)
        encrypted = self.outgoing.read()
        self.writer.write(encrypted[: len(encrypted) // 2])
        await asyncio.sleep(0.002)
        self.writer.write(encrypted[len(encrypted) // 2 :])

    async def receive(self, is_enough):
        while not is_enough(self.unread):
            self.unread += await self.until_done(lambda: self.tls.read(65536))

    async def get(self, target):
        start_ns = time.monotonic_ns()
        await self.send(f"GET {target} HTTP/1.1\r\nHost: app.test\r\n\r\n".encode())
        await self.receive(lambda unread: b"\r\n\r\n" in unread)
        head, self.unread = self.unread.split(b"\r\n\r\n", 1)
        fields = dict(line.split(b": ", 1) for line in head.lower().split(b"\r\n")[1:])
        length = int(fields[b"content-length"])
        await self.receive(lambda unread: len(unread) >= length)
        self.unread = self.unread[length:]
        local = "%s:%d" % self.writer.get_extra_info("sockname")[:2]
        return entry(target, int(head.split()[1]), length, start_ns, local)


async def with_pieces(base, certificate, count):
    """As `with_streams`, on connections that were open before."""
    host, port = base.removeprefix("https://").split(":")
    context = ssl.create_default_context(cafile=certificate)
    connections = []
    for _ in range(CONNECTIONS):
        pieces = Pieces(context, host, await asyncio.open_connection(host, int(port)))
        await pieces.until_done(pieces.tls.do_handshake)
        await pieces.get("/items/0")
        connections.append(pieces)
    wait()

    async def ask(number, pieces):
        return [await pieces.get(f"/items/{number * 1000 + n}") for n in range(count)]

    lists = await asyncio.gather(*(ask(number, pieces) for number, pieces in enumerate(connections)))
    return [entry for entries in lists for entry in entries]


def wait():
    print("ready", flush=True)
    sys.stdin.readline()


def main(kind, base, certificate, count):
    if kind == "aiohttp":
        entries = asyncio.run(with_aiohttp(base, certificate, count))
    elif kind == "streams":
        entries = asyncio.run(with_streams(base, certificate, count))
    elif kind == "pieces":
        entries = asyncio.run(with_pieces(base, certificate, count))
    else:
        entries = blocking(kind, base, certificate, count)
    for found in list(entries):
        print(json.dumps(found))
    # Until the books are closed, so that the end of the process is not what ends anything.
    print("done", flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
