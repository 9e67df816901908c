"""What may happen to a lane, to its node and to the chain, without USDC moving twice or not at all."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError

import chain.watching
from chain.client import ChainClient
from chain.finality import Finality
from chain.lane import SignerLane
from models.statuses import TransactionState
from tests.chain.lane.desk import Desk, eventually
from tests.chain.lane.nodes import AnswerLost, Deaf, Frozen, Killed, KilledBeforeSending
from tests.chain.world import USD

HOUR = timedelta(hours=1)
QUICKLY = timedelta(milliseconds=600)


async def test_a_lane_killed_before_its_send_goes_on_with_the_same_bytes(desk: Desk, anvil_url: str) -> None:
    """What was stored and not sent is sent by the next term, as it was stored: one transaction, one payment."""
    await desk.lane_known()
    recipient = desk.world.user.address
    operation_id = await desk.settle(5 * USD, recipient)
    async with KilledBeforeSending(anvil_url) as node:
        with pytest.raises(BaseExceptionGroup) as ended:
            await desk.lane(node).run()
    assert ended.group_contains(Killed)
    stored = [bytes(attempt.raw) for attempt in await desk.attempts()]
    assert (await desk.row(operation_id)).state is TransactionState.PREPARED

    async with desk.running():
        await desk.until(operation_id, "settle", TransactionState.FINAL_OK)
    assert [bytes(attempt.raw) for attempt in await desk.attempts()] == stored
    assert await desk.sent_count() == 1
    assert await desk.world.balance(recipient) == 5 * USD


@pytest.mark.parametrize("error", [OperationalError("SELECT", {}, Exception()), OSError()])
async def test_a_trace_that_fails_stops_no_leg(desk: Desk, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Legs become final one after the other in the same term."""
    asked: list[Sequence[int]] = []

    async def failing(_: object, ids: Sequence[int]) -> None:
        asked.append(ids)
        raise error

    async def told_of_both() -> bool:
        return len(asked) > 1

    monkeypatch.setattr(chain.watching, "traced", lambda: True)
    monkeypatch.setattr(chain.watching, "tell_spans", failing)
    await desk.lane_known()
    async with desk.running():
        for _ in range(2):
            await desk.until(await desk.settle(5 * USD), "settle", TransactionState.FINAL_OK)
        await eventually(told_of_both)


async def test_a_lost_answer_does_not_send_twice(desk: Desk, anvil_url: str) -> None:
    """A timeout after the node took the transaction means maybe sent, and ends in one transaction."""
    await desk.lane_known()
    operation_id = await desk.settle()
    async with AnswerLost(anvil_url) as node, desk.running(desk.lane(node)):
        await desk.until(operation_id, "settle", TransactionState.FINAL_OK)
    assert await desk.sent_count() == 1
    assert (await desk.attempts())[0].last_answer == "UNKNOWN: TimeoutError: "


async def test_a_send_that_never_arrived_is_repeated(desk: Desk, anvil_url: str) -> None:
    """Without a receipt for a while the same bytes are sent again."""
    await desk.lane_known()
    operation_id = await desk.settle()
    async with Deaf(anvil_url) as node, desk.running(desk.lane(node)):
        await desk.until(operation_id, "settle", TransactionState.FINAL_OK)
    assert len(await desk.attempts()) == 1
    assert await desk.sent_count() == 1


async def test_two_lanes_give_one_sequence_of_nonces(desk: Desk) -> None:
    """Of two lanes started at once one works; when it stops the other goes on where it was."""
    await desk.lane_known()
    first, second = desk.lane(), desk.lane()
    operation_ids = [await desk.settle() for _ in range(10)]
    async with desk.running(first), desk.running(second):
        await desk.until(operation_ids[-1], "settle", TransactionState.FINAL_OK)
        assert first.holding.is_set() != second.holding.is_set()
        await (first if first.holding.is_set() else second).stop()
        operation_ids += [await desk.settle() for _ in range(10)]
        for operation_id in operation_ids:
            await desk.until(operation_id, "settle", TransactionState.FINAL_OK)
    assert [(await desk.row(each)).nonce for each in operation_ids] == list(range(20))
    assert await desk.sent_count() == 20


async def test_a_frozen_lane_is_replaced_and_can_write_nothing(desk: Desk, anvil_url: str) -> None:
    """A holder that stops beating loses its session; when it wakes up its send is a repetition and its writes fail."""
    await desk.lane_known()
    operation_id = await desk.settle()
    async with Frozen(anvil_url) as node:
        frozen = desk.lane(node, beat=HOUR, queue_poll=HOUR, idle_poll=HOUR, block_poll=HOUR, inbound_poll=HOUR)
        async with desk.running(frozen):
            await node.reached.wait()
            assert (await desk.row(operation_id)).state is TransactionState.PREPARED
            async with desk.running(desk.lane(silence_limit=QUICKLY)) as candidate:
                await candidate.holding.wait()
                await desk.until(operation_id, "settle", TransactionState.FINAL_OK)
                assert frozen.holding.is_set()  # it does not know yet
                answered = (await desk.attempts())[0].sent_at
                node.thaw.set()
                await eventually(lambda: _not_holding(frozen))
                assert (await desk.attempts())[0].sent_at == answered
    assert await desk.sent_count() == 1


async def test_a_beating_lane_is_left_alone(desk: Desk) -> None:
    """A candidate waits for as long as the holder beats."""
    await desk.lane_known()
    async with desk.running() as holder, desk.running(desk.lane(silence_limit=QUICKLY)) as candidate:
        await asyncio.wait({asyncio.create_task(candidate.holding.wait())}, timeout=3 * QUICKLY.total_seconds())
        assert holder.holding.is_set() != candidate.holding.is_set()


async def test_a_lost_database_session_starts_a_new_term(desk: Desk) -> None:
    """A lane whose session PostgreSQL has ended stands for election again and finishes what it began."""
    await desk.lane_known()
    async with desk.running() as lane:
        await lane.holding.wait()
        await _end_session_of_holder(desk)
        operation_id = await desk.settle()
        await desk.until(operation_id, "settle", TransactionState.FINAL_OK)


async def test_a_reorg_takes_a_mined_leg_back(desk: Desk, manual_mining: ChainClient) -> None:
    """When its block leaves the chain a leg is in flight again, is sent again, and becomes final only in a block that stays."""
    await desk.lane_known()
    recipient = desk.world.user.address
    operation_id = await desk.settle(5 * USD, recipient)
    async with desk.running(desk.lane(finality=Finality(confirmations=3))):
        await desk.until(operation_id, "settle", TransactionState.BROADCAST)
        await manual_mining.rpc.call("evm_mine")
        mined = await desk.until(operation_id, "settle", TransactionState.MINED)
        await manual_mining.rpc.call("anvil_reorg", 1, [])
        again = await desk.until(operation_id, "settle", TransactionState.BROADCAST)
        assert again.result_block is None
        await eventually(lambda: _is_pending(desk))
        for _ in range(4):
            await manual_mining.rpc.call("evm_mine")
        final = await desk.until(operation_id, "settle", TransactionState.FINAL_OK)
    assert final.result_tx_hash == mined.result_tx_hash
    assert final.result_block_hash != mined.result_block_hash
    assert await desk.sent_count() == 1
    assert await desk.world.balance(recipient) == 5 * USD


async def test_a_receipt_is_not_final_before_its_depth(desk: Desk, manual_mining: ChainClient) -> None:
    """With three confirmations a leg is MINED in its own block and the next one, and FINAL in the third."""
    await desk.lane_known()
    operation_id = await desk.settle()
    async with desk.running(desk.lane(finality=Finality(confirmations=3))):
        await desk.until(operation_id, "settle", TransactionState.BROADCAST)
        await manual_mining.rpc.call("evm_mine")
        mined = await desk.until(operation_id, "settle", TransactionState.MINED)
        await manual_mining.rpc.call("evm_mine")
        await asyncio.sleep(10 * desk.config.block_poll.total_seconds())
        assert (await desk.row(operation_id)).state is TransactionState.MINED
        await manual_mining.rpc.call("evm_mine")
        final = await desk.until(operation_id, "settle", TransactionState.FINAL_OK)
    assert final.result_block == mined.result_block


async def test_a_tag_decides_what_is_final(desk: Desk, manual_mining: ChainClient) -> None:
    """With a finality tag a leg is FINAL when the tagged block has reached its own."""
    await desk.lane_known()
    operation_id = await desk.settle()
    async with desk.running(desk.lane(finality=Finality(tag="finalized"))):
        await desk.until(operation_id, "settle", TransactionState.BROADCAST)
        await manual_mining.rpc.call("evm_mine")
        await desk.until(operation_id, "settle", TransactionState.MINED)
        for _ in range(2):
            await manual_mining.rpc.call("evm_mine")
        await desk.until(operation_id, "settle", TransactionState.FINAL_OK)


async def _not_holding(lane: SignerLane) -> bool:
    return not lane.holding.is_set()


async def _is_pending(desk: Desk) -> bool:
    return await desk.world.client.nonce(desk.wallet, "pending") == 1


async def _end_session_of_holder(desk: Desk) -> None:
    pid = (await desk.signer_row()).lane_backend_pid
    async with desk.transaction() as session:
        await session.execute(select(func.pg_terminate_backend(pid)))
