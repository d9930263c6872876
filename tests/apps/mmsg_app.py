"""A server that moves bytes with sendmmsg and recvmmsg: `mmsg_app.py PORT`.

GET /one and /two are answered by one sendmmsg with so many messages, GET /plain by send. After a request whose target
ends in `next=several`, the next one is read by one recvmmsg that has room for two messages.
"""

import ctypes
import socket
import sys

LIBC = ctypes.CDLL(None, use_errno=True)
MSG_WAITFORONE = 0x10000


class Segment(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


class Header(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint),
        ("segments", ctypes.POINTER(Segment)),
        ("segment_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    ]


class Message(ctypes.Structure):
    _fields_ = [("header", Header), ("moved", ctypes.c_uint)]


def messages(buffers):
    segments = [Segment(ctypes.cast(buffer, ctypes.c_void_p), size) for buffer, size in buffers]
    return (Message * len(segments))(*[
        Message(Header(segments=ctypes.pointer(segment), segment_count=1)) for segment in segments
    ])


def send_several(connection, parts):
    buffers = [(ctypes.create_string_buffer(part, len(part)), len(part)) for part in parts]
    several = messages(buffers)
    sent = LIBC.sendmmsg(connection.fileno(), several, len(parts), 0)
    assert sent == len(parts), ctypes.get_errno()


def receive_several(connection):
    buffers = [(ctypes.create_string_buffer(4096), 4096) for _ in range(2)]
    several = messages(buffers)
    count = LIBC.recvmmsg(connection.fileno(), several, 2, MSG_WAITFORONE, None)
    return b"".join(buffer.raw[: message.moved] for (buffer, _), message in zip(buffers, several[: max(count, 0)]))


def serve(connection):
    receive = lambda: connection.recv(4096)
    while request := receive():
        target = request.split()[1]
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"
        if target.startswith(b"/two"):
            send_several(connection, [head, b"body"])
        elif target.startswith(b"/one"):
            send_several(connection, [head + b"body"])
        else:
            connection.send(head + b"body")
        several = target.endswith(b"next=several")
        receive = (lambda: receive_several(connection)) if several else (lambda: connection.recv(4096))


if __name__ == "__main__":
    with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as listener:
        while True:
            with listener.accept()[0] as accepted:
                serve(accepted)
