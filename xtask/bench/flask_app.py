"""The smallest Flask app: what it answers costs it least, so that the probe weighs most."""

from flask import Flask

app = Flask(__name__)


@app.get("/")
def hello():
    return {"hello": "world"}
