"""What was ever decided, lent and repaid: from the sums that administrators' figures are made of (ADR 0022).

The sums by month are read, with the changes that have not joined them yet, in the caller's snapshot: so each change is seen
once, at every moment, and a process that starts anew goes on where another stopped.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncSession

from metrics import catalogue
from metrics.samples import Distribution, Sample
from models.histogram import upper_end
from models.statuses import Latency, OperationKind

ACCEPTED = "accepted"

_FLOWS = text(
    """
    SELECT partner_id, sum(borrowed), sum(fees), sum(repaid_principal), sum(repaid_interest) FROM (
        SELECT partner_id, borrowed, fees, repaid_principal, repaid_interest
        FROM analytics_flow_sums WHERE bucket = 'month' AND partner_id <> '*'
        UNION ALL
        SELECT partner_id, borrowed, fees, repaid_principal, repaid_interest FROM analytics_flow_changes
    ) AS flows GROUP BY partner_id
    """
)
_REFUSALS = text(
    """
    SELECT kind, code, sum(number) FROM (
        SELECT kind, code, number FROM analytics_refusal_sums WHERE bucket = 'month'
        UNION ALL SELECT kind, code, number FROM analytics_refusal_changes
    ) AS refusals GROUP BY kind, code
    """
)
_LATENCIES = text(
    """
    SELECT kind, latency, slot, sum(number) FROM (
        SELECT kind, latency, slot, number FROM analytics_latency_sums WHERE bucket = 'month'
        UNION ALL SELECT kind, latency, slot, number FROM analytics_latency_changes
    ) AS latencies GROUP BY kind, latency, slot
    """
)
_DECIDED = text(
    """
    SELECT kind, sum(number) FROM (
        SELECT kind, number FROM analytics_latency_sums WHERE bucket = 'month' AND latency = 'decision'
        UNION ALL SELECT kind, number FROM analytics_latency_changes WHERE latency = 'decision'
    ) AS decided GROUP BY kind
    """
)
_MONEY = (OperationKind.BORROW, OperationKind.REPAY)


async def by_word(session: AsyncSession, query: TextClause, **values: object) -> dict[str, Any]:
    """The second column by the first."""
    return {row[0]: row[1] for row in await session.execute(query, values)}


async def read_flows(session: AsyncSession) -> Sequence[Sample]:
    samples = []
    for partner, borrowed, fees, principal, interest in await session.execute(_FLOWS):
        samples += [
            Sample(catalogue.BORROWED, borrowed, (partner,)),
            Sample(catalogue.FEES, fees, (partner,)),
            Sample(catalogue.REPAID, principal, (partner, "principal")),
            Sample(catalogue.REPAID, interest, (partner, "interest")),
        ]
    return samples


async def read_decisions(session: AsyncSession) -> Sequence[Sample]:
    """What is decided and not refused is accepted."""
    accepted: dict[str, int] = dict.fromkeys(_MONEY, 0)
    accepted |= await by_word(session, _DECIDED)
    refused = []
    for kind, code, number in await session.execute(_REFUSALS):
        accepted[kind] -= number
        refused.append(Sample(catalogue.DECISIONS, number, (kind, code)))
    return [*(Sample(catalogue.DECISIONS, accepted[kind], (kind, ACCEPTED)) for kind in _MONEY), *refused]


async def read_durations(session: AsyncSession) -> Sequence[Sample]:
    families = {Latency.DECISION: catalogue.DECISION_SECONDS, Latency.COMPLETION: catalogue.COMPLETION_SECONDS}
    counts: dict[tuple[str, str], dict[int, int]] = defaultdict(dict)
    for kind, latency, slot, number in await session.execute(_LATENCIES):
        counts[latency, kind][upper_end(slot)] = int(number)
    return [
        Sample(family, Distribution(counts[latency, kind]), (kind,))
        for latency, family in families.items()
        for kind in _MONEY
    ]
