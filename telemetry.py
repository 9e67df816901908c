"""Logs and traces of every process. Logs: one line an event, for people in a terminal and as JSON elsewhere.

Traces go by OTLP to wherever ``ENGINE_OTLP_ENDPOINT`` says. Spans are exported by a thread of their own from a queue that
is bounded: where the receiver is away they are dropped, and nothing waits.
"""

import logging
import sys
from collections.abc import Sequence
from urllib.parse import urlsplit

import structlog
from fastapi import FastAPI
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.instrumentation.sqlalchemy.engine import EngineTracer
from opentelemetry.metrics import NoOpMeter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, Sampler, SamplingResult, TraceIdRatioBased
from opentelemetry.trace import Link, SpanKind
from opentelemetry.util.types import Attributes
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.types import Scope
from temporalio.client import Plugin
from temporalio.contrib.opentelemetry import OpenTelemetryPlugin, create_tracer_provider

from models.redaction import redacted
from settings import Settings

UNTRACED_ROUTES = "v1/health,docs,openapi.json"
EXPORT_SECONDS = 10


def configure_logging(service: str, *, level: int = logging.INFO) -> None:
    """Sets up structlog and the standard library's logging for this process; called once, by a ``main()``."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        _with_trace,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    for_people = sys.stderr.isatty()
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if for_people else structlog.processors.JSONRenderer()
    )
    final: list[structlog.typing.Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
        _without_keys,
        renderer,
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processors=final, foreign_pre_chain=shared))
    logging.basicConfig(handlers=[handler], level=level, force=True)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)


def _without_keys(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """No line holds an API key, whatever an exception of a library quotes."""
    return {name: redacted(value) if isinstance(value, str) else value for name, value in event.items()}


def _with_trace(_: object, __: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """A line that is logged inside a span names its trace."""
    span = trace.get_current_span().get_span_context()
    if span.is_valid:
        line.setdefault("trace_id", trace.format_trace_id(span.trace_id))
    return line


class Tracing:
    """What a process traces; nothing where no receiver is named. Closed last, so that the last spans leave."""

    def __init__(self, service: str, settings: Settings) -> None:
        self._on = settings.otlp_endpoint is not None
        if settings.otlp_endpoint is None:
            return
        self._provider = create_tracer_provider(
            sampler=ParentBased(_Requests(settings.trace_percent)), resource=Resource.create({SERVICE_NAME: service})
        )
        insecure = urlsplit(settings.otlp_endpoint).scheme != "https"
        exporter = OTLPSpanExporter(settings.otlp_endpoint, insecure=insecure, timeout=EXPORT_SECONDS)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        trace.set_tracer_provider(self._provider)

    def plugins(self) -> Sequence[Plugin]:
        """For Temporal clients, and through them for workers: workflows, updates and activities become spans (ADR 0026)."""
        return [OpenTelemetryPlugin(add_temporal_spans=True)] if self._on else []

    def watch_app(self, app: FastAPI) -> None:
        if self._on:
            FastAPIInstrumentor.instrument_app(
                app,
                tracer_provider=self._provider,
                excluded_urls=UNTRACED_ROUTES,
                exclude_spans=["receive", "send"],
                server_request_hook=_without_query,
            )

    def watch_database(self, database: AsyncEngine) -> None:
        """Statements become spans, with their text and without their values."""
        if self._on:
            connections = NoOpMeter(__name__).create_up_down_counter("connections")
            _TracedStatements(self._provider.get_tracer(__name__), database.sync_engine, connections)  # type: ignore[no-untyped-call]

    def close(self) -> None:
        if self._on:
            self._provider.shutdown()


class _TracedStatements(EngineTracer):
    """A statement of nobody's trace, such as a poll for work, costs nothing; the contrib package would prepare its span."""

    def _before_cur_exec(  # noqa: PLR0917 - SQLAlchemy's signature
        self, conn: Connection, cursor: object, statement: str, params: object, context: object, executemany: bool
    ) -> tuple[str, object]:
        if not trace.get_current_span().is_recording():
            return statement, params
        traced: tuple[str, object] = super()._before_cur_exec(conn, cursor, statement, params, context, executemany)  # type: ignore[no-untyped-call]
        return traced


class _Requests(Sampler):
    """Traces begin with a request or a workflow. What is done on nobody's behalf, such as a poll for work, begins none."""

    def __init__(self, percent: int) -> None:
        self._some = TraceIdRatioBased(percent / 100)

    def should_sample(  # noqa: PLR0917 - OpenTelemetry's signature
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: trace.TraceState | None = None,
    ) -> SamplingResult:
        chosen = self._some if kind is SpanKind.SERVER else ALWAYS_OFF
        return chosen.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)

    def get_description(self) -> str:
        return f"requests:{self._some.get_description()}"


def _without_query(span: trace.Span, scope: Scope) -> None:
    """A query may hold a wallet, and a mistaken caller's even a key."""
    if span.is_recording():
        path = redacted(scope["path"])
        span.set_attributes({"http.target": path, "http.url": path, "url.query": "", "url.full": path})
