"""Failures in Flask. WSGI: `app`."""

from concurrent.futures import ThreadPoolExecutor

from failures import fail
from flask import Flask

app = Flask(__name__)
pool = ThreadPoolExecutor(2)


@app.get("/fail/<case>")
def view(case):
    return fail(case), 503 if case == "explicit" else 200


@app.get("/pool/<case>")
def pooled(case):
    return pool.submit(fail, case).result()


@app.get("/stream/<case>")
def stream(case):
    def parts():
        yield "begun"
        yield fail(case)

    return parts()
