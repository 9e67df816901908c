"""How a person leads a leg out of HELD, and what the chain must show for it."""

from collections.abc import Awaitable
from dataclasses import replace

import pytest

from chain.client import ChainClient
from chain.finality import Finality
from chain.legs import ExpectedLog
from models.errors import HoldNotResolvable
from models.ids import leg_id
from models.messages.legs import ApproveCall
from models.messages.operators import HoldResolution
from models.statuses import IncidentKind, TransactionState
from tests import factories as make
from tests.chain.lane.desk import Desk
from tests.chain.world import USD

RESUME, ACCEPT = HoldResolution.RESUME, HoldResolution.ACCEPT
NOBODY = "0x" + "77" * 32


async def test_a_receipt_is_accepted_although_it_shows_more(desk: Desk) -> None:
    """With a final receipt of an attempt the leg is FINAL_OK as it stands, and says what was overlooked."""
    operation_id = await _held_for_more(desk)
    held = await desk.row(operation_id)
    answer = await desk.resolve(operation_id, ACCEPT)
    row = await desk.row(operation_id)
    assert answer.state is row.state is TransactionState.FINAL_OK
    assert (row.result_tx_hash, row.held_reason) == (held.result_tx_hash, None)
    assert row.reason == f"accepted although: {held.held_reason}"
    assert row.final_at is not None
    assert await desk.incidents() == set()


async def test_a_receipt_without_the_legs_own_effect_is_not_accepted(desk: Desk) -> None:
    """What the ledger and the loan would say of it is not what happened: it stays HELD, and the words say what is missing."""
    operation_id = await _held_for_its_logs(desk)
    await _refused(desk.resolve(operation_id, ACCEPT), "cannot be written from the receipt .* 0 logs of")
    assert (await desk.row(operation_id)).state is TransactionState.HELD
    assert {kind for kind, _ in await desk.incidents()} == {IncidentKind.LEG_HELD}


async def test_an_allowance_is_accepted_whatever_its_receipt_shows(desk: Desk) -> None:
    """Nothing is written from it: the allowance itself is read from the chain."""
    await desk.lane_known()
    async with desk.transaction() as session:
        operation = await make.new_system_operation(session)
    planned, other = (desk.plan(operation.id, "approve", ApproveCall(amount=amount)) for amount in (USD, 2 * USD))
    await desk.queue(replace(planned, expected_logs=other.expected_logs))
    async with desk.running():
        await desk.until(operation.id, "approve", TransactionState.HELD)
    assert (await desk.resolve(operation.id, ACCEPT, leg="approve")).state is TransactionState.FINAL_OK


async def test_a_leg_that_is_resumed_is_watched_again(desk: Desk) -> None:
    """It goes back to BROADCAST without a receipt, and the same logs hold it again."""
    operation_id = await _held_for_its_logs(desk)
    answer = await desk.resolve(operation_id, RESUME)
    row = await desk.row(operation_id)
    assert answer.state is row.state is TransactionState.BROADCAST
    assert (row.result_tx_hash, row.result_block, row.held_reason) == (None, None, None)
    assert await desk.incidents() == set()
    async with desk.running():
        await desk.until(operation_id, "settle", TransactionState.HELD)
        await desk.until_incident(IncidentKind.LEG_HELD, leg_id(operation_id, "settle", 1))


async def test_of_two_operators_one_decides(desk: Desk) -> None:
    """The second is told that the leg is not HELD any more."""
    operation_id = await _held_for_more(desk)
    await desk.resolve(operation_id, ACCEPT)
    await _refused(desk.resolve(operation_id, RESUME), "is FINAL_OK, not HELD")


async def test_what_is_not_there_cannot_be_resolved(desk: Desk) -> None:
    """Neither can a leg that was never HELD."""
    await desk.lane_known()
    operation_id = await desk.settle()
    await _refused(desk.resolve(operation_id, ACCEPT), "is QUEUED, not HELD")
    await _refused(desk.resolve(operation_id, ACCEPT, leg="unwind"), "no such leg")


async def test_a_receipt_must_be_final(desk: Desk, manual_mining: ChainClient) -> None:
    """A receipt that is not deep enough is no ground to accept anything on."""
    await manual_mining.rpc.call("evm_setAutomine", True)
    operation_id = await _held_for_its_logs(desk)
    await manual_mining.rpc.call("evm_setAutomine", False)
    far = Finality(confirmations=1_000)
    await _refused(desk.resolve(operation_id, ACCEPT, finality=far), "not final yet")
    assert (await desk.row(operation_id)).state is TransactionState.HELD


async def test_evidence_must_be_of_the_legs_own_nonce(desk: Desk) -> None:
    """Neither an attempt of the leg, nor another account's transaction, nor one at another nonce, nor an unknown one."""
    operation_id = await _held_for_its_logs(desk)
    own = (await desk.attempts())[0].hash
    later = await desk.use_key_elsewhere()
    others = await desk.world.borrow(desk.world.user, 500 * USD)
    await _refused(desk.resolve(operation_id, ACCEPT, own), "is an attempt of")
    await _refused(desk.resolve(operation_id, ACCEPT, later), "is nonce 1 of")
    await _refused(desk.resolve(operation_id, ACCEPT, others.tx_hash), f"of {desk.world.user.address}")
    await _refused(desk.resolve(operation_id, ACCEPT, NOBODY), "has no receipt")
    await _refused(desk.resolve(operation_id, RESUME, own), "does not go with resuming")
    assert (await desk.row(operation_id)).state is TransactionState.HELD


async def _held_for_its_logs(desk: Desk) -> str:
    """An operation whose mined transfer is not the one that was expected."""
    return await _held(desk, desk.transfer("unused", 2 * USD).expected_logs)


async def _held_for_more(desk: Desk) -> str:
    """An operation whose transaction moved USDC that was not expected of it."""
    return await _held(desk, ())


async def _held(desk: Desk, expected: tuple[ExpectedLog, ...]) -> str:
    await desk.lane_known()
    operation_id = await desk.funded(USD)
    await desk.queue(replace(desk.transfer(operation_id, USD), expected_logs=expected))
    async with desk.running():
        await desk.until(operation_id, "settle", TransactionState.HELD)
        await desk.until_incident(IncidentKind.LEG_HELD, leg_id(operation_id, "settle", 1))
    return operation_id


async def _refused(resolving: Awaitable[object], words: str) -> None:
    with pytest.raises(HoldNotResolvable, match=words):
        await resolving
