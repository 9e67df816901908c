"""The store's promises: one row for one effect, whoever comes first."""

import asyncio
from collections.abc import Awaitable

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from chain import transactions
from chain.broken import GenerationTooEarly, LegExcluded, LegMisplanned, Overcharged
from chain.legs import PlannedLeg
from models import accounts
from models.errors import InvariantBroken
from models.messages.legs import LegOutcome, RepayCall, TransferCall
from models.statuses import LedgerKind, TransactionState
from models.tables import book
from models.tables.book import Entry
from models.tables.transactions import ChainTransaction
from tests.chain.lane.desk import GAS, SETTLEMENT, Desk
from tests.chain.lane.interrupted import Interrupted
from tests.chain.world import USD

ENDS = (TransactionState.REFUSED, TransactionState.ABANDONED)


async def test_a_repeated_submit_changes_nothing(desk: Desk) -> None:
    """The first row stays, and is the answer to every later submit of the same leg and generation."""
    await desk.lane_known()
    operation_id = await desk.funded(5 * USD)
    first = await desk.queue(desk.transfer(operation_id, 5 * USD))
    again = await desk.queue(desk.transfer(operation_id, 4 * USD))
    refused = await _refuse(desk, desk.transfer(operation_id, 5 * USD))
    assert first == again == refused
    assert (first.state, first.amount) == (TransactionState.QUEUED, 5 * USD)


async def test_submits_at_once_make_one_row(desk: Desk) -> None:
    """Of twenty submits at the same time one inserts, and all get its answer."""
    await desk.lane_known()
    operation_id = await desk.funded(5 * USD)
    outcomes = await asyncio.gather(*(desk.queue(desk.transfer(operation_id, 5 * USD)) for _ in range(20)))
    assert len(set(outcomes)) == 1
    assert await _rows(desk) == 1


async def test_a_refused_simulation_is_remembered(desk: Desk) -> None:
    """REFUSED is the answer to every later submit of that generation, and the next generation may be inserted."""
    await desk.lane_known()
    operation_id = await desk.funded(5 * USD)
    refused = await _refuse(desk, desk.transfer(operation_id, 5 * USD))
    assert await desk.queue(desk.transfer(operation_id, 5 * USD)) == refused
    assert (refused.state, refused.reason) == (TransactionState.REFUSED, "Pausable: paused")
    second = await desk.queue(desk.transfer(operation_id, 5 * USD, generation=2))
    assert (second.state, second.generation) == (TransactionState.QUEUED, 2)


async def test_a_generation_needs_the_last_one_to_be_without_effect(desk: Desk) -> None:
    """While a generation is alive, or succeeded, no other can exist; nor can one be skipped."""
    await desk.lane_known()
    operation_id = await desk.funded(5 * USD)
    with pytest.raises(GenerationTooEarly):
        await desk.queue(desk.transfer(operation_id, 5 * USD, generation=2))
    await desk.queue(desk.transfer(operation_id, 5 * USD))
    with pytest.raises(GenerationTooEarly):
        await desk.queue(desk.transfer(operation_id, 5 * USD, generation=2))
    async with desk.running():
        await desk.until(operation_id, "settle", TransactionState.FINAL_OK)
    with pytest.raises(GenerationTooEarly):
        await desk.queue(desk.transfer(operation_id, 5 * USD, generation=2))
    assert await _rows(desk) == 1


async def test_settle_and_unwind_are_never_both_alive(desk: Desk) -> None:
    """The payout and its undoing exclude each other, also when they are submitted at once."""
    await desk.lane_known()
    operation_id = await desk.funded(10 * USD)
    unwind = desk.plan(operation_id, "unwind", RepayCall(position_id=1, amount=5 * USD), accounts.IN_FLIGHT)
    outcomes = await _all(desk.queue(desk.transfer(operation_id, 5 * USD)), desk.queue(unwind))
    assert sorted(isinstance(each, LegExcluded) for each in outcomes) == [False, True]
    assert await _rows(desk) == 1


async def test_an_abandoned_settle_lets_unwind_live(desk: Desk) -> None:
    """Once the payout can no longer happen, the borrow may be undone with all of the money."""
    await desk.lane_known()
    operation_id = await desk.funded(5 * USD)
    await _promise_fee(desk, operation_id, USD)
    await desk.queue(desk.transfer(operation_id, 4 * USD))
    assert await _abandon(desk, operation_id, "settle")
    unwind = desk.plan(operation_id, "unwind", RepayCall(position_id=1, amount=5 * USD), accounts.IN_FLIGHT)
    assert (await desk.queue(unwind)).state is TransactionState.QUEUED


async def test_a_stalled_submit_finds_a_tombstone(desk: Desk) -> None:
    """A submit that wakes up after its leg was given up changes nothing and is told so."""
    await desk.lane_known()
    operation_id = await desk.funded(5 * USD)
    assert await _abandon(desk, operation_id, "settle")
    late = await desk.queue(desk.transfer(operation_id, 5 * USD))
    assert (late.state, late.reason) == (TransactionState.ABANDONED, "given up")
    assert await desk.sent_count() == 0


@pytest.mark.parametrize("end", ENDS)
async def test_a_stalled_submit_of_the_next_generation_finds_a_tombstone(desk: Desk, end: TransactionState) -> None:
    """Giving a leg up also rules out the generation after the last, which may have been on its way."""
    await desk.lane_known()
    operation_id = await desk.funded(5 * USD)
    await _refuse(desk, desk.transfer(operation_id, 5 * USD))
    async with desk.transaction() as session:
        await session.execute(update(ChainTransaction).values(state=end))
    assert await _abandon(desk, operation_id, "settle")
    late = await desk.queue(desk.transfer(operation_id, 5 * USD, generation=2))
    assert late.state is TransactionState.ABANDONED


async def test_giving_up_twice_is_giving_up_once(desk: Desk) -> None:
    """Repeating an abandonment leaves the rows as they are."""
    await desk.lane_known()
    operation_id = await desk.funded(5 * USD)
    assert await _abandon(desk, operation_id, "settle")
    assert await _abandon(desk, operation_id, "settle")
    assert await _rows(desk) == 1


async def test_what_may_have_its_effect_is_not_given_up(desk: Desk) -> None:
    """A leg with a nonce, one that a person looks at and one that succeeded cannot be released."""
    await desk.lane_known()
    operation_id = await desk.settle()
    async with desk.running():
        await desk.until(operation_id, "settle", TransactionState.FINAL_OK)
    states = [TransactionState.FINAL_OK, TransactionState.MINED, TransactionState.BROADCAST, TransactionState.PREPARED]
    for state in [*states, TransactionState.HELD]:
        async with desk.transaction() as session:
            await session.execute(update(ChainTransaction).values(state=state, held_reason="a test"))
        assert not await _abandon(desk, operation_id, "settle"), state
    assert await _rows(desk) == 1


async def test_a_leg_given_up_while_it_was_signed_is_not_sent(desk: Desk) -> None:
    """Between the lane's reading and its deciding a leg may be released: its signature is thrown away, its nonce is not lost."""
    await desk.lane_known()
    operation_id, other = await desk.settle(), await desk.settle()

    async def release() -> None:
        assert await _abandon(desk, operation_id, "settle")

    async with desk.running(desk.lane(signer=Interrupted(desk.signer, release))):
        behind = await desk.until(other, "settle", TransactionState.FINAL_OK)
    assert (await desk.row(operation_id)).state is TransactionState.ABANDONED
    assert behind.nonce == 0
    assert await desk.sent_count() == 1


async def test_a_leg_is_prepared_or_abandoned_and_never_both(desk: Desk) -> None:
    """Where the lane and a release reach for the same QUEUED leg, one of them gets it."""
    await desk.lane_known()
    operation_ids = [await desk.settle() for _ in range(30)]
    async with desk.running():
        released = await asyncio.gather(*(_abandon(desk, each, "settle") for each in operation_ids))
        ends = (TransactionState.FINAL_OK, TransactionState.ABANDONED)
        rows = [await desk.until(each, "settle", *ends) for each in operation_ids]
    for gave_up, row in zip(released, rows, strict=True):
        assert (row.state is TransactionState.ABANDONED) == gave_up
    sent = [row.nonce for row in rows if row.nonce is not None]
    assert sorted(sent) == list(range(len(sent)))
    assert await desk.sent_count() == len(sent)


async def test_repay_and_refund_are_at_most_what_was_collected(desk: Desk) -> None:
    """The legs of an operation never take more from its liability than went into it, also when submitted at once."""
    await desk.lane_known()
    account = accounts.liability("p")
    operation_id = await desk.funded(10 * USD, account)
    repay = desk.plan(operation_id, "repay", RepayCall(position_id=1, amount=7 * USD), account)
    refund = desk.plan(operation_id, "refund", TransferCall(recipient=SETTLEMENT, amount=4 * USD), account)
    outcomes = await _all(desk.queue(repay), desk.queue(refund))
    assert sum(isinstance(each, Overcharged) for each in outcomes) == 1
    assert await _rows(desk) == 1


async def test_a_submit_counts_what_another_is_about_to_take(desk: Desk) -> None:
    """While one leg of an operation is being inserted, the next one waits for it, and counts it."""
    await desk.lane_known()
    account = accounts.liability("p")
    operation_id = await desk.funded(10 * USD, account)
    repay = desk.plan(operation_id, "repay", RepayCall(position_id=1, amount=7 * USD), account)
    refund = desk.plan(operation_id, "refund", TransferCall(recipient=SETTLEMENT, amount=4 * USD), account)
    async with desk.transaction() as session:
        await transactions.insert_queued(session, repay, GAS)
        rival = asyncio.create_task(desk.queue(refund))
        await asyncio.wait({rival}, timeout=0.3)
        assert not rival.done()
    with pytest.raises(Overcharged):
        await rival


async def test_the_excess_is_refunded_beside_the_repayment(desk: Desk) -> None:
    """What the repayment leaves may be refunded to the last base unit, and not one more."""
    await desk.lane_known()
    account = accounts.liability("p")
    operation_id = await desk.funded(10 * USD, account)
    await desk.queue(desk.plan(operation_id, "repay", RepayCall(position_id=1, amount=7 * USD), account))
    above = TransferCall(recipient=SETTLEMENT, amount=3 * USD + 1)
    with pytest.raises(Overcharged):
        await desk.queue(desk.plan(operation_id, "refund", above, account))
    exact = TransferCall(recipient=SETTLEMENT, amount=3 * USD)
    assert (await desk.queue(desk.plan(operation_id, "refund", exact, account))).state is TransactionState.QUEUED


async def test_a_final_leg_counts_before_and_after_it_is_posted(desk: Desk) -> None:
    """A payout that is final takes its amount whether or not the ledger has it yet: neither never nor twice."""
    await desk.lane_known()
    operation_id = await desk.funded(10 * USD)
    async with desk.transaction() as session:
        await book.pend(session, [_payout(operation_id, 6 * USD)])
    await desk.queue(desk.transfer(operation_id, 6 * USD))
    async with desk.running():
        await desk.until(operation_id, "settle", TransactionState.FINAL_OK)
    for amount, fits in ((5 * USD, False), (4 * USD, True)):
        assert await _fits(desk, operation_id, amount) == fits
        async with desk.transaction() as session:
            await book.post(session, operation_id, "settle", 1)


@pytest.mark.parametrize("account", [accounts.FEE_INCOME, accounts.UNCLAIMED_INBOUND, None])
async def test_money_without_an_account_for_it_does_not_leave(desk: Desk, account: str | None) -> None:
    """A leg that takes USDC out must charge an account that is there for legs."""
    await desk.lane_known()
    operation_id = await desk.funded(5 * USD)
    call = TransferCall(recipient=SETTLEMENT, amount=USD)
    with pytest.raises(LegMisplanned):
        await desk.queue(desk.plan(operation_id, "settle", call, account))


async def _fits(desk: Desk, operation_id: str, amount: int) -> bool:
    """Whether a refund of this amount could be inserted; nothing is."""
    refund = desk.plan(operation_id, "refund", TransferCall(recipient=SETTLEMENT, amount=amount), accounts.IN_FLIGHT)
    async with AsyncSession(desk.database) as session:
        try:
            await transactions.insert_queued(session, refund, GAS)
        except Overcharged:
            return False
        finally:
            await session.rollback()
    return True


async def _refuse(desk: Desk, planned: PlannedLeg) -> LegOutcome:
    async with desk.transaction() as session:
        return await transactions.insert_refused(session, planned, "Pausable: paused")


async def _abandon(desk: Desk, operation_id: str, leg: str) -> bool:
    async with desk.transaction() as session:
        return await transactions.abandon(session, operation_id, leg, "given up")


async def _all(*submits: Awaitable[LegOutcome]) -> list[LegOutcome | InvariantBroken]:
    outcomes = await asyncio.gather(*submits, return_exceptions=True)
    return [each for each in outcomes if isinstance(each, LegOutcome | InvariantBroken)]


async def _rows(desk: Desk) -> int:
    async with desk.transaction() as session:
        return await session.scalar(select(func.count()).select_from(ChainTransaction)) or 0


async def _promise_fee(desk: Desk, operation_id: str, amount: int) -> None:
    fee = Entry(
        kind=LedgerKind.FEE,
        debit=accounts.IN_FLIGHT,
        credit=accounts.FEE_INCOME,
        amount=amount,
        operation_id=operation_id,
        leg="settle",
        generation=1,
    )
    async with desk.transaction() as session:
        await book.pend(session, [fee])


def _payout(operation_id: str, amount: int) -> Entry:
    return Entry(
        kind=LedgerKind.PAYOUT,
        debit=accounts.IN_FLIGHT,
        credit=accounts.PLATFORM_WALLET,
        amount=amount,
        operation_id=operation_id,
        leg="settle",
        generation=1,
    )
