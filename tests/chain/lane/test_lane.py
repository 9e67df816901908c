"""Legs on a real chain, from QUEUED to FINAL."""

from dataclasses import replace

from sqlalchemy import func, select, update

from chain.contracts.usdc import encode_approve
from contracts.deploy import Transaction
from contracts.funding import mint_usdc
from models import accounts
from models.messages.legs import CollectCall, RepayCall
from models.statuses import LedgerKind, OperationKind, OperationState, TransactionState
from models.tables import book
from models.tables.book import Entry
from models.tables.operations import Operation
from models.tables.transactions import ChainSigner
from tests.chain.lane.desk import GAS, SETTLEMENT, Desk, eventually
from tests.chain.lane.nodes import CannotEstimate
from tests.chain.world import USD

BIG_GAS = 500_000


async def test_a_transfer_becomes_final(desk: Desk) -> None:
    """A queued transfer is mined once, and its row says where and with what logs."""
    await desk.lane_known()
    before = await desk.world.balance(SETTLEMENT)
    operation_id = await desk.settle(5 * USD)
    async with desk.running():
        row = await desk.until(operation_id, "settle", TransactionState.FINAL_OK)
    assert await desk.world.balance(SETTLEMENT) == before + 5 * USD
    assert (row.nonce, row.result_tx_hash) == (0, (await desk.attempts())[0].hash)
    assert row.logs is not None
    assert row.final_at is not None


async def test_a_loan_is_borrowed_and_repaid(desk: Desk) -> None:
    """Borrow, approve and repay succeed with their logs; the allowance is given once, by a system operation that ends."""
    await desk.lane_known()
    operation_id = await desk.operation()
    await desk.queue_simulated(desk.borrow(operation_id, 1_000 * USD))
    async with desk.running():
        await desk.until(operation_id, "borrow", TransactionState.FINAL_OK)
        await _came_in(desk, operation_id, 1_000 * USD)
        for leg, amount in (("unwind", 600 * USD), ("repay", 400 * USD)):
            call = RepayCall(position_id=desk.world.line.position_id, amount=amount)
            await desk.queue(desk.plan(operation_id, leg, call, accounts.IN_FLIGHT), None)
        await desk.until(operation_id, "unwind", TransactionState.FINAL_OK)
        await desk.until(operation_id, "repay", TransactionState.FINAL_OK)
        await eventually(lambda: _approvals_are(desk, OperationState.DONE, 1))
    assert await desk.world.debt() < USD
    assert await desk.sent_count() == 4


async def test_a_repayment_that_the_vault_refuses_is_refused(desk: Desk) -> None:
    """A leg that had to wait for the allowance is simulated by the lane: what the vault refuses takes no nonce."""
    await desk.lane_known()
    operation_id = await desk.funded(5 * USD)
    call = RepayCall(position_id=desk.world.line.position_id, amount=5 * USD)  # nothing is owed
    await desk.queue(desk.plan(operation_id, "repay", call, accounts.IN_FLIGHT), None)
    async with desk.running():
        row = await desk.until(operation_id, "repay", TransactionState.REFUSED)
    assert row.reason == "Loan not active"
    assert await desk.sent_count() == 1  # the approval


async def test_a_leg_that_cannot_be_simulated_holds_up_no_other(desk: Desk, anvil_url: str) -> None:
    """A node's error about one leg is no refusal by its contract: the leg waits, and the others go on."""
    await desk.lane_known()
    waiting, other = await desk.funded(5 * USD), await desk.funded(5 * USD)
    await desk.queue(desk.transfer(waiting, 5 * USD), None)
    await desk.queue(desk.transfer(other, 5 * USD))
    async with CannotEstimate(anvil_url) as node, desk.running(desk.lane(node)):
        first = await desk.until(other, "settle", TransactionState.FINAL_OK)
        second = await desk.until(waiting, "settle", TransactionState.FINAL_OK)
    assert (first.nonce, second.nonce) == (0, 1)


async def test_usdc_is_collected(desk: Desk) -> None:
    """A collection pulls USDC from a payer that has approved the wallet."""
    await desk.lane_known()
    payer = desk.world.user
    await mint_usdc(desk.world.owner, desk.world.contracts, payer.address, 7 * USD)
    await payer.send(Transaction(desk.config.usdc, encode_approve(desk.wallet, 7 * USD)))
    operation_id = await desk.operation()
    await desk.queue_simulated(desk.plan(operation_id, "collect", CollectCall(payer=payer.address, amount=7 * USD)))
    async with desk.running():
        await desk.until(operation_id, "collect", TransactionState.FINAL_OK)
    assert await desk.world.balance(payer.address) == 0


async def test_two_hundred_legs_get_contiguous_nonces(desk: Desk) -> None:
    """A long queue is sent in order, with one nonce each and few commits."""
    await desk.lane_known()
    operation_ids = [await desk.settle(USD) for _ in range(200)]
    async with desk.running():
        for operation_id in operation_ids:
            await desk.until(operation_id, "settle", TransactionState.FINAL_OK)
    rows = [await desk.row(operation_id) for operation_id in operation_ids]
    assert [row.nonce for row in rows] == list(range(200))
    assert (await desk.signer_row()).next_nonce == 200
    # Rows of one transaction share their time, so this is the number of commits that prepared or sent all 200.
    commits = {row.prepared_at for row in rows} | {row.broadcast_at for row in rows}
    assert len(commits) <= 10


async def test_a_refusal_by_the_chain_is_final(desk: Desk) -> None:
    """A mined receipt of a failed call is FINAL_REVERTED, and never taken for success."""
    await desk.lane_known()
    operation_id = await desk.settle(1_000_000 * USD)
    async with desk.running():
        row = await desk.until(operation_id, "settle", TransactionState.FINAL_REVERTED)
    assert row.result_tx_hash is not None
    assert await desk.sent_count() == 1


async def test_missing_logs_hold_the_leg(desk: Desk) -> None:
    """A successful receipt without the expected logs is for a person: HELD, with the reason."""
    await desk.lane_known()
    operation_id = await desk.funded(USD)
    planned = desk.transfer(operation_id, USD)
    other = desk.transfer(operation_id, 2 * USD)
    await desk.queue(replace(planned, expected_logs=other.expected_logs))
    async with desk.running():
        row = await desk.until(operation_id, "settle", TransactionState.HELD)
    assert row.held_reason is not None
    assert "instead of one" in row.held_reason


async def test_an_unexpected_movement_holds_the_leg(desk: Desk) -> None:
    """USDC that moves to or from the wallet without being expected is for a person too."""
    await desk.lane_known()
    operation_id = await desk.funded(USD)
    await desk.queue(replace(desk.transfer(operation_id, USD), expected_logs=()))
    async with desk.running():
        row = await desk.until(operation_id, "settle", TransactionState.HELD)
    assert row.held_reason is not None
    assert "not expected" in row.held_reason


async def test_a_leg_on_the_float_waits_for_it(desk: Desk) -> None:
    """A residue that the float does not cover stays QUEUED, holds nobody up, and goes on after a top-up."""
    await desk.lane_known()
    operation_id = await _queued_residue(desk, 3)
    other = await desk.settle()
    async with desk.running():
        await desk.until(other, "settle", TransactionState.FINAL_OK)
        assert (await desk.row(operation_id, "residue-1")).state is TransactionState.QUEUED
        async with desk.transaction() as session:
            await book.record(session, _top_up(3))
        await desk.until(operation_id, "residue-1", TransactionState.FINAL_REVERTED)  # there is no debt


async def test_a_residue_too_large_for_the_float_keeps_no_smaller_one_waiting(desk: Desk) -> None:
    """Of two residues the float covers the second alone: that one goes, and the first waits, whatever was promised."""
    await desk.lane_known()
    large, small = await _queued_residue(desk, 9), await _queued_residue(desk, 2)
    async with desk.transaction() as session:
        await book.record(session, _top_up(5))
    async with desk.running():
        await desk.until(small, "residue-1", TransactionState.FINAL_REVERTED)  # there is no debt
        assert (await desk.row(large, "residue-1")).state is TransactionState.QUEUED


async def _queued_residue(desk: Desk, amount: int) -> str:
    """An operation with a queued leg on the platform float."""
    operation_id = await desk.operation()
    call = RepayCall(position_id=desk.world.line.position_id, amount=amount)
    await desk.queue(desk.plan(operation_id, "residue-1", call, accounts.FLOAT), BIG_GAS)
    async with desk.transaction() as session:
        await book.pend(session, [_residue(operation_id, amount)])
    return operation_id


async def test_a_leg_waits_until_its_money_has_come_in(desk: Desk) -> None:
    """Money that is only promised to come in does not cover a leg that takes it out."""
    await desk.lane_known()
    operation_id = await desk.operation()
    async with desk.transaction() as session:
        await book.pend(session, [_borrowed(operation_id, 5 * USD)])
    await desk.queue(desk.transfer(operation_id, 5 * USD))
    other = await desk.settle()
    async with desk.running():
        await desk.until(other, "settle", TransactionState.FINAL_OK)
        assert (await desk.row(operation_id)).state is TransactionState.QUEUED
        async with desk.transaction() as session:
            await book.post(session, operation_id, "borrow", 1)
        await desk.until(operation_id, "settle", TransactionState.FINAL_OK)


async def test_a_paused_signer_takes_no_nonce(desk: Desk) -> None:
    """While the signer is paused nothing leaves QUEUED; afterwards everything does."""
    await desk.lane_known()
    await _pause(desk, paused=True)
    operation_id = await desk.settle()
    async with desk.running():
        await eventually(lambda: _beats_after(desk, operation_id))
        assert (await desk.row(operation_id)).state is TransactionState.QUEUED
        await _pause(desk, paused=False)
        await desk.until(operation_id, "settle", TransactionState.FINAL_OK)


def test_gas_is_the_simulated_gas_and_a_margin(desk: Desk) -> None:
    """The gas limit follows from the row, rounded up, with room for two slots that were emptied meanwhile."""
    assert desk.config.with_gas_margin(GAS) == 130_000 + 2 * 17_100
    assert desk.config.with_gas_margin(1) == 2 + 2 * 17_100


async def _came_in(desk: Desk, operation_id: str, amount: int) -> None:
    async with desk.transaction() as session:
        await book.pend(session, [_borrowed(operation_id, amount)])
        await book.post(session, operation_id, "borrow", 1)


async def _approvals_are(desk: Desk, state: OperationState, number: int) -> bool:
    async with desk.transaction() as session:
        query = select(Operation.state).where(Operation.kind == OperationKind.SYSTEM)
        return list((await session.scalars(query)).all()) == [state] * number


async def _pause(desk: Desk, *, paused: bool) -> None:
    values = {"paused_at": func.now(), "paused_reason": "a test"} if paused else {"paused_at": None}
    async with desk.transaction() as session:
        await session.execute(update(ChainSigner).values(values))


async def _beats_after(desk: Desk, operation_id: str) -> bool:
    """Whether the lane has worked on for some rounds since the leg was queued."""
    beat, queued = (await desk.signer_row()).lane_beat_at, (await desk.row(operation_id)).queued_at
    return beat is not None and beat > queued + 3 * desk.config.queue_poll


def _borrowed(operation_id: str, amount: int) -> Entry:
    return Entry(
        kind=LedgerKind.BORROW,
        debit=accounts.PLATFORM_WALLET,
        credit=accounts.IN_FLIGHT,
        amount=amount,
        operation_id=operation_id,
        leg="borrow",
        generation=1,
    )


def _residue(operation_id: str, amount: int) -> Entry:
    return Entry(
        kind=LedgerKind.RESIDUE,
        debit=accounts.FLOAT,
        credit=accounts.PLATFORM_WALLET,
        amount=amount,
        operation_id=operation_id,
        leg="residue-1",
        generation=1,
    )


def _top_up(amount: int) -> Entry:
    return Entry(kind=LedgerKind.TREASURY, debit=accounts.PLATFORM_WALLET, credit=accounts.FLOAT, amount=amount)
