"""Both ends of TCP connections that say what they are told to: `script_app.py`.

Reads one script a line: a JSON list of steps, each `[end, what, ...]`, where `end` is `client` or `server`:
`[end, "says", hex, times]` writes the bytes so many times over, in calls of at most 64 KiB, while the other end reads;
`[end, "random", bytes]` writes bytes that no protocol begins with, the same each time; `[end, "leaves", hex]` writes a few bytes that the
other end does not read by now; `[end, "shuts"]` shuts both directions down; `[end, "reads", bytes]` reads so many; `[end,
"closes"]`, `[end, "resets"]`, `[end, "waits", seconds]`. Prints `done` when a script is over and its connection closed.
"""

import json
import random
import select
import socket
import struct
import sys
import time

PIECE = 65536


def connection():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    for end in (client, server):
        end.setblocking(False)
    return {"client": client, "server": server}


def pass_on(writer, reader, data):
    """Writes all of it, and reads all of it."""
    sent = received = 0
    view = memoryview(data)
    while received < len(data):
        wanted = [writer] if sent < len(data) else []
        readable, writable, _ = select.select([reader], wanted, [], 30)
        if not readable and not writable:
            sys.exit("nothing moves")
        if writable:
            sent += writer.send(view[sent : sent + PIECE])
        if readable:
            received += len(reader.recv(PIECE))


def play(script):
    ends = connection()
    for end, what, *how in script:
        own, other = ends[end], ends["server" if end == "client" else "client"]
        if what == "says":
            pass_on(own, other, bytes.fromhex(how[0]) * how[1])
        elif what == "random":
            pass_on(own, other, b"\x00\xff" + random.Random(7).randbytes(how[0]))
        elif what == "leaves":
            length = own.send(bytes.fromhex(how[0]))
            while select.select([other], [], []) and len(other.recv(PIECE, socket.MSG_PEEK)) < length:
                pass
        elif what == "shuts":
            own.shutdown(socket.SHUT_RDWR)
        elif what == "reads":
            assert len(own.recv(PIECE)) == how[0]
        elif what == "waits":
            time.sleep(how[0])
        elif what == "resets":
            own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            own.close()
        else:
            own.close()
    for end in ends.values():
        end.close()


for line in sys.stdin:
    play(json.loads(line))
    print("done", flush=True)
