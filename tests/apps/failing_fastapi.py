"""Failures in FastAPI and Starlette. ASGI: `app`; `streams`, where an answer has begun, and no middleware ends it."""

import asyncio

from failures import fail
from fastapi import BackgroundTasks, FastAPI, Response
from fastapi.responses import StreamingResponse

app = FastAPI()
streams = FastAPI()


@app.middleware("http")
async def middleware(request, call_next):
    return await call_next(request)


@app.get("/fail/{case}")
async def view(case):
    await asyncio.sleep(0)
    return Response(fail(case), 503 if case == "explicit" else 200)


@app.get("/sync/{case}")
def sync(case):
    return Response(fail(case), 503 if case == "explicit" else 200)


@app.get("/pool/{case}")
async def pooled(case):
    return await asyncio.get_running_loop().run_in_executor(None, fail, case)


@app.get("/task/{case}")
async def task(case):
    async def child():
        await asyncio.sleep(0)
        return fail(case)

    return await asyncio.gather(asyncio.create_task(child()))


@app.get("/crowd/{many}")
async def crowd(many: int):
    async def child():
        try:
            fail("nested")
        except KeyError:
            await asyncio.sleep(0)

    await asyncio.gather(*(child() for _ in range(many)))


@streams.get("/stream/{case}")
async def stream(case):
    async def parts():
        yield "begun"
        yield fail(case)

    return StreamingResponse(parts())


@app.get("/background/{case}")
async def background(case, tasks: BackgroundTasks):
    tasks.add_task(fail, case)
    return "fine"
