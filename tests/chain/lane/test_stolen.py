"""Nonces that somebody else used, and nonces that only look like it."""

from datetime import timedelta

from chain.client import ChainClient
from chain.finality import Finality
from models.ids import leg_id
from models.messages.operators import HoldResolution
from models.statuses import IncidentKind, TransactionState
from tests.chain.lane.desk import Desk, eventually
from tests.chain.lane.nodes import OnTwoForks, Overtaken, WithoutReceipts
from tests.chain.world import USD

NEVER = timedelta(hours=1)
SOON = timedelta(milliseconds=100)
THREE = Finality(confirmations=3)


async def test_a_stolen_nonce_holds_the_leg_once_it_is_final(
    desk: Desk, anvil_url: str, manual_mining: ChainClient
) -> None:
    """Not before the foreign transaction is final: then the leg is HELD, its nonce named, and it is never sent again."""
    await desk.lane_known()
    operation_id = await desk.settle(5 * USD, desk.world.user.address)
    leg = leg_id(operation_id, "settle", 1)
    stolen = []

    async def theft() -> None:
        stolen.append(await desk.use_key_elsewhere())
        await manual_mining.rpc.call("evm_mine")

    async with Overtaken(anvil_url, theft) as node, desk.running(desk.lane(node, finality=THREE)):
        await eventually(lambda: _answered(desk, "RECONCILE"))
        await manual_mining.rpc.call("evm_mine")
        sends = node.sends
        await eventually(lambda: _more_sends(node, sends))  # it goes on as if the node were wrong
        assert (await desk.row(operation_id)).state is TransactionState.BROADCAST
        await manual_mining.rpc.call("evm_mine")
        row = await desk.until(operation_id, "settle", TransactionState.HELD)
        sends = node.sends
        other = await desk.settle()
        await desk.until_incident(IncidentKind.NONCE_STOLEN, leg)
    assert node.sends == sends
    block = await manual_mining.receipts(stolen)
    assert block[0] is not None
    assert row.held_reason is not None
    assert stolen[0] in row.held_reason
    assert str(block[0].block_number) in row.held_reason
    assert (IncidentKind.LEG_HELD, leg) in await desk.incidents()
    assert (await desk.signer_row()).paused_by == "lane"
    assert (await desk.row(other)).state is TransactionState.QUEUED


async def test_null_receipts_alone_prove_no_theft(desk: Desk, anvil_url: str) -> None:
    """Where the scan finds one of ours at the nonce the leg waits for its receipt, however long the index lags."""
    await desk.lane_known()
    operation_id = await desk.settle()
    async with WithoutReceipts(anvil_url) as node, desk.running(desk.lane(node)):
        await eventually(lambda: _answered(desk, "RECONCILE"))
        looks = node.scans
        await eventually(lambda: _more_scans(node, looks + 3))
        assert (await desk.row(operation_id)).state is TransactionState.BROADCAST
        assert await desk.incidents(standing=False) == set()
        node.lags = False
        await desk.until(operation_id, "settle", TransactionState.FINAL_OK)
    assert await desk.sent_count() == 1


async def test_a_bump_that_is_mined_at_once_is_no_theft(desk: Desk, anvil_url: str) -> None:
    """An attempt that was stored in the very turn that looks for thieves is ours as well."""
    await desk.lane_known()
    operation_id = await desk.settle()
    at_once = desk.lane(node := OnTwoForks(anvil_url), bump_after=SOON, resend_after=timedelta())
    async with node, desk.running(at_once):
        await desk.until(operation_id, "settle", TransactionState.FINAL_OK, TransactionState.HELD)
    assert await desk.incidents(standing=False) == set()
    assert (await desk.row(operation_id)).state is TransactionState.FINAL_OK
    assert await desk.sent_count() == 1


async def test_a_key_that_was_used_elsewhere_stops_the_signer(desk: Desk) -> None:
    """Nonces beyond ours pause the signer before another is taken; resumed, it meets them one by one, each on evidence."""
    await desk.lane_known()
    foreign = await desk.use_key_elsewhere()
    operation_id = await desk.settle()
    async with desk.running():
        await eventually(lambda: _paused(desk))
        ((kind, subject),) = await desk.incidents()
        assert (kind, subject) == (IncidentKind.NONCE_STOLEN, f"{desk.config.lock_name}/nonces-to-1")
        assert (await desk.row(operation_id)).state is TransactionState.QUEUED
        await desk.resume()
        await desk.until(operation_id, "settle", TransactionState.HELD)
        await desk.resolve(operation_id, HoldResolution.ACCEPT, foreign)
        await desk.resume()
        row = await desk.until(operation_id, "settle", TransactionState.FINAL_CANCELLED)
        await desk.queue(desk.transfer(operation_id, 5 * USD, generation=2))
        await eventually(lambda: _second_is_done(desk, operation_id))
    assert row.result_tx_hash == foreign
    assert await desk.incidents() == set()
    assert await desk.sent_count() == 2


async def _answered(desk: Desk, means: str) -> bool:
    return any(answer.startswith(means) for answer in await desk.answers())


async def _more_sends(node: Overtaken, than: int) -> bool:
    return node.sends > than


async def _more_scans(node: WithoutReceipts, than: int) -> bool:
    return node.scans > than


async def _paused(desk: Desk) -> bool:
    return (await desk.signer_row()).paused_at is not None


async def _second_is_done(desk: Desk, operation_id: str) -> bool:
    return (await desk.row(operation_id, generation=2)).state is TransactionState.FINAL_OK
