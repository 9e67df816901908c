"""The trace that a row's work belongs to, told by the W3C ``traceparent`` that is stored with an operation."""

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.context import Context, attach, detach
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_PROPAGATOR = TraceContextTextMapPropagator()


def context_of(traceparent: str | None) -> Context:
    """A context whose new spans are children of that one; an empty one where there is none, or it is malformed."""
    return _PROPAGATOR.extract({} if traceparent is None else {"traceparent": traceparent}, context=Context())


@contextmanager
def under(traceparent: str | None) -> Iterator[None]:
    """What is done inside is told under that span; where there is none, under whichever is current."""
    if traceparent is None:
        yield
        return
    token = attach(context_of(traceparent))
    try:
        yield
    finally:
        detach(token)
