"""A WebSocket client that keeps books: `websocket_client.py BASE SESSIONS [deflate]`. It begins at the first line on stdin.

Each session sends and receives texts, binary data in one piece and in fragments, and pings, then closes. One JSON
object a line for each: target, what was sent and received each way (frames, messages, payload bytes on the wire, bytes
on the wire), the close code, `least_us` from the handshake's end to the close's beginning, `most_us` from before the one
to behind the other. What is on the wire is counted below the protocol, where its bytes leave and arrive.
"""

import asyncio
import json
import random
import sys
import time

from websockets.asyncio.client import ClientConnection, connect
from websockets.frames import Frame


class Ledger(ClientConnection):
    """Counts the frames that the protocol makes and takes, after compression."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.ways = {"sent": [0, 0, 0], "received": [0, 0, 0]}
        self.wire = {"sent": 0, "received": 0}
        self.open_at = None

    def connection_made(self, transport):
        write = transport.write

        def counted(data):
            self.wire["sent"] += len(data)
            write(data)

        transport.write = counted
        super().connection_made(transport)

    def data_received(self, data):
        self.wire["received"] += len(data)
        super().data_received(data)


def count(ledger, way, frame, payload_bytes):
    numbers = ledger.ways[way]
    numbers[0] += 1
    numbers[1] += int(frame.fin and frame.opcode < 8)
    numbers[2] += payload_bytes


def watch_frames(ledger):
    """Wraps the reading and the writing of frames: what an extension makes of them is what is on the wire."""
    protocol = ledger.protocol
    extensions = protocol.extensions
    for extension in extensions:
        encode, decode = extension.encode, extension.decode

        def encoded(frame, encode=encode):
            made = encode(frame)
            made_frames.append(len(made.data))
            return made

        def decoded(frame, *, max_size=None, decode=decode):
            taken_frames.append(len(frame.data))
            return decode(frame, max_size=max_size)

        extension.encode, extension.decode = encoded, decoded
    made_frames, taken_frames = [], []
    send_frame, recv_frame = protocol.send_frame, protocol.recv_frame

    def sending(frame):
        made_frames.clear()
        send_frame(frame)
        count(ledger, "sent", frame, made_frames[-1] if made_frames else len(frame.data))

    def receiving(frame):
        count(ledger, "received", frame, taken_frames[-1] if taken_frames else len(frame.data))
        taken_frames.clear()
        recv_frame(frame)

    protocol.send_frame, protocol.recv_frame = sending, receiving


async def talk(base, number, compression):
    target = f"/echo/{number}"
    options = {"compression": compression, "create_connection": Ledger, "max_size": None, "ping_interval": None}
    before_handshake = time.monotonic()
    async with connect(base + target, **options) as connection:
        after_handshake = time.monotonic()
        watch_frames(connection)
        before = dict(connection.wire)
        rng = random.Random(number)
        for size in (0, 5, 125, 126, 3000, 65535, 65536, 200_000):
            data = rng.randbytes(size)
            await connection.send(data)
            assert await connection.recv() == data
        await connection.send(["frag", "ments ", "x" * 1000])
        assert len(await connection.recv()) == 1010
        await connection.send("ping me")
        assert await connection.recv() == "ping me"
        await (await connection.ping(b"are you there"))
        # Many in one go: each end reads hundreds of frames in one call.
        await asyncio.sleep(0.2)
        many = [f"many {index}" for index in range(1000)]
        for message in many:
            await connection.send(message)
        for message in many:
            assert await connection.recv() == message
        before_close = time.monotonic()
    after, after_close = connection.wire, time.monotonic()
    return {
        "target": target,
        "sent": connection.ways["sent"],
        "received": connection.ways["received"],
        "sent_bytes": after["sent"] - before["sent"],
        "received_bytes": after["received"] - before["received"],
        "close_code": connection.close_code,
        "least_us": (before_close - after_handshake) * 1e6,
        "most_us": (after_close - before_handshake) * 1e6,
    }


async def main(base, sessions, compression):
    started = time.monotonic()
    for book in await asyncio.gather(*(talk(base, number, compression) for number in range(sessions))):
        print(json.dumps(book))
    assert time.monotonic() - started < 60


sys.stdin.readline()
asyncio.run(main(sys.argv[1], int(sys.argv[2]), "deflate" if "deflate" in sys.argv[3:] else None))
