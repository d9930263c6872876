"""Apps that a function makes and that no module holds: `factory_routes.py flask|fastapi PORT`. Answers say their rules."""

import sys


def create_flask():
    from flask import Blueprint, Flask, request

    app = Flask(__name__)
    shop = Blueprint("shop", __name__, url_prefix="/shop/<lang>")
    app.add_url_rule("/users/<int:id>", "user", lambda id: str(id))
    shop.add_url_rule("/items/<int:item>", "item", lambda lang, item: lang)
    app.register_blueprint(shop)

    @app.after_request
    def tell(response):
        response.headers["X-Route"] = request.url_rule.rule if request.url_rule else ""
        return response

    return app


def create_fastapi():
    from fastapi import APIRouter, FastAPI

    app, shop = FastAPI(), APIRouter(prefix="/shop/{lang}")

    @app.get("/users/{id:int}")
    async def user(id: int):
        return id

    @shop.get("/items/{item}")
    async def item(lang: str, item: str):
        return lang

    app.include_router(shop)

    async def serve_and_tell(scope, receive, send):
        async def tell(message):
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", "")
                message["headers"] = [*message["headers"], (b"x-route", route.encode())]
            await send(message)

        await app(scope, receive, tell)

    return serve_and_tell


def serve(framework, port):
    if framework == "flask":
        from wsgiref.simple_server import make_server

        from wsgi_server import Handler, Server

        make_server("127.0.0.1", port, create_flask(), Server, Handler).serve_forever()
    else:
        import uvicorn

        uvicorn.run(create_fastapi(), port=port, access_log=False)


serve(sys.argv[1], int(sys.argv[2]))
