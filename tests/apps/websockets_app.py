"""A WebSocket echo server on the `websockets` package: `websockets_app.py PORT`. `/echo/N` answers each message with
itself, `/feed?count=N&ms=M` sends N texts M milliseconds apart and closes with 4001, `/drop` cuts the connection."""

import asyncio
import sys
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import serve


async def handle(connection):
    url = urlsplit(connection.request.path)
    if url.path == "/feed":
        query = {key: int(values[0]) for key, values in parse_qs(url.query).items()}
        for number in range(query["count"]):
            await connection.send(f"{number}: " + "x" * 500)
            await asyncio.sleep(query["ms"] / 1000)
        await connection.close(4001, "that is all")
    elif url.path == "/drop":
        await connection.recv()
        connection.transport.abort()
    else:
        async for message in connection:
            if message == "ping me":
                await (await connection.ping())
            await connection.send(message)


async def main(port):
    async with serve(handle, "127.0.0.1", port, max_size=None, ping_interval=None):
        await asyncio.get_running_loop().create_future()


asyncio.run(main(int(sys.argv[1])))
