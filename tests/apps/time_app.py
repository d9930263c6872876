"""Requests that spend their time in known ways. WSGI: `wsgi` (Flask), ASGI: `asgi` (FastAPI)."""

import asyncio
import time

import requests
from fastapi import FastAPI
from flask import Flask, request

wsgi = Flask(__name__)
asgi = FastAPI()


def burn(ms):
    end_ns = time.thread_time_ns() + ms * 1_000_000
    while time.thread_time_ns() < end_ns:
        pass


@wsgi.get("/spend")
def spend():
    burn(request.args.get("cpu", 0, int))
    time.sleep(request.args.get("sleep", 0, int) / 1000)
    for _ in range(request.args.get("calls", 0, int)):
        requests.get(request.args["url"], timeout=10)
    return "spent"


@asgi.get("/spend")
async def spend_in_loop(cpu: int = 0, sleep: int = 0):
    burn(cpu)
    await asyncio.sleep(sleep / 1000)
    return "spent"


@asgi.get("/block")
async def block(ms: int):
    time.sleep(ms / 1000)
    return "blocked"
