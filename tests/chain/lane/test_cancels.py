"""Legs that shall not have their effect any more: replaced at their nonce, and the final receipt says which won."""

from datetime import timedelta
from itertools import pairwise

from chain.client import ChainClient
from chain.finality import Finality
from models.messages.operators import CancelEffect
from models.statuses import AttemptKind, TransactionState
from models.tables.transactions import ChainAttempt
from tests.chain.lane.desk import Desk, eventually
from tests.chain.lane.nodes import NoCancellations, Refusing, offer_of
from tests.chain.world import USD

NEVER = timedelta(hours=1)
THREE = Finality(confirmations=3)


async def test_a_cancellation_wins(desk: Desk, manual_mining: ChainClient) -> None:
    """A self-transfer with simulated gas takes the nonce, and the leg moved nothing and never will."""
    await desk.lane_known()
    operation_id = await desk.settle(5 * USD, desk.world.user.address)
    async with desk.running(desk.lane(bump_after=NEVER)):
        await desk.until(operation_id, "settle", TransactionState.BROADCAST)
        assert await desk.cancel(operation_id, reason="the partner asked") is CancelEffect.ASKED
        payload, cancel = await _with_cancellation(desk)
        await manual_mining.rpc.call("evm_mine")
        row = await desk.until(operation_id, "settle", TransactionState.FINAL_CANCELLED)
    assert (row.result_tx_hash, row.reason) == (cancel.hash, "the partner asked")
    offer = offer_of(cancel.raw)
    assert offer.outbids(offer_of(payload.raw), 10)
    assert (offer.nonce, offer.data, offer.gas) == (0, b"", desk.config.with_gas_margin(21_000))
    assert await desk.world.balance(desk.world.user.address) == 0
    assert (await desk.signer_row()).next_nonce == await desk.sent_count() == 1


async def test_the_payload_may_win_all_the_same(desk: Desk, anvil_url: str, manual_mining: ChainClient) -> None:
    """Where the payload was mined first the leg is FINAL_OK, whatever was asked for."""
    await desk.lane_known()
    recipient = desk.world.user.address
    operation_id = await desk.settle(5 * USD, recipient)
    async with NoCancellations(anvil_url) as node, desk.running(desk.lane(node, bump_after=NEVER)):
        await desk.until(operation_id, "settle", TransactionState.BROADCAST)
        await desk.cancel(operation_id)
        payload, _ = await _with_cancellation(desk)
        await manual_mining.rpc.call("evm_mine")
        row = await desk.until(operation_id, "settle", TransactionState.FINAL_OK)
    assert (row.result_tx_hash, row.reason) == (payload.hash, None)
    assert await desk.world.balance(recipient) == 5 * USD


async def test_only_the_cancellation_is_bumped(desk: Desk, manual_mining: ChainClient) -> None:
    """Once there is a cancellation no payload is signed any more, and it is raised in its time, as a payload would be."""
    await desk.lane_known()
    operation_id = await desk.settle()
    pace = timedelta(seconds=1)
    async with desk.running(desk.lane(bump_after=pace)):
        await desk.until(operation_id, "settle", TransactionState.BROADCAST)
        await desk.cancel(operation_id)
        await eventually(lambda: _cancellations_are(desk, 3))
        await manual_mining.rpc.call("evm_mine")
        await desk.until(operation_id, "settle", TransactionState.FINAL_CANCELLED)
    attempts = await desk.attempts()
    kinds = [attempt.kind for attempt in attempts]
    assert kinds == sorted(kinds, key=lambda kind: kind is AttemptKind.CANCEL)
    cancellations = [attempt.stored_at for attempt in attempts if attempt.kind is AttemptKind.CANCEL]
    assert all(later - earlier >= pace for earlier, later in pairwise(cancellations))


async def test_what_no_node_can_take_is_cancelled(desk: Desk, anvil_url: str) -> None:
    """A leg that can never be mined as it is gives its nonce to a self-transfer, and stops nobody else."""
    await desk.lane_known()
    operation_id = await desk.settle()
    async with (
        Refusing(anvil_url, "exceeds block gas limit") as node,
        desk.running(desk.lane(node, resend_after=NEVER)),
    ):
        row = await desk.until(operation_id, "settle", TransactionState.FINAL_CANCELLED)
        other = await desk.settle()
        await desk.until(other, "settle", TransactionState.FINAL_OK)
    assert row.reason is not None
    assert row.reason.endswith("exceeds block gas limit")
    assert (await desk.signer_row()).paused_at is None


async def test_many_that_no_node_can_take_are_cancelled(desk: Desk, anvil_url: str) -> None:
    """Several legs that are refused for good in one answer give up their nonces one and all, and the lane goes on."""
    await desk.lane_known()
    operation_ids = [await desk.settle() for _ in range(3)]
    async with (
        Refusing(anvil_url, "exceeds block gas limit") as node,
        desk.running(desk.lane(node, resend_after=NEVER)),
    ):
        rows = [await desk.until(each, "settle", TransactionState.FINAL_CANCELLED) for each in operation_ids]
    assert [row.nonce for row in rows] == [0, 1, 2]
    assert await desk.sent_count() == 3


async def test_a_cancelled_leg_whose_block_leaves_the_chain(desk: Desk, manual_mining: ChainClient) -> None:
    """A reorg may put the payload where the cancellation was: then the payload won, and the row says so."""
    await desk.lane_known()
    operation_id = await desk.settle()
    async with desk.running(desk.lane(bump_after=NEVER, finality=THREE)):
        await desk.until(operation_id, "settle", TransactionState.BROADCAST)
        await desk.cancel(operation_id)
        payload, cancel = await _with_cancellation(desk)
        await manual_mining.rpc.call("evm_mine")
        mined = await desk.until(operation_id, "settle", TransactionState.MINED)
        assert mined.result_tx_hash == cancel.hash
        await manual_mining.rpc.call("anvil_reorg", 1, [[f"0x{payload.raw.hex()}", 0]])
        for _ in range(3):
            await manual_mining.rpc.call("evm_mine")
        row = await desk.until(operation_id, "settle", TransactionState.FINAL_OK)
    assert row.result_tx_hash == payload.hash


async def test_what_a_request_to_cancel_does_depends_on_where_the_leg_is(desk: Desk) -> None:
    """It abandons what has no nonce, and says of the rest why it can do nothing."""
    await desk.lane_known()
    operation_id = await desk.settle()
    assert await desk.cancel(operation_id, "unwind") is CancelEffect.NOTHING
    assert await desk.cancel(operation_id, reason="first") is CancelEffect.ABANDONED
    assert await desk.cancel(operation_id, reason="second") is CancelEffect.NOTHING
    assert (await desk.row(operation_id)).reason == "first"
    paid = await desk.settle()
    async with desk.running():
        await desk.until(paid, "settle", TransactionState.FINAL_OK)
    assert await desk.cancel(paid) is CancelEffect.TOO_LATE


async def test_the_first_reason_to_cancel_stays(desk: Desk, manual_mining: ChainClient) -> None:
    """Asking again changes nothing."""
    await desk.lane_known()
    operation_id = await desk.settle()
    async with desk.running():
        await desk.until(operation_id, "settle", TransactionState.BROADCAST)
    assert await desk.cancel(operation_id, reason="first") is CancelEffect.ASKED
    assert await desk.cancel(operation_id, reason="second") is CancelEffect.ASKED
    assert (await desk.row(operation_id)).cancel_reason == "first"
    await manual_mining.rpc.call("evm_mine")


async def _with_cancellation(desk: Desk) -> tuple[ChainAttempt, ChainAttempt]:
    """The payload and its cancellation, once a node has answered to both."""
    await eventually(lambda: _cancellations_are(desk, 1))
    payload, cancel = await desk.attempts()
    return payload, cancel


async def _cancellations_are(desk: Desk, number: int) -> bool:
    attempts = await desk.attempts()
    sent = [each for each in attempts if each.kind is AttemptKind.CANCEL and each.sent_at is not None]
    return len(sent) >= number
