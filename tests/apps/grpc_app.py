"""gRPC with grpcio and with grpclib: `grpc_app.py grpcio|grpclib serve PORT [CERTIFICATE KEY]` and `... call PORT COUNT
[CERTIFICATE]`, with a certificate inside TLS, which grpcio brings along. `bulk` instead of `call` sends large messages;
so does `held`, on a connection that is open before the first word comes, and has had a small call before the second does.

Messages are plain bytes. Methods: Echo (one, one), Count (one, many), Sum (many, one), Chat (many, many), Fail (an
error with the code that is asked for). A caller waits for a line on stdin; then one JSON object a line for each call:
number, path, status, requests, responses, start_ns, last_ns. The number goes with the call, as `x-number`.
"""

import asyncio
import json
import pathlib
import ssl
import sys
import time

SERVICE = "stardust.test.Numbers"
LARGE = b"x" * 40_000
# Just below what grpcio takes.
HUGE = b"x" * 4_000_000
# Answered after 30 ms.
SLOWLY = b"slowly"


def plan(count):
    """Method, messages to send, messages and status to expect, and a number."""
    for number in range(count):
        yield *[
            ("Echo", [str(number).encode()], 1, 0),
            ("Count", [b"7"], 7, 0),
            ("Sum", [b"1"] * 5, 1, 0),
            ("Chat", [b"a", LARGE, b"c"], 3, 0),
            ("Fail", [b"5"], 0, 5),
            ("Fail", [b"13"], 0, 13),
            ("Echo", [LARGE * 2], 1, 0),
            ("Echo", [SLOWLY], 1, 0),
        ][number % 8], number


def bulk(count, library):
    """The same, with large messages, and small ones between them."""
    calls = [("Echo", [HUGE], 1, 0), ("Chat", [bytes(100)] * 500, 500, 0)]
    # grpclib's caller reads when all is sent, so it can stream no more than fits into a window.
    if library == "grpcio":
        calls += [("Chat", [HUGE, b"between", HUGE, b"", HUGE, LARGE], 6, 0), ("Chat", [LARGE] * 50, 50, 0)]
    for number in range(count):
        yield *calls[number % len(calls)], number


EARLY = ("Echo", [b"early"], 1, 0, "early")


def next_word():
    print("open", flush=True)
    sys.stdin.readline()


def line(step, responses, status, start_ns):
    method, sent, _, _, number = step
    entry = {"number": str(number), "path": f"/{SERVICE}/{method}", "status": status, "requests": len(sent)}
    return json.dumps(entry | {"responses": responses, "start_ns": start_ns, "last_ns": time.monotonic_ns()})


def serve_grpcio(port, certificate=None, key=None):
    from concurrent import futures

    import grpc

    def echo(request, context):
        time.sleep(0.03 if request == SLOWLY else 0)
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
    if certificate:
        pair = (pathlib.Path(key).read_bytes(), pathlib.Path(certificate).read_bytes())
        server.add_secure_port(f"127.0.0.1:{port}", grpc.ssl_server_credentials([pair]))
    else:
        server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    server.wait_for_termination()


def call_grpcio(port, steps, held, certificate=None):
    from concurrent import futures

    import grpc

    def open_channel():
        if certificate:
            trusted = grpc.ssl_channel_credentials(pathlib.Path(certificate).read_bytes())
            return grpc.secure_channel(f"127.0.0.1:{port}", trusted)
        return grpc.insecure_channel(f"127.0.0.1:{port}")

    with open_channel() as channel:

        def call(step):
            method, sent, expected, _, number = step
            path, start_ns = f"/{SERVICE}/{method}", time.monotonic_ns()
            how = {"timeout": 30, "metadata": (("x-number", str(number)),)}
            try:
                if method in ("Echo", "Fail"):
                    channel.unary_unary(path)(sent[0], **how)
                    responses = 1
                elif method == "Count":
                    responses = len(list(channel.unary_stream(path)(sent[0], **how)))
                elif method == "Sum":
                    channel.stream_unary(path)(iter(sent), **how)
                    responses = 1
                else:
                    responses = len(list(channel.stream_stream(path)(iter(sent), **how)))
                status = 0
            except grpc.RpcError as error:
                responses, status = 0, error.code().value[0]
            assert (responses, status) == (expected, step[3]), step
            return line(step, responses, status, start_ns)

        if held:
            grpc.channel_ready_future(channel).result(30)
            next_word()
            print(call(EARLY), flush=True)
            sys.stdin.readline()
        with futures.ThreadPoolExecutor(4) as pool:
            for told in pool.map(call, steps):
                print(told, flush=True)


class Plain:
    """Messages as they are."""

    __content_subtype__ = "plain"

    def encode(self, message, message_type):
        return message

    def decode(self, data, message_type):
        return data


def alpn(context):
    """What both ends must agree on for HTTP/2 (RFC 9113 section 3.2)."""
    context.set_alpn_protocols(["h2"])
    return context


def serve_grpclib(port, certificate=None, key=None):
    from grpclib.const import Cardinality, Handler, Status
    from grpclib.exceptions import GRPCError
    from grpclib.server import Server

    async def echo(stream):
        message = await stream.recv_message()
        await asyncio.sleep(0.03 if message == SLOWLY else 0)
        await stream.send_message(message)

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
        context = None
        if certificate:
            context = alpn(ssl.create_default_context(ssl.Purpose.CLIENT_AUTH))
            context.load_cert_chain(certificate, key)
        await server.start("127.0.0.1", port, ssl=context)
        await server.wait_closed()

    asyncio.run(main())


def call_grpclib(port, steps, held, certificate=None):
    from grpclib.client import Channel, StreamStreamMethod, StreamUnaryMethod, UnaryStreamMethod, UnaryUnaryMethod
    from grpclib.exceptions import GRPCError

    async def main():
        context = alpn(ssl.create_default_context(cafile=certificate)) if certificate else None
        channel = Channel("127.0.0.1", port, codec=Plain(), ssl=context)

        async def call(step):
            method, sent, expected, _, number = step
            start_ns = time.monotonic_ns()
            kind = {"Count": UnaryStreamMethod, "Sum": StreamUnaryMethod, "Chat": StreamStreamMethod}
            ask = kind.get(method, UnaryUnaryMethod)(channel, f"/{SERVICE}/{method}", None, None)
            many = method in ("Sum", "Chat")
            try:
                answer = await ask(sent if many else sent[0], timeout=30, metadata={"x-number": str(number)})
                responses, status = len(answer) if isinstance(answer, list) else 1, 0
            except GRPCError as error:
                responses, status = 0, error.status.value
            assert (responses, status) == (expected, step[3]), step
            return line(step, responses, status, start_ns)

        if held:
            await channel.__connect__()
            next_word()
            print(await call(EARLY), flush=True)
            sys.stdin.readline()
        for first in range(0, len(steps), 8):
            for told in await asyncio.gather(*map(call, steps[first : first + 8])):
                print(told, flush=True)
        channel.close()

    asyncio.run(main())


if __name__ == "__main__":
    library, what, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
    if what == "serve":
        {"grpcio": serve_grpcio, "grpclib": serve_grpclib}[library](port, *sys.argv[4:])
    else:
        held = what == "held"
        if not held:
            sys.stdin.readline()
        steps = list(plan(int(sys.argv[4])) if what == "call" else bulk(int(sys.argv[4]), library))
        {"grpcio": call_grpcio, "grpclib": call_grpclib}[library](port, steps, held, *sys.argv[5:])
