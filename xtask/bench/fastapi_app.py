"""The smallest FastAPI app: what it answers costs it least, so that the probe weighs most."""

from fastapi import FastAPI

app = FastAPI()


@app.get("/")
async def hello():
    return {"hello": "world"}
