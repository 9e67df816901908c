"""The vault's allowance, where USDC does not give it, and where a node has not seen it."""

from models import accounts
from models.messages.legs import RepayCall
from models.statuses import IncidentKind, TransactionState
from models.tables import book
from tests.chain.lane import rows
from tests.chain.lane.desk import Desk, eventually
from tests.chain.lane.nodes import OneBlockBehind, RefusesApprovals
from tests.chain.world import USD


async def test_a_refused_allowance_is_told_until_it_is_given(desk: Desk, anvil_url: str) -> None:
    """The legs that would spend it wait, other legs go on, and the incident closes when the allowance is mined."""
    await desk.lane_known()
    spender = await desk.funded(5 * USD)
    call = RepayCall(position_id=desk.world.line.position_id, amount=5 * USD)
    await desk.queue(desk.plan(spender, "repay", call, accounts.IN_FLIGHT), None)
    async with RefusesApprovals(anvil_url) as node, desk.running(desk.lane(node)):
        await desk.until_incident(IncidentKind.APPROVAL_REFUSED, desk.config.lock_name)
        other = await desk.settle()
        await desk.until(other, "settle", TransactionState.FINAL_OK)
        assert (await desk.row(spender, "repay")).state is TransactionState.QUEUED
    async with desk.running():
        await desk.until_incident(IncidentKind.APPROVAL_REFUSED, desk.config.lock_name, stands=False)
        await desk.until(spender, "repay", TransactionState.REFUSED)  # nothing is owed


async def test_a_node_that_has_not_seen_the_allowance_refuses_nothing(desk: Desk, anvil_url: str) -> None:
    """Where one node has the approval and the next one has not, the leg waits and is not taken for refused."""
    await desk.lane_known()
    operation_id = await desk.operation()
    await desk.queue_simulated(desk.borrow(operation_id, 1_000 * USD))
    async with desk.running():
        await desk.until(operation_id, "borrow", TransactionState.FINAL_OK)
    async with desk.transaction() as session:
        await book.record(session, rows.inflow_row(operation_id, 1_000 * USD, accounts.IN_FLIGHT))
    call = RepayCall(position_id=desk.world.line.position_id, amount=600 * USD)
    await desk.queue(desk.plan(operation_id, "repay", call, accounts.IN_FLIGHT), None)
    async with OneBlockBehind(anvil_url) as node, desk.running(desk.lane(node)):
        await eventually(lambda: _has_refused(node))
        assert (await desk.row(operation_id, "repay")).state is TransactionState.QUEUED
        await eventually(lambda: _is_done_some_blocks_later(desk, operation_id))


async def _has_refused(node: OneBlockBehind) -> bool:
    return node.refused > 1


async def _is_done_some_blocks_later(desk: Desk, operation_id: str) -> bool:
    await desk.world.client.rpc.call("evm_mine")
    return (await desk.row(operation_id, "repay")).state is TransactionState.FINAL_OK
