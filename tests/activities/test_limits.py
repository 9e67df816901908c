"""A partner's limits: taken and given back exactly once, however many ask at the same time (money.md section 4)."""

import asyncio
from collections import Counter
from datetime import timedelta
from itertools import chain

import pytest
from sqlalchemy import func, select, update

from models.errors import DailyLimitExceeded, InvariantBroken, PlanAlreadyActive, Refused, TotalLimitExceeded
from models.messages.borrow import BorrowDecision, ReserveLimit
from models.messages.common import OperationInput
from models.statuses import LoanStatus, ReservationState
from models.tables.ledger import LedgerTransfer
from models.tables.loans import Loan, Reservation
from models.tables.partners import Partner, PartnerDay
from models.tables.session import Transaction
from tests import factories as make
from tests.activities.conftest import CONNECTIONS
from tests.activities.desk import Desk, Usage, open_desk

PRINCIPAL = make.PRINCIPAL
ROOMY = 10_000 * PRINCIPAL


async def decisions(desk: Desk, *asked: ReserveLimit) -> list[BorrowDecision | BaseException]:
    """All at once, as far as there are connections; on a busy machine none shall fail for having waited for one."""
    connections = asyncio.Semaphore(CONNECTIONS)

    async def decide(each: ReserveLimit) -> BorrowDecision:
        async with connections:
            return await desk.limits.reserve_limit(each)

    return await asyncio.gather(*map(decide, asked), return_exceptions=True)


def tally(answers: list[BorrowDecision | BaseException]) -> Counter[str]:
    """How many were accepted, and how many refused by which rule; anything else is a failure of the test."""
    unexpected = [each for each in answers if isinstance(each, BaseException) and not isinstance(each, Refused)]
    assert unexpected == []
    return Counter(each.code if isinstance(each, Refused) else "accepted" for each in answers)


# Many at once


@pytest.mark.parametrize(
    ("limit", "asked", "fits", "code"),
    [
        ("total_borrow_limit", 1_000, 100, TotalLimitExceeded.code),
        ("daily_borrow_limit", 100, 10, DailyLimitExceeded.code),
    ],
)
async def test_a_thousand_for_a_hundred(transaction: Transaction, limit: str, asked: int, fits: int, code: str) -> None:
    """Of ten times as many borrows at once as fit into a limit, exactly those that fit are accepted."""
    limits = {"total_borrow_limit": ROOMY, "daily_borrow_limit": ROOMY, limit: fits * PRINCIPAL}
    desk = await open_desk(transaction, **limits)
    answers = await decisions(desk, *await desk.asks_for([PRINCIPAL] * asked))
    assert tally(answers) == {"accepted": fits, code: asked - fits}
    assert await desk.usage() == Usage(reserved=fits * PRINCIPAL, reserved_today=fits * PRINCIPAL)
    assert await reservations(desk) == [PRINCIPAL] * fits


async def test_what_is_left_goes_to_who_fits(transaction: Transaction) -> None:
    """Borrows of many sizes at once never take more than the limit, and each reservation was within it when it was made."""
    desk = await open_desk(transaction, total_borrow_limit=20 * PRINCIPAL)
    asked = await desk.asks_for([(1 + number % 7) * PRINCIPAL for number in range(60)])
    answers = tally(await decisions(desk, *asked))
    assert set(answers) == {"accepted", TotalLimitExceeded.code}
    taken = await reservations(desk)
    assert sum(taken) == (await desk.usage()).reserved <= 20 * PRINCIPAL
    async with transaction() as session:
        rows = await session.scalars(select(Reservation).where(Reservation.partner_id == desk.partner.id))
        assert all(row.total_used_before + row.amount <= row.total_limit for row in rows)


async def test_partners_do_not_share_limits(transaction: Transaction) -> None:
    """Two partners that borrow at once each have a limit of their own."""
    desks = [await open_desk(transaction, total_borrow_limit=5 * PRINCIPAL) for _ in range(2)]
    asked = [await desk.asks_for([PRINCIPAL] * 10) for desk in desks]
    answers = await asyncio.gather(*(decisions(desk, *of_desk) for desk, of_desk in zip(desks, asked, strict=True)))
    assert tally(list(chain(*answers))) == {"accepted": 10, TotalLimitExceeded.code: 10}


async def test_one_operation_reserves_once(transaction: Transaction) -> None:
    """One operation that is decided twenty times at once has one reservation, one loan, and twenty equal answers."""
    desk = await open_desk(transaction)
    asked = await desk.asks()
    first, *others = await decisions(desk, *[asked] * 20)
    assert isinstance(first, BorrowDecision)
    assert all(other == first for other in others)
    assert await desk.usage() == Usage(reserved=PRINCIPAL, reserved_today=PRINCIPAL)
    async with transaction() as session:
        loans = select(func.count()).select_from(Loan).where(Loan.operation_id == asked.operation_id)
        assert await session.scalar(loans) == 1


async def test_one_loan_for_a_position(transaction: Transaction) -> None:
    """Two partners that lend on one position at once: one does, and the other's limits are untouched."""
    desks = [await open_desk(transaction) for _ in range(2)]
    position_id = make.unique_number()
    asked = [await desk.asks(position_id=position_id) for desk in desks]
    answers = await asyncio.gather(*(decisions(desk, each) for desk, each in zip(desks, asked, strict=True)))
    assert tally(list(chain(*answers))) == {"accepted": 1, PlanAlreadyActive.code: 1}
    used = [await desk.usage() for desk in desks]
    assert sorted(each.reserved for each in used) == [0, PRINCIPAL]


# What counts


async def test_the_total_counts_what_is_outstanding_and_reserved(transaction: Transaction) -> None:
    """What is owed and what is promised both count; the refusal says what remains, and exactly that is granted."""
    desk = await open_desk(transaction, total_borrow_limit=10 * PRINCIPAL)
    await desk.drawn(4 * PRINCIPAL)
    await desk.reserved(3 * PRINCIPAL)
    with pytest.raises(TotalLimitExceeded) as refused:
        await desk.reserves(3 * PRINCIPAL + 1)
    assert refused.value.figures["remaining"] == str(3 * PRINCIPAL)
    await desk.reserves(3 * PRINCIPAL)
    with pytest.raises(TotalLimitExceeded):
        await desk.reserves(1)


async def test_the_day_counts_what_was_borrowed_and_reserved(transaction: Transaction) -> None:
    """What was borrowed and promised today both count, and a day before today does not."""
    desk = await open_desk(transaction, daily_borrow_limit=10 * PRINCIPAL)
    await desk.drawn(4 * PRINCIPAL)
    await desk.reserved(3 * PRINCIPAL)
    with pytest.raises(DailyLimitExceeded) as refused:
        await desk.reserves(3 * PRINCIPAL + 1)
    assert refused.value.figures["remaining"] == str(3 * PRINCIPAL)
    await a_day_passes(desk)
    await desk.reserves(10 * PRINCIPAL)


async def test_a_lowered_limit_leaves_nothing(transaction: Transaction) -> None:
    """A limit that was lowered below what is taken leaves nothing, and not less than nothing."""
    desk = await open_desk(transaction, total_borrow_limit=10 * PRINCIPAL)
    await desk.drawn(4 * PRINCIPAL)
    async with transaction() as session:
        await session.execute(update(Partner).where(Partner.id == desk.partner.id).values(total_borrow_limit=PRINCIPAL))
    with pytest.raises(TotalLimitExceeded) as refused:
        await desk.reserves(1)
    assert refused.value.figures["remaining"] == "0"


async def test_a_refused_reservation_has_changed_nothing(transaction: Transaction) -> None:
    """A borrow that the limit refuses leaves no loan, no reservation and no promise in the ledger."""
    desk = await open_desk(transaction, total_borrow_limit=PRINCIPAL)
    asked = await desk.asks(PRINCIPAL + 1)
    with pytest.raises(TotalLimitExceeded):
        await desk.limits.reserve_limit(asked)
    assert await desk.usage() == Usage()
    async with transaction() as session:
        for table in (Loan, Reservation, LedgerTransfer):
            rows = select(func.count()).select_from(table).where(table.operation_id == asked.operation_id)
            assert await session.scalar(rows) == 0


# Giving back


async def test_a_release_gives_back_the_day(transaction: Transaction) -> None:
    """A borrow that never happened takes nothing from the total and nothing from its day."""
    desk = await open_desk(transaction, daily_borrow_limit=PRINCIPAL, total_borrow_limit=PRINCIPAL)
    operation_id = await desk.reserved()
    assert (await desk.releases(operation_id)).status == LoanStatus.FAILED
    assert await desk.usage() == Usage()
    await desk.reserves()


async def test_a_release_gives_back_its_own_day(transaction: Transaction) -> None:
    """A borrow of yesterday that is released today frees yesterday, and today is as it was."""
    desk = await open_desk(transaction)
    yesterday = await desk.reserved()
    await a_day_passes(desk)
    await desk.reserved(2 * PRINCIPAL)
    await desk.releases(yesterday)
    assert await desk.usage() == Usage(reserved=2 * PRINCIPAL, reserved_today=2 * PRINCIPAL)
    async with transaction() as session:
        days = select(func.sum(PartnerDay.reserved)).where(PartnerDay.partner_id == desk.partner.id)
        assert await session.scalar(days) == 2 * PRINCIPAL


async def test_a_release_counts_once(transaction: Transaction) -> None:
    """A release that is repeated ten times at once gives back once, and answers the same each time."""
    desk = await open_desk(transaction)
    operation_id = await desk.reserved()
    await desk.reserved()
    outcomes = await asyncio.gather(*(desk.releases(operation_id) for _ in range(10)))
    assert all(outcome == outcomes[0] for outcome in outcomes)
    assert await desk.usage() == Usage(reserved=PRINCIPAL, reserved_today=PRINCIPAL)


async def test_what_is_on_chain_is_not_released(transaction: Transaction) -> None:
    """A borrow that was drawn cannot be released as one that never happened."""
    desk = await open_desk(transaction)
    operation_id = await desk.drawn()
    with pytest.raises(InvariantBroken):
        await desk.releases(operation_id)
    assert await desk.usage() == Usage(outstanding=PRINCIPAL, borrowed=PRINCIPAL)


async def test_a_borrow_is_drawn_once(transaction: Transaction) -> None:
    """A borrow that is recorded ten times at once moves its amount once from reserved to outstanding, total and day."""
    desk = await open_desk(transaction)
    operation_id = await desk.drawn()
    again = OperationInput(operation_id=operation_id)
    await asyncio.gather(*(desk.loans.record_borrow(again) for _ in range(10)))
    assert await desk.usage() == Usage(outstanding=PRINCIPAL, borrowed=PRINCIPAL)


async def test_a_repayment_frees_the_total_and_not_the_day(transaction: Transaction) -> None:
    """What is repaid may be borrowed again, on another day: today's limit stays used."""
    desk = await open_desk(transaction, daily_borrow_limit=3 * PRINCIPAL, total_borrow_limit=2 * PRINCIPAL)
    loan = await desk.active(2 * PRINCIPAL)
    await desk.repays(loan, 2 * PRINCIPAL, interest=1)
    assert await desk.usage() == Usage(borrowed=2 * PRINCIPAL)
    with pytest.raises(DailyLimitExceeded):
        await desk.reserves(2 * PRINCIPAL)
    await a_day_passes(desk)
    await desk.reserves(2 * PRINCIPAL)


async def test_interest_frees_nothing(transaction: Transaction) -> None:
    """A part that is repaid frees the principal in it, and not the interest."""
    desk = await open_desk(transaction, total_borrow_limit=2 * PRINCIPAL)
    loan = await desk.active(2 * PRINCIPAL)
    await desk.repays(loan, PRINCIPAL, interest=PRINCIPAL)
    assert await desk.usage() == Usage(outstanding=PRINCIPAL, borrowed=2 * PRINCIPAL)
    with pytest.raises(TotalLimitExceeded):
        await desk.reserves(PRINCIPAL + 1)
    await desk.reserves(PRINCIPAL)


async def reservations(desk: Desk) -> list[int]:
    query = select(Reservation.amount).where(
        Reservation.partner_id == desk.partner.id, Reservation.state == ReservationState.RESERVED
    )
    async with desk.transaction() as session:
        return list(await session.scalars(query))


async def a_day_passes(desk: Desk) -> None:
    """What happened today, happened yesterday."""
    async with desk.transaction() as session:
        for table in (PartnerDay, Reservation):
            query = update(table).where(table.partner_id == desk.partner.id)
            await session.execute(query.values(day=table.day - timedelta(days=1)))
