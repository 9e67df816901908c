"""The vault's allowance, where USDC does not give it."""

from models import accounts
from models.messages.legs import RepayCall
from models.statuses import IncidentKind, TransactionState
from tests.chain.lane.desk import Desk
from tests.chain.lane.nodes import RefusesApprovals
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
