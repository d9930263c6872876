"""Failures in Flask. WSGI: `app`."""

from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

from failures import fail
from flask import Flask, request

app = Flask(__name__)
pool = ThreadPoolExecutor(2)


@app.get("/fail/<case>")
def view(case):
    return fail(case), 503 if case == "explicit" else 200


@app.get("/pool/<case>")
def pooled(case):
    return pool.submit(fail, case).result()


@app.after_request
def crowd(response):
    contexts = [copy_context() for _ in range(request.args.get("crowd", 0, int))]
    for context in contexts:
        context.run(fail, "caught")
    return response


@app.get("/stream/<case>")
def stream(case):
    def parts():
        yield "begun"
        yield fail(case)

    return parts()
