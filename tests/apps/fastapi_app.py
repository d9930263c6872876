"""The routes of the end to end tests in FastAPI, some async, some not. ASGI: `app`."""

import asyncio
import time
from uuid import UUID

import httpx
from fastapi import FastAPI, Request, Response, WebSocket, WebSocketDisconnect
from fastapi.responses import PlainTextResponse, StreamingResponse

app = FastAPI()


@app.get("/", response_class=PlainTextResponse)
@app.get("/fast", response_class=PlainTextResponse)
async def fast():
    return "ok"


@app.get("/slow", response_class=PlainTextResponse)
async def slow(ms: int = 100):
    await asyncio.sleep(ms / 1000)
    return "slow"


@app.get("/slow-sync", response_class=PlainTextResponse)
def slow_sync(ms: int = 100):
    time.sleep(ms / 1000)
    return "slow"


@app.get("/items/{item}")
def item(item: int):
    return {"item": item}


@app.get("/users/{user}/orders/{order}")
async def order(user: UUID, order: int):
    return {"user": str(user), "order": order}


@app.get("/boom")
async def boom():
    raise RuntimeError("boom")


@app.get("/stream")
async def stream(chunks: int = 3, size: int = 10, ms: int = 0):
    async def pieces():
        for _ in range(chunks):
            await asyncio.sleep(ms / 1000)
            yield b"x" * size

    return StreamingResponse(pieces(), media_type="text/plain")


@app.get("/big", response_class=PlainTextResponse)
def big(bytes: int = 100_000):
    return "x" * bytes


@app.post("/echo", response_class=PlainTextResponse)
async def echo(request: Request):
    return str(len(await request.body()))


@app.get("/call")
async def call(url: str):
    async with httpx.AsyncClient(timeout=10) as client:
        answer = await client.get(url)
    return {"status": answer.status_code, "length": len(answer.content)}


@app.get("/headers")
async def headers(request: Request):
    return dict(request.headers)


@app.get("/nocontent", status_code=204)
async def nocontent():
    return Response(status_code=204)


@app.get("/close")
async def close():
    async def pieces():
        yield b"a"
        yield b"b"

    return StreamingResponse(pieces(), headers={"Connection": "close"}, media_type="text/plain")


@app.get("/hang", response_class=PlainTextResponse)
async def hang():
    await asyncio.sleep(600)
    return "late"


@app.websocket("/echo/{number}")
async def socket_echo(socket: WebSocket, number: int):
    await socket.accept()
    try:
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                break
            if message.get("text") is not None:
                await socket.send_text(message["text"])
            else:
                await socket.send_bytes(message["bytes"])
    except WebSocketDisconnect:
        pass


@app.get("/events")
async def events(count: int = 5, ms: int = 20):
    async def pieces():
        for number in range(count):
            yield f"id: {number}\ndata: {'x' * 100}\n\n"
            await asyncio.sleep(ms / 1000)

    return StreamingResponse(pieces(), media_type="text/event-stream")
