"""Sums and the changes that have not joined them yet, read in one statement, so that no roll-up is ever seen half done."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import CompoundSelect, FromClause, Select, case, literal, null, select, union_all
from sqlalchemy.ext.asyncio import AsyncSession

from activities.rollups import start_of
from api.analytics.asked import Span, Whose, bucket_of
from models.errors import PartnerNotFound
from models.statuses import Bucket
from models.tables.analytics import ALL_PARTNERS, FLOWS, FlowChange, FlowSum
from models.tables.base import Base
from models.tables.partners import Partner


async def check_partner(session: AsyncSession, whose: Whose) -> None:
    """Raises PartnerNotFound where figures of a partner are asked for that there is not: nothing is not the same as none."""
    if whose.partner_id is not None and await session.get(Partner, whose.partner_id) is None:
        raise PartnerNotFound(whose.partner_id)


def within(span: Span, sums: type[Base], changes: type[Base], columns: Sequence[str]) -> CompoundSelect[Any]:
    """The rows of a span, by the ``start`` of their bucket and not yet added up."""
    return union_all(_summed(span, sums, columns), _waiting(span, changes, columns))


def flows(span: Span, *, of_all: bool) -> CompoundSelect[Any]:
    """The same of flows, and all that was before the span with ``start`` NULL: what was owed when it began.

    That is read from whole months, and from days between the last of them and the span. ``of_all`` reads the sums over all
    partners in place of each partner's.
    """
    columns = ("partner_id", *FLOWS)
    sums, changes = _columns(FlowSum), _columns(FlowChange)
    month = bucket_of(Bucket.MONTH, span.first)
    earlier = [null().label("start"), *(sums[name] for name in columns)]
    total = sums["partner_id"] == ALL_PARTNERS
    whose = total if of_all else ~total
    months = select(*earlier).where(whose, sums["bucket"] == Bucket.MONTH, sums["start"] < month)
    days = select(*earlier).where(
        whose, sums["bucket"] == Bucket.DAY, sums["start"] >= month, sums["start"] < span.first
    )
    start = case((changes["day"] >= span.first, start_of(literal(str(span.bucket)), changes["day"])), else_=None)
    waiting = select(start.label("start"), *(changes[name] for name in columns)).where(changes["day"] < span.end)
    return union_all(_summed(span, FlowSum, columns).where(whose), months, days, waiting)


def of_partners(query: Select[Any], rows: FromClause, whose: Whose) -> Select[Any]:
    """Joins the partners of the rows, and leaves out those that were not asked for."""
    query = query.join(Partner, Partner.id == rows.c.partner_id)
    if whose.partner_id is not None:
        query = query.where(rows.c.partner_id == whose.partner_id)
    return query if whose.tier is None else query.where(Partner.tier == whose.tier)


def _summed(span: Span, sums: type[Base], columns: Sequence[str]) -> Select[Any]:
    of = _columns(sums)
    in_span = (of["bucket"] == span.bucket, of["start"] >= span.first, of["start"] < span.end)
    return select(of["start"], *(of[name] for name in columns)).where(*in_span)


def _waiting(span: Span, changes: type[Base], columns: Sequence[str]) -> Select[Any]:
    of = _columns(changes)
    start = start_of(literal(str(span.bucket)), of["day"]).label("start")
    return select(start, *(of[name] for name in columns)).where(of["day"] >= span.first, of["day"] < span.end)


def _columns(table: type[Base]) -> Any:
    return table.__table__.c
