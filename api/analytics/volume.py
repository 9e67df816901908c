"""What was borrowed, owed, earned, repaid, and what came to nothing: a series of buckets for all, a partner or a tier."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import func, literal, select
from sqlalchemy.ext.asyncio import AsyncSession

from api.analytics.answers import VolumePoint, VolumeSeries
from api.analytics.asked import GroupBy, Span, VolumeAsked, Whose
from api.analytics.sources import flows, of_partners
from models.statuses import PartnerTier
from models.tables.analytics import FLOWS
from models.tables.partners import Partner

Sums = Mapping[str, int]
_NOTHING: Sums = dict.fromkeys(FLOWS, 0)
MOST_POINTS = 620
"""On a page; where partners are told apart, long spans have fewer of them on each."""
_COUNTS = frozenset(name for name in FLOWS if name.startswith(("loans", "repayments")))


@dataclass(frozen=True, slots=True)
class _Group:
    key: str
    partner_id: str | None = None
    tier: PartnerTier | None = None


async def volume(session: AsyncSession, asked: VolumeAsked, span: Span) -> tuple[list[VolumeSeries], str | None]:
    """The series, and the cursor of the next partners where they are told apart and there are more."""
    groups, following = await _groups(session, asked, span)
    sums = await _sums(session, asked, span, groups)
    return [_series(group, span, sums[group.key]) for group in groups], following


async def partners_page(
    session: AsyncSession, whose: Whose, cursor: str | None, limit: int
) -> tuple[Sequence[Partner], str | None]:
    """Partners in the order of their ids, and the cursor of the next page."""
    query = select(Partner).order_by(Partner.id).limit(limit + 1)
    if cursor is not None:
        query = query.where(Partner.id > cursor)
    if whose.partner_id is not None:
        query = query.where(Partner.id == whose.partner_id)
    if whose.tier is not None:
        query = query.where(Partner.tier == whose.tier)
    found = (await session.scalars(query)).all()
    shown = found[:limit]
    return shown, shown[-1].id if len(found) > limit else None


async def _groups(session: AsyncSession, asked: VolumeAsked, span: Span) -> tuple[list[_Group], str | None]:
    match asked.group_by:
        case GroupBy.NONE:
            return [_Group("")], None
        case GroupBy.TIER:
            return [_Group(tier, tier=tier) for tier in PartnerTier if asked.tier in (None, tier)], None
        case GroupBy.PARTNER:
            partners, following = await partners_page(
                session, asked, asked.cursor, min(asked.limit, MOST_POINTS // len(span.starts))
            )
            return [_Group(each.id, each.id, each.tier) for each in partners], following


async def _sums(
    session: AsyncSession, asked: VolumeAsked, span: Span, groups: Sequence[_Group]
) -> Mapping[str, Mapping[date | None, Sums]]:
    of_all = asked.group_by is GroupBy.NONE and asked.partner_id is None and asked.tier is None
    rows = flows(span, of_all=of_all).subquery()
    key = {GroupBy.NONE: literal(""), GroupBy.TIER: Partner.tier, GroupBy.PARTNER: rows.c.partner_id}[asked.group_by]
    query = select(rows.c.start, key, *(func.sum(rows.c[name]) for name in FLOWS))
    if not of_all:
        query = of_partners(query, rows, asked)
    if asked.group_by is GroupBy.PARTNER:
        query = query.where(rows.c.partner_id.in_([group.key for group in groups]))
    found: Mapping[str, dict[date | None, Sums]] = defaultdict(dict)
    for start, group, *values in await session.execute(query.group_by(rows.c.start, key)):
        found[group][start] = dict(zip(FLOWS, map(int, values), strict=True))
    return found


def _series(group: _Group, span: Span, sums: Mapping[date | None, Sums]) -> VolumeSeries:
    outstanding = sums.get(None, _NOTHING)["outstanding"]
    points = []
    for start in span.starts:
        found = sums.get(start, _NOTHING)
        outstanding += found["outstanding"]
        points.append(_point(start, {**found, "outstanding": outstanding}))
    return VolumeSeries(partner_id=group.partner_id, tier=group.tier, points=points)


def _point(start: date, sums: Sums) -> VolumePoint:
    told: dict[str, Any] = {name: value if name in _COUNTS else str(value) for name, value in sums.items()}
    return VolumePoint(start=start, **told)
