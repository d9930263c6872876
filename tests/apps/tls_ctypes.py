"""An HTTPS client that calls a TLS library by itself, without Python's `ssl`: `tls_ctypes.py FOLDER HOST:PORT COUNT [PROTOCOL]`.

The folder has the library and what it needs, as `auditwheel` names them. Offers the protocol by ALPN, if there is one. Prints
`ready`, waits for a line, sends its requests on one connection, and prints one JSON object a line for each: method, target,
status, start_ns, last_ns (CLOCK_MONOTONIC); then `done`.
"""

import ctypes
import glob
import json
import socket
import sys
import time

READ_BYTES = 65536


class Connection:
    def __init__(self, library, address, protocol):
        for name in ["TLS_client_method", "SSL_CTX_new", "SSL_new"]:
            getattr(library, name).restype = ctypes.c_void_p
        context = ctypes.c_void_p(library.SSL_CTX_new(ctypes.c_void_p(library.TLS_client_method())))
        if protocol:
            offer = bytes([len(protocol)]) + protocol.encode()
            assert library.SSL_CTX_set_alpn_protos(context, offer, len(offer)) == 0
        self.library = library
        self.tls = ctypes.c_void_p(library.SSL_new(context))
        self.socket = socket.create_connection(address)
        assert library.SSL_set_fd(self.tls, self.socket.fileno()) == 1
        assert library.SSL_connect(self.tls) == 1
        self.room = ctypes.create_string_buffer(READ_BYTES)

    def get(self, target):
        request = f"GET {target} HTTP/1.1\r\nHost: app.test\r\n\r\n".encode()
        assert self.library.SSL_write(self.tls, request, len(request)) == len(request)
        answer = self.more(b"", lambda answer: b"\r\n\r\n" in answer)
        head, body = answer.split(b"\r\n\r\n", 1)
        fields = dict(line.split(b": ", 1) for line in head.lower().split(b"\r\n")[1:])
        self.more(body, lambda body: len(body) >= int(fields[b"content-length"]))
        return int(head.split()[1])

    def more(self, answer, is_enough):
        while not is_enough(answer):
            length = self.library.SSL_read(self.tls, self.room, READ_BYTES)
            assert length > 0
            answer += self.room.raw[:length]
        return answer


def main(folder, address, count, protocol=None):
    for name in ["libcrypto", "libssl"]:
        library = ctypes.CDLL(glob.glob(f"{folder}/{name}-*.so.*")[0])
    host, port = address.split(":")
    print("ready", flush=True)
    sys.stdin.readline()
    connection = Connection(library, (host, int(port)), protocol)
    for n in range(int(count)):
        target = f"/items/{n}"
        start_ns = time.monotonic_ns()
        status = connection.get(target)
        told = {"method": "GET", "target": target, "status": status, "start_ns": start_ns, "last_ns": time.monotonic_ns()}
        print(json.dumps(told), flush=True)
    print("done", flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    main(*sys.argv[1:])
