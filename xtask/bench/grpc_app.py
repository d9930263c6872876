"""The smallest gRPC server, with grpcio: `grpc_app.py --host HOST --port PORT`. `/bench.Echo/Say` says what it is told."""

import argparse
from concurrent import futures

import grpc

parser = argparse.ArgumentParser()
parser.add_argument("--host")
parser.add_argument("--port")
arguments = parser.parse_args()
say = grpc.unary_unary_rpc_method_handler(lambda request, context: request)
server = grpc.server(futures.ThreadPoolExecutor(8))
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Echo", {"Say": say}),))
server.add_insecure_port(f"{arguments.host}:{arguments.port}")
server.start()
server.wait_for_termination()
