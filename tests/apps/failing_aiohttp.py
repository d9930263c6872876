"""Failures in aiohttp's server: `failing_aiohttp.py PORT`."""

import asyncio
import sys

from aiohttp import web
from failures import fail


async def view(request):
    await asyncio.sleep(0)
    case = request.match_info["case"]
    return web.Response(text=fail(case), status=503 if case == "explicit" else 200)


app = web.Application()
app.router.add_get("/fail/{case}", view)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
