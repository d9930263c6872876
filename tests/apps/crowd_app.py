"""Answers every request with the same few bytes, and keeps many connections, in four processes: `crowd_app.py PORT`."""

import asyncio
import os
import sys

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Crowd(asyncio.Protocol):
    __slots__ = ("transport",)

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(ANSWER)


async def main(port):
    server = await asyncio.get_running_loop().create_server(Crowd, "0.0.0.0", port, backlog=4096, reuse_port=True)
    await server.serve_forever()


if __name__ == "__main__":
    # A process may have 20,000 files open or fewer.
    for _ in range(2):
        os.fork()
    asyncio.run(main(int(sys.argv[1])))
