"""Failures in Tornado: `failing_tornado.py PORT`."""

import asyncio
import sys

import tornado.web
from failures import fail


class View(tornado.web.RequestHandler):
    async def get(self, case):
        await asyncio.sleep(0)
        self.set_status(503 if case == "explicit" else 200)
        self.write(fail(case))


class Sync(tornado.web.RequestHandler):
    def get(self, case):
        self.write(fail(case))


async def main():
    app = tornado.web.Application([("/fail/(.*)", View), ("/sync/(.*)", Sync)])
    app.listen(int(sys.argv[1]), "127.0.0.1")
    await asyncio.Event().wait()


asyncio.run(main())
