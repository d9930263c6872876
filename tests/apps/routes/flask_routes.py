"""A Flask app whose answers say which rule was matched. Its port is the last argument."""

import sys
from wsgiref.simple_server import make_server

from flask import Blueprint, Flask, abort, request
from wsgi_server import Handler, Server

app = Flask(__name__)
shop = Blueprint("shop", __name__, url_prefix="/shop/<lang>")


def answer(**values):
    return repr(values)


for name, rule, methods in [
    ("root", "/", ["GET"]),
    ("user", "/users/<int:id>", ["GET", "DELETE"]),
    ("me", "/users/me", ["GET"]),
    ("named", "/users/<name>", ["GET"]),
    ("posts", "/users/<int:id>/posts/<uuid:post>/", ["GET"]),
    ("price", "/prices/<float:price>", ["GET"]),
    ("file", "/files/<path:file>", ["GET", "PUT"]),
    ("version", "/v<int:version>/ping", ["GET"]),
    ("lang", "/lang/<any(de, en):lang>", ["GET"]),
    ("short", "/short/<string(length=2):code>", ["GET"]),
]:
    app.add_url_rule(rule, name, answer, methods=methods)


@app.get("/missing/<int:id>")
def missing(id):
    abort(404)


@shop.get("/items/<int:item>")
def item(lang, item):
    return answer(lang=lang, item=item)


app.register_blueprint(shop)


@app.after_request
def tell(response):
    response.headers["X-Route"] = request.url_rule.rule if request.url_rule else ""
    return response


if __name__ == "__main__":
    make_server("127.0.0.1", int(sys.argv[1]), app, Server, Handler).serve_forever()
