"""What a partner is told is true: an event is written by the transaction that makes it so, or not at all (invariant 7)."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from activities.limits import LimitActivities
from activities.loans import LoanActivities
from models.errors import LegReverted
from models.messages.common import OperationInput, Outcome, Refuse
from models.money import quote
from models.statuses import EventType, LegName
from models.tables.operations import Event
from models.tables.session import Transaction
from tests import factories as make
from tests.activities.desk import PACE, RESIDUE_CAP, Desk, chain_that_is_never_asked, open_desk

REFUSAL = LegReverted(LegName.BORROW, "the test says so").payload()

Ending = Callable[[Transaction, str], Awaitable[object]]


class Undone(Exception):
    """The process dies before the commit."""


async def _activates(transaction: Transaction, operation_id: str) -> Outcome:
    return await LoanActivities(transaction).activate_loan(OperationInput(operation_id=operation_id))


async def _releases(transaction: Transaction, operation_id: str) -> Outcome:
    limits = LimitActivities(transaction, chain_that_is_never_asked(), PACE, RESIDUE_CAP)
    return await limits.release_limit(Refuse(operation_id=operation_id, refusal=REFUSAL))


async def _refuses(transaction: Transaction, operation_id: str) -> object:
    return await LoanActivities(transaction).refuse_borrow(Refuse(operation_id=operation_id, refusal=REFUSAL))


async def _paid_out(desk: Desk) -> str:
    operation_id = await desk.drawn()
    await desk.leg(operation_id, LegName.SETTLE, amount=quote(make.PRINCIPAL, 50).payout)
    return operation_id


async def _asked(desk: Desk) -> str:
    return (await desk.asks()).operation_id


@pytest.mark.parametrize(
    ("begun", "ending", "told"),
    [
        (_paid_out, _activates, EventType.LOAN_BORROWED),
        (Desk.reserved, _releases, EventType.LOAN_FAILED),
        (_asked, _refuses, EventType.LOAN_REJECTED),
    ],
)
async def test_what_is_undone_was_never_told(
    transaction: Transaction, begun: Callable[[Desk], Awaitable[str]], ending: Ending, told: EventType
) -> None:
    """An end whose commit did not happen has told nobody; done again, it tells once."""
    operation_id = await begun(await open_desk(transaction))
    with pytest.raises(Undone):
        await ending(first_undone(transaction), operation_id)
    assert await events(transaction, operation_id) == []
    await ending(transaction, operation_id)
    await ending(transaction, operation_id)
    assert await events(transaction, operation_id) == [told]


def first_undone(transaction: Transaction) -> Transaction:
    """Transactions of which the first to be opened is undone at its end; any other commits."""
    numbers = count()

    @asynccontextmanager
    async def numbered() -> AsyncIterator[AsyncSession]:
        number = next(numbers)
        async with transaction() as session:
            yield session
            if number == 0:
                raise Undone

    return numbered


async def events(transaction: Transaction, operation_id: str) -> list[EventType]:
    async with transaction() as session:
        return list(await session.scalars(select(Event.type).where(Event.operation_id == operation_id)))
