"""Clients of the shop: traffic.py PORT SECONDS.

Every client opens its connection and makes one request before anything is measured; then `ready` is printed
and a line on standard input awaited. From there on every request is counted. At the end one line of JSON
says how many there were by path and status.
"""

import collections
import http.client
import json
import random
import sys
import threading
import time

port, seconds = int(sys.argv[1]), float(sys.argv[2])
go = threading.Event()
waiting = threading.Semaphore(0)
ledger = collections.Counter()
lock = threading.Lock()

KINDS = {
    "fast": lambda: ("GET", "/fast"),
    "slow": lambda: ("GET", "/slow"),
    "item": lambda: ("GET", f"/item/{random.randrange(10**6)}"),
    "order": lambda: ("POST", f"/order/{random.randrange(10**6)}"),
    "report": lambda: ("GET", "/report"),
    "broken": lambda: ("GET", "/broken"),
    "missing": lambda: ("GET", "/missing"),
}


def call(connection, kind, headers):
    method, path = KINDS[kind]()
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    answer.read()
    return answer.status


def client(kinds, pause, keep):
    """One user. Keeps its connection, or makes a new one for every counted request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    headers = {} if keep else {"Connection": "close"}
    call(connection, "fast", headers={})
    waiting.release()
    go.wait()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        kind = random.choice(kinds)
        status = call(connection, kind, headers)
        with lock:
            ledger[f"{kind} {status}"] += 1
        time.sleep(pause)
    connection.close()


users = [
    (["fast", "item"], 0.02, True),
    (["fast", "item", "order"], 0.05, True),
    (["order", "missing"], 0.1, False),
    (["slow", "report", "broken", "broken"], 0.1, True),
]
threads = [threading.Thread(target=client, args=user, daemon=True) for user in users]
for thread in threads:
    thread.start()
for _ in threads:
    if not waiting.acquire(timeout=30):
        sys.exit("traffic.py: the shop does not answer")
print("ready", flush=True)
sys.stdin.readline()
go.set()
for thread in threads:
    thread.join()
print(json.dumps(dict(sorted(ledger.items()))), flush=True)
