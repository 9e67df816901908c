"""How long decisions and whole operations took, in percentiles of histograms (models/histogram.py)."""

from collections.abc import Mapping
from datetime import date
from typing import Any

from sqlalchemy import BigInteger, cast, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from api.analytics.answers import LatencyPoint, LatencySeries, Percentiles
from api.analytics.asked import LatencyAsked, Span
from api.analytics.sources import within
from models.histogram import upper_end
from models.statuses import Latency, OperationKind
from models.tables.analytics import LatencyChange, LatencySum

PERCENTS = (50, 90, 99)
_NONE = Percentiles(count=0, p50_us=None, p90_us=None, p99_us=None)
_KINDS = (OperationKind.BORROW, OperationKind.REPAY)


async def latency(session: AsyncSession, asked: LatencyAsked, span: Span) -> list[LatencySeries]:
    found = await _percentiles(session, span)
    kinds = [kind for kind in _KINDS if asked.kind in (None, kind)]
    return [LatencySeries(kind=kind, points=[_point(found, kind, start) for start in span.starts]) for kind in kinds]


def _point(found: Mapping[tuple[date, str, str], Percentiles], kind: OperationKind, start: date) -> LatencyPoint:
    decision, completion = (found.get((start, kind, measured), _NONE) for measured in Latency)
    return LatencyPoint(start=start, decision=decision, completion=completion)


async def _percentiles(session: AsyncSession, span: Span) -> Mapping[tuple[date, str, str], Percentiles]:
    """Each percentile is the first slot up to which at least so many in a hundred are."""
    rows = within(span, LatencySum, LatencyChange, ("kind", "latency", "slot", "number")).subquery()
    of = (rows.c.start, rows.c.kind, rows.c.latency)
    number = cast(func.sum(rows.c.number), BigInteger)
    slots = select(
        *of,
        rows.c.slot,
        func.sum(number).over(partition_by=of, order_by=rows.c.slot).label("so_far"),
        func.sum(number).over(partition_by=of).label("all_of_them"),
    )
    slots_of = slots.group_by(*of, rows.c.slot).having(number > 0).subquery()
    percentiles = [
        func.min(slots_of.c.slot).filter(slots_of.c.so_far * 100 >= slots_of.c.all_of_them * percent)
        for percent in PERCENTS
    ]
    key = (slots_of.c.start, slots_of.c.kind, slots_of.c.latency)
    query = select(*key, func.max(slots_of.c.all_of_them), *percentiles).group_by(*key)
    return {tuple(row[:3]): _told(*row[3:]) for row in await session.execute(query)}


def _told(number: Any, p50: int, p90: int, p99: int) -> Percentiles:
    return Percentiles(count=int(number), p50_us=upper_end(p50), p90_us=upper_end(p90), p99_us=upper_end(p99))
