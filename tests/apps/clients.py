"""Real Python clients that keep books: `clients.py requests|urllib3|httpx URL COUNT`.

One JSON object a line for each request: method, target, status, body_bytes, start_ns, last_ns (CLOCK_MONOTONIC).
"""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor

ROUTES = [
    ("GET", "/fast?n={}"),
    ("GET", "/items/{}"),
    ("GET", "/big?bytes=70000&n={}"),
    ("GET", "/stream?chunks=3&size=1000&ms=2&n={}"),
    ("GET", "/missing?n={}"),
    ("POST", "/echo?n={}"),
    ("GET", "/nocontent?n={}"),
    ("HEAD", "/fast?n={}"),
    ("GET", "/boom?n={}"),
]


def open_client(kind):
    if kind == "requests":
        import requests

        session = requests.Session()
        return lambda method, url, body, headers: read(
            session.request(method, url, data=body, headers=headers, timeout=30), "content"
        )
    if kind == "urllib3":
        import urllib3

        pool = urllib3.PoolManager(maxsize=4, block=True, retries=False)
        return lambda method, url, body, headers: read(
            pool.request(method, url, body=body, headers=headers, timeout=30), "data"
        )
    import httpx

    client = httpx.Client(timeout=30)
    return lambda method, url, body, headers: read(
        client.request(method, url, content=body, headers=headers), "content"
    )


def read(response, name):
    status = getattr(response, "status_code", None) or response.status
    return status, len(getattr(response, name))


def main(kind, base, count):
    ask = open_client(kind)

    def run(index):
        method, target = ROUTES[index % len(ROUTES)]
        target = target.format(index)
        body = b"x" * 5000 if method == "POST" else None
        # uvicorn closes after an unhandled exception without saying so, and may hit the next request.
        headers = {"Connection": "close"} if target.startswith("/boom") else {}
        start_ns = time.monotonic_ns()
        status, body_bytes = ask(method, base + target, body, headers)
        last_ns = time.monotonic_ns()
        return {
            "method": method,
            "target": target,
            "status": status,
            "body_bytes": body_bytes,
            "start_ns": start_ns,
            "last_ns": last_ns,
        }

    with ThreadPoolExecutor(4 if kind == "urllib3" else 1) as pool:
        for entry in pool.map(run, range(count)):
            print(json.dumps(entry))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
