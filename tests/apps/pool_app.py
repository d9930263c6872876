"""An app that calls others over connections that it keeps. WSGI: `app`; ASGI: `asgi`."""

import httpx
import urllib3
from fastapi import FastAPI
from flask import Flask, jsonify, request

app = Flask(__name__)
asgi = FastAPI()

pool = urllib3.PoolManager(maxsize=64)
client = httpx.AsyncClient(timeout=30)


@app.get("/")
def alive():
    return "ok"


@app.get("/call")
def call():
    return jsonify(status=pool.request("GET", request.args["url"]).status)


@asgi.get("/")
async def alive_too():
    return "ok"


@asgi.get("/call")
async def call_too(url: str):
    return {"status": (await client.get(url)).status_code}
