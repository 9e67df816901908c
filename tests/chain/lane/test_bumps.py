"""Transactions that are not mined, and the ones that replace them at the same nonce."""

from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise

import pytest

from chain.client import ChainClient
from chain.finality import Finality
from models.ids import leg_id
from models.statuses import AttemptKind, IncidentKind, TransactionState
from models.tables.transactions import ChainAttempt
from tests.chain.lane.desk import Desk, eventually
from tests.chain.lane.nodes import Killed, KilledAtSend, Refusing, StrictOrder, StrictPool, offer_of
from tests.chain.world import USD

SOON, NEVER = timedelta(milliseconds=200), timedelta(hours=1)


async def test_a_bump_is_stored_before_it_is_sent(desk: Desk, anvil_url: str, manual_mining: ChainClient) -> None:
    """A lane killed between the two leaves the bytes of the replacement, and its receipt counts like the first one's."""
    await desk.lane_known()
    recipient = desk.world.user.address
    operation_id = await desk.settle(5 * USD, recipient)
    async with KilledAtSend(anvil_url, sends_before=1) as node:
        with pytest.raises(BaseExceptionGroup) as ended:
            await desk.lane(node, bump_after=SOON, resend_after=NEVER).run()
    assert ended.group_contains(Killed)
    first, second = await desk.attempts()
    assert second.sent_at is None
    _check_raised([first, second])

    async with desk.running(desk.lane(bump_after=NEVER)):
        await eventually(lambda: _in_pool(desk, second))
        await manual_mining.rpc.call("evm_mine")
        row = await desk.until(operation_id, "settle", TransactionState.FINAL_OK)
    assert row.result_tx_hash == second.hash
    assert await desk.world.balance(recipient) == 5 * USD


async def test_bumps_satisfy_a_strict_pool(desk: Desk, anvil_url: str, manual_mining: ChainClient) -> None:
    """A pool that wants a tenth more refuses none of them, and what is replaced is the same call with the same gas."""
    await desk.lane_known()
    operation_id = await desk.settle()
    async with StrictPool(anvil_url) as node, desk.running(desk.lane(node, bump_after=SOON)):
        await eventually(lambda: _attempts_are(desk, 4))
        await manual_mining.rpc.call("evm_mine")
        await desk.until(operation_id, "settle", TransactionState.FINAL_OK)
        assert node.refused == 0
    attempts = await desk.attempts()
    _check_raised(attempts)
    assert len({(offer_of(each.raw).data, offer_of(each.raw).gas) for each in attempts}) == 1
    assert await desk.sent_count() == 1


async def test_a_pool_that_wants_more_is_outbid(desk: Desk, anvil_url: str, manual_mining: ChainClient) -> None:
    """A replacement that a pool finds too cheap is followed at once by a dearer one, until it takes one."""
    await desk.lane_known()
    operation_id = await desk.settle()
    async with (
        StrictPool(anvil_url, percent=40) as node,
        desk.running(desk.lane(node, bump_after=timedelta(seconds=1))),
    ):
        await eventually(lambda: _pool_holds_a_bump(desk, node))
        await manual_mining.rpc.call("evm_mine")
        await desk.until(operation_id, "settle", TransactionState.FINAL_OK)
        assert node.refused > 0


async def test_a_nodes_floor_is_met_at_once(desk: Desk, anvil_url: str) -> None:
    """An attempt that is too cheap for the node is replaced without waiting, at the same nonce."""
    await desk.lane_known()
    operation_id = await desk.settle()
    refusing = Refusing(anvil_url, "transaction underpriced")
    async with refusing as node, desk.running(desk.lane(node, bump_after=NEVER, resend_after=NEVER)):
        row = await desk.until(operation_id, "settle", TransactionState.FINAL_OK)
    first, second = await desk.attempts()
    assert (row.nonce, row.result_tx_hash) == (0, second.hash)
    assert first.last_answer == "REPRICE: transaction underpriced"


async def test_a_leg_that_a_fee_spike_threw_out_is_mined(desk: Desk, manual_mining: ChainClient) -> None:
    """Anvil drops what no longer pays the base fee: the leg is sent again, refused, and raised to the market."""
    await desk.lane_known()
    operation_id = await desk.settle()
    market = await manual_mining.market(desk.wallet)
    spike = 2 * (2 * market.base_fee + market.tip)
    async with desk.running(desk.lane(bump_after=NEVER)):
        await desk.until(operation_id, "settle", TransactionState.BROADCAST)
        try:
            await manual_mining.rpc.call("anvil_setNextBlockBaseFeePerGas", hex(spike))
            await manual_mining.rpc.call("evm_mine")
            await eventually(lambda: _attempts_are(desk, 2))
            await eventually(lambda: _last_is_in_pool(desk))
            await manual_mining.rpc.call("evm_mine")
            row = await desk.until(operation_id, "settle", TransactionState.FINAL_OK)
        finally:
            await manual_mining.rpc.call("anvil_setNextBlockBaseFeePerGas", hex(market.base_fee))
            await manual_mining.rpc.call("evm_mine")
    assert row.nonce == 0
    assert await desk.sent_count() == 1


async def test_the_cap_pages_a_person_and_keeps_the_best_attempt_alive(desk: Desk, manual_mining: ChainClient) -> None:
    """Above the cap nothing new is signed; what there is goes on being sent, and the incident closes with the leg."""
    await desk.lane_known()
    operation_id = await desk.settle()
    market = await manual_mining.market(desk.wallet)
    cap = (2 * market.base_fee + market.tip) * 115 // 100  # one replacement fits below it, and not two
    leg = leg_id(operation_id, "settle", 1)
    async with desk.running(desk.lane(bump_after=SOON, max_fee_cap=cap)):
        await desk.until_incident(IncidentKind.FEE_CAP_REACHED, leg)
        *_, best = await desk.attempts()
        await eventually(lambda: _sent_after(desk, best))
        await manual_mining.rpc.call("evm_mine")
        await desk.until(operation_id, "settle", TransactionState.FINAL_OK)
        await desk.until_incident(IncidentKind.FEE_CAP_REACHED, leg, stands=False)
    assert [each.max_fee_per_gas <= cap for each in await desk.attempts()] == [True, True]


async def test_a_paused_signer_bumps_nothing(desk: Desk, manual_mining: ChainClient) -> None:
    """While paused, stored bytes are sent again and nothing new is signed; after it the leg is bumped."""
    await desk.lane_known()
    operation_id = await desk.settle()
    async with desk.running(desk.lane(bump_after=NEVER)):
        await desk.until(operation_id, "settle", TransactionState.BROADCAST)
    await desk.pause()
    async with desk.running(desk.lane(bump_after=SOON, resend_after=SOON)):
        (first,) = await desk.attempts()
        for _ in range(3):
            (attempt,) = await desk.attempts()
            await eventually(lambda sent=attempt: _sent_after(desk, sent))  # type: ignore[misc]  # mypy knows no type for it
        await desk.resume()
        await eventually(lambda: _attempts_are(desk, 2))
        await manual_mining.rpc.call("evm_mine")
        await desk.until(operation_id, "settle", TransactionState.FINAL_OK)
    assert first.hash in {each.hash for each in await desk.attempts()}


async def test_a_gap_is_filled_in_order(desk: Desk, anvil_url: str) -> None:
    """A node that misses a lower nonce gets it, and then the one that it refused, without waiting."""
    await desk.lane_known()
    operation_ids = [await desk.settle() for _ in range(3)]
    async with StrictOrder(anvil_url) as node, desk.running(desk.lane(node, resend_after=NEVER, bump_after=NEVER)):
        for operation_id in operation_ids:
            await desk.until(operation_id, "settle", TransactionState.FINAL_OK)
        assert node.taken == [0, 1, 2]


async def test_a_bump_whose_block_leaves_the_chain_is_sent_again(desk: Desk, manual_mining: ChainClient) -> None:
    """The attempt that pays most goes out again after a reorg, and one of them is mined once."""
    await desk.lane_known()
    recipient = desk.world.user.address
    operation_id = await desk.settle(5 * USD, recipient)
    async with desk.running(desk.lane(finality=Finality(confirmations=3), bump_after=timedelta(seconds=1))):
        await eventually(lambda: _attempts_are(desk, 2))
        await eventually(lambda: _last_is_in_pool(desk))
        await manual_mining.rpc.call("evm_mine")
        await desk.until(operation_id, "settle", TransactionState.MINED)
        await manual_mining.rpc.call("anvil_reorg", 1, [])
        await desk.until(operation_id, "settle", TransactionState.BROADCAST)
        await eventually(lambda: _pending(desk))
        for _ in range(4):
            await manual_mining.rpc.call("evm_mine")
        await desk.until(operation_id, "settle", TransactionState.FINAL_OK)
    assert await desk.sent_count() == 1
    assert await desk.world.balance(recipient) == 5 * USD


def _check_raised(attempts: Sequence[ChainAttempt]) -> None:
    """Each attempt pays at least a tenth more than the one before, on both fees, at the same nonce."""
    for before, after in pairwise(attempts):
        assert before.kind is after.kind is AttemptKind.PAYLOAD
        assert offer_of(after.raw).outbids(offer_of(before.raw), 10)
        assert offer_of(after.raw).nonce == offer_of(before.raw).nonce


async def _attempts_are(desk: Desk, number: int) -> bool:
    return len(await desk.attempts()) >= number


async def _in_pool(desk: Desk, attempt: ChainAttempt) -> bool:
    return await desk.world.client.rpc.call("eth_getTransactionByHash", attempt.hash) is not None


async def _last_is_in_pool(desk: Desk) -> bool:
    return await _in_pool(desk, (await desk.attempts())[-1])


async def _pool_holds_a_bump(desk: Desk, node: StrictPool) -> bool:
    attempts = await desk.attempts()
    return len(attempts) > 1 and 0 in node.pool and node.pool[0].raw != attempts[0].raw and node.refused > 0


async def _sent_after(desk: Desk, attempt: ChainAttempt) -> bool:
    """Whether the same attempt was sent once more."""
    found = next(each for each in await desk.attempts() if each.hash == attempt.hash)
    return found.sent_at is not None and (attempt.sent_at is None or found.sent_at > attempt.sent_at)


async def _pending(desk: Desk) -> bool:
    return await desk.world.client.nonce(desk.wallet, "pending") == 1
