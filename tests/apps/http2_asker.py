"""Asks for the targets on stdin over HTTP/2, on one connection: `http2_asker.py in_turn|at_once URL [CERTIFICATE]`.

`in_turn` asks for each target as it comes and prints its status; `at_once` asks for all of them when the last one has
come, and prints all statuses.
"""

import asyncio
import sys

import httpx

how, base = sys.argv[1:3]
settings = {"http1": False, "http2": True, "timeout": 60}
if len(sys.argv) > 3:
    settings["verify"] = sys.argv[3]


async def ask_at_once(targets):
    async with httpx.AsyncClient(**settings) as client:
        # The connection is there before them.
        await client.get(base + targets[0])
        for answer in await asyncio.gather(*(client.get(base + target) for target in targets[1:])):
            print(answer.status_code)


if how == "at_once":
    asyncio.run(ask_at_once(sys.stdin.read().split()))
else:
    with httpx.Client(**settings) as client:
        for line in sys.stdin:
            print(client.get(base + line.strip()).status_code, flush=True)
