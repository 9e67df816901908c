"""A partner's events become visible in the order of their numbers, so that nobody who reads on from the last one misses one."""

import asyncio
from functools import partial

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from activities.operation_rows import write_event
from activities.snapshots import loan_snapshot
from models.statuses import EventType
from models.tables.operations import Event
from models.tables.partners import Partner
from tests import factories as make
from tests.engine import until
from tests.webhooks.desk import Desk

_WAITS = text("""
SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database
WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()
""")


async def test_a_number_is_drawn_when_the_one_before_is_visible(desk: Desk) -> None:
    """A transaction that writes an event waits for another one of the partner's that has, until that has committed."""
    async with desk.transaction() as first:
        await _write(first, desk.partner_id)
        second = asyncio.ensure_future(desk.event())
        await until(partial(_somebody_waits, desk))
        async with desk.transaction() as looking:
            assert await looking.scalar(select(func.count()).select_from(Event)) == 0
    later = await second
    async with desk.transaction() as session:
        assert list(await session.scalars(select(Event.id).order_by(Event.sequence)))[-1] == later


async def test_other_partners_do_not_wait(desk: Desk) -> None:
    """The order is each partner's own."""
    async with desk.transaction() as session:
        other = (await make.new_partner(session)).id
    async with desk.transaction() as first:
        await _write(first, desk.partner_id)
        assert await desk.event(partner_id=other)


async def _write(session: AsyncSession, partner_id: str) -> None:
    partner = await session.get_one(Partner, partner_id)
    operation = await make.new_operation(session, partner)
    loan = await make.new_loan(session, operation)
    await session.refresh(loan)
    write_event(session, operation, EventType.LOAN_BORROWED, loan_snapshot(loan))
    await session.flush()


async def _somebody_waits(desk: Desk) -> bool:
    async with desk.transaction() as session:
        return bool(await session.scalar(_WAITS))
