"""A server of Twisted's reactor, which enters no context, run with `twisted PORT`: while it waits to answer `/slow`, it asks itself for
`/own` again and again, for no request.
"""

import sys

from twisted.internet import reactor, task
from twisted.web.client import Agent, readBody
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

PORT = int(sys.argv[2])
agent = Agent(reactor)


class Slow(Resource):
    def render_GET(self, request):
        reactor.callLater(0.1, self.answer, request)
        return NOT_DONE_YET

    def answer(self, request):
        request.write(b"slow")
        request.finish()


class Own(Resource):
    def render_GET(self, request):
        return b"own"


def ask():
    return agent.request(b"GET", b"http://127.0.0.1:%d/own" % PORT).addCallback(readBody)


root = Resource()
root.putChild(b"slow", Slow())
root.putChild(b"own", Own())
reactor.listenTCP(PORT, Site(root), interface="127.0.0.1")
reactor.callWhenRunning(lambda: task.LoopingCall(ask).start(0.01))
reactor.run()
