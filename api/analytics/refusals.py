"""Why requests to borrow and to repay were refused, the most frequent reasons first."""

from sqlalchemy import func, null, select
from sqlalchemy.ext.asyncio import AsyncSession

from api.analytics.answers import RefusalCount
from api.analytics.asked import RefusalGroup, RefusalsAsked, Span
from api.analytics.sources import of_partners, within
from models.tables.analytics import RefusalChange, RefusalSum


async def refusals(session: AsyncSession, asked: RefusalsAsked, span: Span) -> list[RefusalCount]:
    rows = within(span, RefusalSum, RefusalChange, ("partner_id", "kind", "code", "number")).subquery()
    whose = rows.c.partner_id if asked.group_by is RefusalGroup.PARTNER else null()
    number = func.sum(rows.c.number)
    query = of_partners(select(rows.c.code, rows.c.kind, whose.label("whose"), number), rows, asked)
    if asked.kind is not None:
        query = query.where(rows.c.kind == asked.kind)
    key = [rows.c.code, rows.c.kind, *([rows.c.partner_id] if asked.group_by is RefusalGroup.PARTNER else [])]
    query = query.group_by(*key).having(number > 0).order_by(number.desc(), *key).limit(asked.limit)
    return [
        RefusalCount(code=code, kind=kind, partner_id=partner_id, count=int(count))
        for code, kind, partner_id, count in await session.execute(query)
    ]
