"""A FastAPI app whose answers say which route was matched. Its port is the last argument."""

import sys

import uvicorn
from fastapi import APIRouter, FastAPI, WebSocket
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

inner = APIRouter(prefix="/inner")
router = APIRouter(prefix="/shop/{lang}")


async def plain(request):
    return PlainTextResponse("ok")


def starlette_app():
    return Starlette(
        routes=[
            Route("/", plain),
            Route("/things/{thing:int}", plain),
            Mount("/deep", routes=[Route("/{rest:path}", plain)]),
        ]
    )


app = FastAPI()


@app.get("/users/{id:int}")
async def user(id: int):
    return id


@app.get("/users/me")
async def me():
    return "me"


@app.get("/users/{name}")
@app.post("/users/{name}")
async def named(name: str):
    return name


@router.get("/items/{item}")
def item(lang: str, item: int):
    return item


@inner.get("/{x}")
async def x(x: str):
    return x


router.include_router(inner)
app.include_router(router)
app.include_router(inner, prefix="/v2")
app.mount("/sub", starlette_app())


@app.get("/orders/{order:uuid}")
@app.get("/prices/{order:float}")
async def order(order):
    return str(order)


@app.websocket("/rooms/{room}")
async def room(socket: WebSocket, room: str):
    await socket.accept()
    await socket.close()


@app.get("/{rest:path}/end")
async def end(rest: str):
    return rest


class Tell:
    """What the router has put into the scope stands in the answer."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        async def tell(message):
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", "")
                message["headers"] = [*message["headers"], (b"x-route", route.encode())]
            await send(message)

        await self.app(scope, receive, tell)


if __name__ == "__main__":
    uvicorn.run(Tell(app), port=int(sys.argv[1]), access_log=False)
