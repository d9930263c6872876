"""The routes of `fastapi_app`, and those of `failing_fastapi` below `/failing` and `/streams`. ASGI: `app`."""

import failing_fastapi
from fastapi_app import app

app.mount("/failing", failing_fastapi.app)
app.mount("/streams", failing_fastapi.streams)
