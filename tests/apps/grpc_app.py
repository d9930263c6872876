"""gRPC with grpcio and with grpclib: `grpc_app.py grpcio|grpclib serve PORT` and `... call PORT COUNT`.

Messages are plain bytes. Methods: Echo (one, one), Count (one, many), Sum (many, one), Chat (many, many), Fail (an
error with the code that is asked for). A caller waits for a line on stdin; then one JSON object a line for each call:
path, status, requests, responses.
"""

import asyncio
import json
import sys

SERVICE = "stardust.test.Numbers"
LARGE = b"x" * 40_000


def plan(count):
    """Method, messages to send, and messages and status to expect."""
    for number in range(count):
        yield [
            ("Echo", [str(number).encode()], 1, 0),
            ("Count", [b"7"], 7, 0),
            ("Sum", [b"1"] * 5, 1, 0),
            ("Chat", [b"a", LARGE, b"c"], 3, 0),
            ("Fail", [b"5"], 0, 5),
            ("Fail", [b"13"], 0, 13),
            ("Echo", [LARGE * 2], 1, 0),
        ][number % 7]


def line(method, sent, responses, status):
    path = f"/{SERVICE}/{method}"
    return json.dumps({"path": path, "status": status, "requests": len(sent), "responses": responses})


def serve_grpcio(port):
    from concurrent import futures

    import grpc

    def echo(request, context):
        return request

    def count(request, context):
        for number in range(int(request)):
            yield str(number).encode()

    def add(requests, context):
        return str(sum(int(request) for request in requests)).encode()

    def chat(requests, context):
        yield from requests

    def fail(request, context):
        context.abort({code.value[0]: code for code in grpc.StatusCode}[int(request)], "as asked")

    handlers = {
        "Echo": grpc.unary_unary_rpc_method_handler(echo),
        "Count": grpc.unary_stream_rpc_method_handler(count),
        "Sum": grpc.stream_unary_rpc_method_handler(add),
        "Chat": grpc.stream_stream_rpc_method_handler(chat),
        "Fail": grpc.unary_unary_rpc_method_handler(fail),
    }
    server = grpc.server(futures.ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    server.wait_for_termination()


def call_grpcio(port, count):
    from concurrent import futures

    import grpc

    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:

        def call(step):
            method, sent, expected, _ = step
            path = f"/{SERVICE}/{method}"
            try:
                if method in ("Echo", "Fail"):
                    channel.unary_unary(path)(sent[0], timeout=30)
                    responses = 1
                elif method == "Count":
                    responses = len(list(channel.unary_stream(path)(sent[0], timeout=30)))
                elif method == "Sum":
                    channel.stream_unary(path)(iter(sent), timeout=30)
                    responses = 1
                else:
                    responses = len(list(channel.stream_stream(path)(iter(sent), timeout=30)))
                status = 0
            except grpc.RpcError as error:
                responses, status = 0, error.code().value[0]
            assert (responses, status) == (expected, step[3]), step
            return line(method, sent, responses, status)

        with futures.ThreadPoolExecutor(4) as pool:
            for told in pool.map(call, plan(count)):
                print(told, flush=True)


class Plain:
    """Messages as they are."""

    __content_subtype__ = "plain"

    def encode(self, message, message_type):
        return message

    def decode(self, data, message_type):
        return data


def serve_grpclib(port):
    from grpclib.const import Cardinality, Handler, Status
    from grpclib.exceptions import GRPCError
    from grpclib.server import Server

    async def echo(stream):
        await stream.send_message(await stream.recv_message())

    async def count(stream):
        for number in range(int(await stream.recv_message())):
            await stream.send_message(str(number).encode())

    async def add(stream):
        await stream.send_message(str(sum([int(message) async for message in stream])).encode())

    async def chat(stream):
        async for message in stream:
            await stream.send_message(message)

    async def fail(stream):
        raise GRPCError(Status(int(await stream.recv_message())), "as asked")

    class Numbers:
        def __mapping__(self):
            kinds = {
                "Echo": (echo, Cardinality.UNARY_UNARY),
                "Count": (count, Cardinality.UNARY_STREAM),
                "Sum": (add, Cardinality.STREAM_UNARY),
                "Chat": (chat, Cardinality.STREAM_STREAM),
                "Fail": (fail, Cardinality.UNARY_UNARY),
            }
            return {f"/{SERVICE}/{name}": Handler(run, kind, None, None) for name, (run, kind) in kinds.items()}

    async def main():
        server = Server([Numbers()], codec=Plain())
        await server.start("127.0.0.1", port)
        await server.wait_closed()

    asyncio.run(main())


def call_grpclib(port, count):
    from grpclib.client import Channel, StreamStreamMethod, StreamUnaryMethod, UnaryStreamMethod, UnaryUnaryMethod
    from grpclib.exceptions import GRPCError

    async def main():
        channel = Channel("127.0.0.1", port, codec=Plain())

        async def call(step):
            method, sent, expected, _ = step
            kind = {"Count": UnaryStreamMethod, "Sum": StreamUnaryMethod, "Chat": StreamStreamMethod}
            ask = kind.get(method, UnaryUnaryMethod)(channel, f"/{SERVICE}/{method}", None, None)
            many = method in ("Sum", "Chat")
            try:
                answer = await ask(sent if many else sent[0], timeout=30)
                responses, status = len(answer) if isinstance(answer, list) else 1, 0
            except GRPCError as error:
                responses, status = 0, error.status.value
            assert (responses, status) == (expected, step[3]), step
            return line(method, sent, responses, status)

        steps = list(plan(count))
        for first in range(0, len(steps), 8):
            for told in await asyncio.gather(*map(call, steps[first : first + 8])):
                print(told, flush=True)
        channel.close()

    asyncio.run(main())


if __name__ == "__main__":
    library, what, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
    if what == "serve":
        {"grpcio": serve_grpcio, "grpclib": serve_grpclib}[library](port)
    else:
        sys.stdin.readline()
        {"grpcio": call_grpcio, "grpclib": call_grpclib}[library](port, int(sys.argv[4]))
