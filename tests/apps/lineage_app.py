"""Apps of which each request calls another server three times, in several ways.

ASGI: `asgi`, `layered` (behind middleware with tasks of its own), `handed_over` (whose answers are sent by tasks made for that)
and `django`; WSGI: `wsgi`; run with `aiohttp PORT`, `tornado PORT` or `threads PORT` it serves by itself.
"""

import asyncio
import contextvars
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

import aiohttp
import httpx
import requests
import urllib3
from aiohttp import web
from asgiref.sync import async_to_sync
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpResponse
from django.urls import path
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from flask import Flask
from flask import request as flask_request
from starlette.middleware.base import BaseHTTPMiddleware
from stream_client import fetch_with_streams
from tornado.web import Application, RequestHandler

settings.configure(
    ALLOWED_HOSTS=["*"],
    DATA_UPLOAD_MAX_MEMORY_SIZE=1 << 24,
    DEBUG=False,
    LOGGING_CONFIG=None,
    MIDDLEWARE=[],
    ROOT_URLCONF=__name__,
    SECRET_KEY="only for tests",
)

asgi = FastAPI()
layered = FastAPI()
wsgi = Flask(__name__)
django = get_asgi_application()
pool = ThreadPoolExecutor(32)

limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
httpx_client = httpx.AsyncClient(limits=limits, timeout=60)
urllib3_pool = urllib3.PoolManager(maxsize=1000, timeout=60)
aiohttp_sessions = []


async def fetch_with_httpx(url):
    (await httpx_client.get(url)).raise_for_status()


async def fetch_with_aiohttp(url):
    if not aiohttp_sessions:
        aiohttp_sessions.append(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
    async with aiohttp_sessions[0].get(url) as answer:
        await answer.read()


def fetch_with_requests(url):
    requests.get(url, timeout=60).raise_for_status()


def fetch_with_urllib3(url):
    urllib3_pool.request("GET", url)


TASKS = {"httpx": fetch_with_httpx, "aiohttp": fetch_with_aiohttp, "streams": fetch_with_streams}
CALLS = {"requests": fetch_with_requests, "urllib3": fetch_with_urllib3}


def urls(query):
    return [f"{query['leaf']}/leaf?n={query['n']}&k={k}" for k in range(3)]


def answer(query):
    return b"x" * int(query.get("size", 2))


async def fan_out(query):
    fetch = TASKS.get(query["client"]) or in_a_thread(CALLS[query["client"]])
    style = query["style"]
    if style == "in_turn":
        for url in urls(query):
            await fetch(url)
    elif style == "gather":
        await asyncio.gather(*map(fetch, urls(query)))
    elif style == "group":
        async with asyncio.TaskGroup() as group:
            for url in urls(query):
                group.create_task(fetch(url))
    elif style == "copy":
        loop = asyncio.get_running_loop()
        call = CALLS[query["client"]]
        copies = [(contextvars.copy_context(), url) for url in urls(query)]
        await asyncio.gather(*(loop.run_in_executor(pool, copy.run, call, url) for copy, url in copies))
    elif style == "joined":
        threads = start_threads(CALLS[query["client"]], urls(query))
        while any(thread.is_alive() for thread in threads):
            await asyncio.sleep(0.001)
    elif style == "forget":
        await fetch(urls(query)[0])
        # Two that nobody waits for: one calls at once, one after the answer.
        for url, delay_s in zip(urls(query)[1:], (0, 0.02)):
            task = asyncio.create_task(call_later(fetch, url, delay_s))
            forgotten.add(task)
            task.add_done_callback(forgotten.discard)
    return answer(query)


forgotten = set()


async def call_later(fetch, url, delay_s):
    await asyncio.sleep(delay_s)
    await fetch(url)


def in_a_thread(call):
    async def fetch(url):
        await asyncio.to_thread(call, url)

    return fetch


def start_threads(call, urls):
    threads = [threading.Thread(target=call, args=(url,)) for url in urls]
    for thread in threads:
        thread.start()
    return threads


def join_threads(call, urls):
    for thread in start_threads(call, urls):
        thread.join()


def fan_out_and_block(query):
    call = CALLS.get(query["client"])
    style = query["style"]
    if style == "in_turn":
        for url in urls(query):
            call(url)
    elif style == "loop":
        # As an `async` view of Flask or Django is run: in a loop of its own, on a thread of its own.
        async_to_sync(fan_out)({**query, "style": "gather"})
    elif style == "threads":
        with ThreadPoolExecutor(3) as threads:
            list(threads.map(call, urls(query)))
    elif style == "joined":
        join_threads(call, urls(query))
    elif style == "through":
        thread = threading.Thread(target=join_threads, args=(call, urls(query)))
        thread.start()
        thread.join()
    elif style == "left":
        start_threads(call, urls(query))
    elif style == "shared":
        list(pool.map(call, urls(query)))
    elif style == "spawn":
        import gevent

        gevent.joinall([gevent.spawn(call, url) for url in urls(query)], raise_error=True)
    return answer(query)


@asgi.api_route("/fan", methods=["GET", "POST"])
async def asgi_fan(request: Request):
    await request.body()
    if request.query_params["style"] != "stream":
        return Response(await fan_out(request.query_params), media_type="text/plain")
    await fan_out({**request.query_params, "style": "in_turn"})

    async def pieces():
        for _ in range(3):
            await asyncio.sleep(0.001)
            yield b"x"

    # It is sent by a task of its own, which is made after the calls.
    return StreamingResponse(pieces(), media_type="text/plain")


@asgi.get("/sync")
def asgi_sync(request: Request):
    return Response(fan_out_and_block(request.query_params), media_type="text/plain")


async def pass_on(request, call_next):
    return await call_next(request)


layered.add_api_route("/fan", asgi_fan, methods=["GET", "POST"])
layered.add_middleware(BaseHTTPMiddleware, dispatch=pass_on)
layered.add_middleware(BaseHTTPMiddleware, dispatch=pass_on)


async def handed_over(scope, receive, send):
    """As `asyncio.wait_for(send(...))` does up to Python 3.11, and with it Quart."""

    async def send_in_a_task(message):
        await asyncio.create_task(send(message))

    await asgi(scope, receive, send_in_a_task)


async def django_fan(request):
    return HttpResponse(await fan_out(request.GET.dict()), content_type="text/plain")


def django_sync(request):
    return HttpResponse(fan_out_and_block(request.GET.dict()), content_type="text/plain")


urlpatterns = [path("fan", django_fan), path("sync", django_sync)]


@wsgi.route("/fan", methods=["GET", "POST"])
def wsgi_fan():
    flask_request.get_data()
    return fan_out_and_block(flask_request.args)


async def aiohttp_fan(request):
    await request.read()
    return web.Response(body=await fan_out(request.query))


class TornadoFan(RequestHandler):
    async def get(self):
        query = {name: self.get_query_argument(name) for name in self.request.query_arguments}
        self.finish(await fan_out(query))

    post = get


def serve_aiohttp(port):
    app = web.Application(client_max_size=1 << 24)
    app.router.add_route("*", "/fan", aiohttp_fan)
    web.run_app(app, host="127.0.0.1", port=port, print=None)


async def serve_tornado(port):
    Application([("/fan", TornadoFan)]).listen(port, "127.0.0.1")
    await asyncio.Event().wait()


class ThreadFan(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = fan_out_and_block(dict(parse_qsl(urlsplit(self.path).query)))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class ThreadServer(ThreadingHTTPServer):
    """A thread for each connection."""

    request_queue_size = 256


if __name__ == "__main__":
    kind, port = sys.argv[1], int(sys.argv[2])
    if kind == "aiohttp":
        serve_aiohttp(port)
    elif kind == "threads":
        ThreadServer(("127.0.0.1", port), ThreadFan).serve_forever()
    else:
        asyncio.run(serve_tornado(port))
