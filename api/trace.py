"""The trace id of a request: the current span's, else the caller's, else a new one. It is in every problem."""

import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from opentelemetry import trace as otel

_TRACEPARENT = re.compile(r"00-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-[0-9a-f]{2}")


@dataclass(frozen=True, slots=True)
class Trace:
    """``id`` is 32 hex digits. ``traceparent`` (W3C) is what a workflow continues; None where there is no span at all."""

    id: str
    traceparent: str | None


def trace_of(headers: Iterable[tuple[bytes, bytes]]) -> Trace:
    span = otel.get_current_span().get_span_context()
    if span.is_valid:
        trace_id = otel.format_trace_id(span.trace_id)
        return Trace(trace_id, f"00-{trace_id}-{otel.format_span_id(span.span_id)}-{span.trace_flags:02x}")
    sent = next((value.decode("latin-1") for name, value in headers if name == b"traceparent"), "")
    match = _TRACEPARENT.fullmatch(sent)
    if match is not None and int(match["trace"], 16) and int(match["span"], 16):
        return Trace(match["trace"], sent)
    return Trace(secrets.token_hex(16), None)
