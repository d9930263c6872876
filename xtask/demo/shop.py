"""An ordinary Flask app: it knows nothing of the probe, and nothing in it is there for the probe."""

import json
import os
import time
import urllib.request

from flask import Flask, Response, jsonify

app = Flask(__name__)
STOCK_URL = os.environ["STOCK_URL"]


@app.get("/fast")
def fast():
    return "ok\n"


@app.get("/slow")
def slow():
    time.sleep(0.2)
    return "at last\n"


@app.get("/item/<int:number>")
def item(number):
    return jsonify(number=number, name=f"item {number}")


@app.post("/order/<int:number>")
def order(number):
    # A call to another service while serving a request.
    with urllib.request.urlopen(f"{STOCK_URL}/stock/{number}", timeout=5) as answer:
        stock = json.load(answer)
    return jsonify(number=number, left=stock["left"]), 201


@app.get("/report")
def report():
    def rows():
        for number in range(20):
            yield f"row {number}\n"
            time.sleep(0.01)

    return Response(rows(), mimetype="text/plain")


@app.get("/broken")
def broken():
    raise RuntimeError("a fault, on purpose")
