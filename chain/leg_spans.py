"""What the lane did for one leg, as one span of the operation's trace.

The lane works on many legs in one commit and one request, which belong to no single trace. So each leg gets one span when
its outcome is certain, with the times that its row has: begun when it was asked for, ended when it was final.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from opentelemetry import trace
from opentelemetry.trace import ProxyTracerProvider, SpanKind
from sqlalchemy import select

from models.ids import leg_id
from models.tables.operations import Operation
from models.tables.session import Transaction
from models.tables.transactions import ChainTransaction
from models.traces import context_of

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STEPS = ("prepared_at", "broadcast_at", "mined_at")


def traced() -> bool:
    """Whether this process traces at all; where not, nothing is read for it."""
    return not isinstance(trace.get_tracer_provider(), ProxyTracerProvider)


async def tell_spans(transaction: Transaction, ids: Sequence[int]) -> None:
    """One span for each of these legs. One that is told twice, since the lane died in between, is the same leg twice."""
    query = (
        select(ChainTransaction, Operation.traceparent)
        .join(Operation, Operation.id == ChainTransaction.operation_id)
        .where(ChainTransaction.id.in_(ids), Operation.traceparent.is_not(None))
    )
    async with transaction() as session:
        found = [(leg, traceparent) for leg, traceparent in await session.execute(query)]
    for leg, traceparent in found:
        _tell(leg, traceparent)


def _tell(leg: ChainTransaction, traceparent: str | None) -> None:
    span = trace.get_tracer(__name__).start_span(
        f"leg {leg.leg}",
        context=context_of(traceparent),
        kind=SpanKind.CONSUMER,
        start_time=_nanoseconds(leg.queued_at),
        attributes={
            "loan_engine.leg": leg_id(leg.operation_id, leg.leg, leg.generation),
            "loan_engine.state": leg.state,
            "loan_engine.tx_hash": leg.result_tx_hash or "",
        },
    )
    for step in _STEPS:
        at: datetime | None = getattr(leg, step)
        if at is not None:
            span.add_event(step.removesuffix("_at"), timestamp=_nanoseconds(at))
    span.end(_nanoseconds(leg.final_at or leg.queued_at))


def _nanoseconds(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1) * 1_000
