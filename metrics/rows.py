"""The figures that are read from rows, in one snapshot: each query goes by an index, or over a table that stays small.

Nothing is locked and nothing is written. A source answers with samples; a new one is one more line in ``SOURCES``, as
long as its query is one of these.
"""

from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from metrics import catalogue
from metrics.samples import Sample
from metrics.sums import by_word, read_decisions, read_durations, read_flows
from metrics.webhooks import read_deliveries, read_events
from models.statuses import (
    LIVE_STATES,
    TERMINAL_LOAN_STATUSES,
    IncidentKind,
    LoanStatus,
    OperationKind,
    OperationState,
)
from models.tables.base import sql_words

Source = Callable[[AsyncSession], Awaitable[Sequence[Sample]]]

_BEGUN = (OperationState.RECEIVED, OperationState.OPEN)
_MOST = 500
"""Of operations that are looked at one by one, the oldest: what is wrong for long is among them."""

_LEGS = text(
    f"""
    SELECT state, count(*), extract(epoch FROM clock_timestamp() - min(queued_at))
    FROM chain_transactions WHERE state IN ({sql_words(*LIVE_STATES)}) GROUP BY state
    """  # noqa: S608 - the words are this code's own
)
_INCIDENTS = text("SELECT kind, count(*) FROM incidents WHERE closed_at IS NULL GROUP BY kind")
_BREACHES = text(
    """
    SELECT count(*) FROM incidents
    WHERE closed_at IS NULL AND kind IN ('INVARIANT_BROKEN', 'SURPLUS') AND subject LIKE 'invariant %'
    """
)
_OPEN = text("SELECT kind, state, count(*) FROM operations WHERE state IN ('RECEIVED', 'OPEN') GROUP BY kind, state")
_REVIEWS = text(
    """
    SELECT operation.kind, count(*), extract(epoch FROM clock_timestamp() - min(event.created_at))
    FROM operations AS operation
    LEFT JOIN events AS event ON event.operation_id = operation.id
        AND event.type IN ('loan.delayed', 'repayment.delayed') AND event.installment IS NULL
    WHERE operation.state = 'OPEN' AND operation.review_reason IS NOT NULL GROUP BY operation.kind
    """
)
_STALLED = text(
    """
    SELECT operation.kind, extract(epoch FROM clock_timestamp()
        - min(greatest(operation.received_at, operation.decided_at, legs.moved_at)))
    FROM (
        SELECT id, kind, received_at, decided_at FROM operations
        WHERE state = 'OPEN' AND review_reason IS NULL ORDER BY received_at LIMIT :most
    ) AS operation
    LEFT JOIN LATERAL (
        SELECT max(greatest(queued_at, prepared_at, broadcast_at, mined_at, final_at)) AS moved_at
        FROM chain_transactions WHERE operation_id = operation.id
    ) AS legs ON true
    GROUP BY operation.kind
    """
)
_LIVE_LOANS = text(
    f"SELECT status, count(*) FROM loans WHERE status NOT IN ({sql_words(*TERMINAL_LOAN_STATUSES)}) GROUP BY status"  # noqa: S608 - as above
)
_ALL_LOANS = text("SELECT status, count(*) FROM loans GROUP BY status")
_PARTNERS = text(
    """
    SELECT partner.id, partner.outstanding, partner.reserved, partner.total_borrow_limit, partner.daily_borrow_limit,
        coalesce(today.borrowed + today.reserved, 0) AS used_today
    FROM partners AS partner
    LEFT JOIN partner_days AS today ON today.partner_id = partner.id
        AND today.day = (clock_timestamp() AT TIME ZONE 'UTC')::date
    """
)


async def read_legs(session: AsyncSession) -> Sequence[Sample]:
    found = {state: (count, oldest) for state, count, oldest in await session.execute(_LEGS)}
    samples = []
    for state in sorted(LIVE_STATES):
        count, oldest = found.get(state, (0, Decimal()))
        samples.append(Sample(catalogue.LEGS, count, (state,)))
        samples.append(Sample(catalogue.LEG_OLDEST, oldest, (state,)))
    return samples


async def read_incidents(session: AsyncSession) -> Sequence[Sample]:
    found = await by_word(session, _INCIDENTS)
    breaches = (await session.execute(_BREACHES)).scalar_one()
    by_kind = [Sample(catalogue.INCIDENTS, found.get(kind, 0), (kind,)) for kind in IncidentKind]
    return [*by_kind, Sample(catalogue.AUDIT_BREACHES, breaches)]


async def read_operations(session: AsyncSession) -> Sequence[Sample]:
    found = {(kind, state): count for kind, state, count in await session.execute(_OPEN)}
    reviews = {kind: (count, oldest or Decimal()) for kind, count, oldest in await session.execute(_REVIEWS)}
    stalled = await by_word(session, _STALLED, most=_MOST)
    samples = []
    for kind in OperationKind:
        samples += [Sample(catalogue.OPERATIONS_OPEN, found.get((kind, state), 0), (kind, state)) for state in _BEGUN]
        waiting, oldest = reviews.get(kind, (0, Decimal()))
        samples.append(Sample(catalogue.UNDER_REVIEW, waiting, (kind,)))
        samples.append(Sample(catalogue.REVIEW_OLDEST, oldest, (kind,)))
        samples.append(Sample(catalogue.STALLED_OLDEST, stalled.get(kind, Decimal()), (kind,)))
    return samples


async def read_partners(session: AsyncSession) -> Sequence[Sample]:
    samples = []
    for partner, outstanding, reserved, total, daily, used_today in await session.execute(_PARTNERS):
        samples += [
            Sample(catalogue.OUTSTANDING, outstanding, (partner,)),
            Sample(catalogue.LIMIT, total, (partner, "total")),
            Sample(catalogue.LIMIT, daily, (partner, "daily")),
            Sample(catalogue.LIMIT_USED, outstanding + reserved, (partner, "total")),
            Sample(catalogue.LIMIT_USED, used_today, (partner, "daily")),
        ]
    return samples


class LoanCounts:
    """Loans that are not over are few enough to be counted each time; all of them, only every so many times."""

    def __init__(self, every: int = 20) -> None:
        self._every = every
        self._until_all = 0
        self._over: dict[str, int] = {}

    async def read(self, session: AsyncSession) -> Sequence[Sample]:
        live = await by_word(session, _LIVE_LOANS)
        if self._until_all == 0:
            everything = await by_word(session, _ALL_LOANS)
            self._over = {status: everything.get(status, 0) for status in TERMINAL_LOAN_STATUSES}
        self._until_all = (self._until_all or self._every) - 1
        counts: dict[str, int] = dict.fromkeys(LoanStatus, 0)
        counts |= live | self._over
        return [Sample(catalogue.LOANS, counts[status], (status,)) for status in LoanStatus]


SOURCES: tuple[Source, ...] = (
    read_legs,
    read_incidents,
    read_operations,
    read_partners,
    read_flows,
    read_decisions,
    read_durations,
    read_deliveries,
    read_events,
)
