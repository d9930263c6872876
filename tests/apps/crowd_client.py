"""Holds a part of a crowd of connections: `crowd_client.py PORT GROUP COUNT`.

Opens COUNT connections and asks once on each, then asks again on every hundredth for each line on stdin.
"""

import socket
import sys


def ask(connection, target):
    connection.sendall(b"GET %s HTTP/1.1\r\nHost: a\r\n\r\n" % target)
    if not connection.recv(100):
        raise SystemExit("the server has closed")


def main(port, group, count):
    connections = []
    for n in range(count):
        # One address has too few ports for so many.
        connections.append(socket.create_connection((f"127.0.{group}.{1 + n % 16}", port)))
        ask(connections[-1], b"/idle")
    print("done", flush=True)
    for _ in sys.stdin:
        for connection in connections[::100]:
            ask(connection, b"/again")
        print("done", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
