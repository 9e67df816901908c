"""An OTLP receiver over gRPC in this process, and the trace that it got as a tree."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Self

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan


@dataclass(frozen=True, slots=True)
class Span:
    trace_id: str
    id: str
    parent_id: str
    name: str
    service: str
    nanoseconds: int
    attributes: dict[str, str]

    @classmethod
    def of(cls, span: OtlpSpan, service: str) -> Self:
        return cls(
            trace_id=span.trace_id.hex(),
            id=span.span_id.hex(),
            parent_id=span.parent_span_id.hex(),
            name=span.name,
            service=service,
            nanoseconds=span.end_time_unix_nano - span.start_time_unix_nano,
            attributes={each.key: str(each.value) for each in span.attributes},
        )


@dataclass
class Receiver(TraceServiceServicer):
    """``endpoint`` is what ENGINE_OTLP_ENDPOINT takes."""

    endpoint: str = ""
    spans: list[Span] = field(default_factory=list)
    _seen: set[bytes] = field(default_factory=set)

    async def Export(  # noqa: N802 - gRPC's name
        self,
        request: ExportTraceServiceRequest,
        context: object,  # noqa: ARG002 - gRPC's signature
    ) -> ExportTraceServiceResponse:
        """A batch that comes again, since its confirmation was late, is the same bytes; what is told twice is not."""
        batch = request.SerializeToString()
        if batch in self._seen:
            return ExportTraceServiceResponse()
        self._seen.add(batch)
        for resource in request.resource_spans:
            names = {each.key: each.value.string_value for each in resource.resource.attributes}
            for scope in resource.scope_spans:
                self.spans += [Span.of(span, names["service.name"]) for span in scope.spans]
        return ExportTraceServiceResponse()

    def trace(self, trace_id: str) -> "TraceTree":
        return TraceTree([span for span in self.spans if span.trace_id == trace_id])


@dataclass(frozen=True)
class TraceTree:
    spans: Sequence[Span]

    def named(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]

    def one(self, name: str) -> Span:
        (span,) = self.named(name)
        return span

    def ancestors(self, span: Span) -> Iterator[Span]:
        by_id = {each.id: each for each in self.spans}
        parent = by_id.get(span.parent_id)
        while parent is not None:
            yield parent
            parent = by_id.get(parent.parent_id)

    def orphans(self) -> list[Span]:
        """Spans whose parent was never received; a request that nobody else traced begins with none."""
        ids = {span.id for span in self.spans}
        return [span for span in self.spans if span.parent_id and span.parent_id not in ids]


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    server = grpc.aio.server()
    receiver = Receiver()
    add_TraceServiceServicer_to_server(receiver, server)  # type: ignore[no-untyped-call]  # generated code
    receiver.endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield receiver
    finally:
        await server.stop(None)
        await asyncio.sleep(0)
