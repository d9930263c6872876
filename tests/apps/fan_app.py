"""An app of which each request calls another server three times at once, with FastAPI and the standard library alone."""

import asyncio
from urllib.request import urlopen

from fastapi import FastAPI, Response
from starlette.concurrency import run_in_threadpool
from stream_client import fetch_with_streams

app = FastAPI()


def fetch_in_a_thread(url):
    with urlopen(url) as answer:
        answer.read()


@app.get("/fan")
async def fan(n: str, leaf: str):
    first, second, third = [f"{leaf}/leaf?n={n}&k={k}" for k in range(3)]
    await asyncio.gather(fetch_with_streams(first), fetch_with_streams(second), run_in_threadpool(fetch_in_a_thread, third))
    return Response(b"ok", media_type="text/plain")
