"""An app of which each request calls another server three times at once, with FastAPI and the standard library alone."""

import asyncio
from urllib.parse import urlsplit
from urllib.request import urlopen

from fastapi import FastAPI, Response
from starlette.concurrency import run_in_threadpool

app = FastAPI()


async def fetch(url):
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(f"GET {parts.path}?{parts.query} HTTP/1.1\r\nHost: leaf\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\nok")
    writer.close()


def fetch_in_a_thread(url):
    with urlopen(url) as answer:
        answer.read()


@app.get("/fan")
async def fan(n: str, leaf: str):
    first, second, third = [f"{leaf}/leaf?n={n}&k={k}" for k in range(3)]
    await asyncio.gather(fetch(first), fetch(second), run_in_threadpool(fetch_in_a_thread, third))
    return Response(b"ok", media_type="text/plain")
