"""The routes of the end to end tests in Flask. WSGI: `app`."""

import subprocess
import sys
import time

import requests
from flask import Flask, Response, jsonify, request

app = Flask(__name__)


@app.get("/")
@app.get("/fast")
def fast():
    return "ok"


@app.get("/slow")
def slow():
    time.sleep(request.args.get("ms", 100, int) / 1000)
    return "slow"


@app.get("/items/<int:item>")
def item(item):
    return jsonify(item=item)


@app.get("/users/<uuid:user>/orders/<int:order>")
def order(user, order):
    return jsonify(user=str(user), order=order)


@app.get("/boom")
def boom():
    raise RuntimeError("boom")


@app.get("/stream")
def stream():
    chunks = request.args.get("chunks", 3, int)
    size = request.args.get("size", 10, int)
    pause = request.args.get("ms", 0, int) / 1000

    def pieces():
        for _ in range(chunks):
            time.sleep(pause)
            yield b"x" * size

    return Response(pieces(), mimetype="text/plain")


@app.get("/big")
def big():
    return Response(b"x" * request.args.get("bytes", 100_000, int), mimetype="text/plain")


@app.post("/echo")
def echo():
    return str(len(request.get_data()))


@app.get("/call")
def call():
    answer = requests.get(request.args["url"], timeout=request.args.get("timeout", 10, float))
    return jsonify(status=answer.status_code, length=len(answer.content))


@app.get("/spawn")
def spawn():
    fetch = "import sys, urllib.request; urllib.request.urlopen(sys.argv[1]).read()"
    programs = {"python": [sys.executable, "-c", fetch], "curl": ["curl", "-sS", "-o", "/dev/null"]}
    command = [*programs[request.args["program"]], request.args["url"]]
    return str(subprocess.run(command, timeout=30, check=False).returncode)


@app.get("/headers")
def headers():
    return jsonify({name.lower(): value for name, value in request.headers.items()})


@app.get("/nocontent")
def nocontent():
    return "", 204


@app.get("/close")
def close():
    return Response(iter([b"a", b"b"]), headers={"Connection": "close"}, mimetype="text/plain")


@app.get("/hang")
def hang():
    time.sleep(600)
    return "late"
