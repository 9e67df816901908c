"""How much of their limits partners use, straight from the rows that decide about the next borrow (money.md section 4)."""

from datetime import date

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from api.analytics.answers import LimitUse, PartnerUse
from api.analytics.asked import UtilisationAsked
from api.analytics.volume import partners_page
from models.money import BASIS_POINTS
from models.tables.partners import Partner, PartnerDay


async def utilisation(
    session: AsyncSession, asked: UtilisationAsked, today: date
) -> tuple[list[PartnerUse], str | None]:
    """Partners in the order of their ids, and the cursor of the next page."""
    partners, following = await partners_page(session, asked, asked.cursor, asked.limit)
    query = select(PartnerDay).where(PartnerDay.day == today, PartnerDay.partner_id.in_([each.id for each in partners]))
    days = {day.partner_id: day for day in await session.scalars(query)}
    return [_use(partner, days.get(partner.id)) for partner in partners], following


def _use(partner: Partner, day: PartnerDay | None) -> PartnerUse:
    borrowed, reserved = (0, 0) if day is None else (day.borrowed, day.reserved)
    return PartnerUse(
        partner_id=partner.id,
        name=partner.name,
        tier=partner.tier,
        status=partner.status,
        daily=_limit(partner.daily_borrow_limit, borrowed, reserved),
        total=_limit(partner.total_borrow_limit, partner.outstanding, partner.reserved),
    )


def _limit(limit: int, drawn: int, reserved: int) -> LimitUse:
    """A limit that was lowered since may be used by more than all of it."""
    used = drawn + reserved
    return LimitUse(
        limit=str(limit),
        used=str(used),
        reserved=str(reserved),
        remaining=str(max(0, limit - used)),
        used_bps=None if limit == 0 else used * BASIS_POINTS // limit,
    )
