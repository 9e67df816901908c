"""A receiver of spans in a process of its own, which counts them and keeps none: ``python -m bench.otlp_receiver PORT``.

What it costs is its own process's time; that is why it is none of the engine's and none of the benchmark's.
"""

import sys
from concurrent.futures import ThreadPoolExecutor

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)

from sandbox.services.ports import LOOPBACK

READY = "spans: 0"


class _Counter(TraceServiceServicer):
    def __init__(self) -> None:
        self._spans = 0

    def Export(  # noqa: N802 - gRPC's name
        self,
        request: ExportTraceServiceRequest,
        context: grpc.ServicerContext,  # noqa: ARG002 - gRPC's signature
    ) -> ExportTraceServiceResponse:
        self._spans += sum(len(scope.spans) for each in request.resource_spans for scope in each.scope_spans)
        _say(self._spans)
        return ExportTraceServiceResponse()


def _say(spans: int) -> None:
    sys.stdout.write(f"spans: {spans}\n")
    sys.stdout.flush()


def main(port: int) -> None:
    server = grpc.server(ThreadPoolExecutor(max_workers=1))
    add_TraceServiceServicer_to_server(_Counter(), server)  # type: ignore[no-untyped-call]  # generated code
    server.add_insecure_port(f"{LOOPBACK}:{port}")
    server.start()
    _say(0)
    server.wait_for_termination()


if __name__ == "__main__":
    main(int(sys.argv[1]))
