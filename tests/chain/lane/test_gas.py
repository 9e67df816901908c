"""A wallet that runs low on gas, and a market that asks for too much of it."""

from datetime import timedelta

from chain.client import ChainClient
from chain.contracts.usdc import encode_transfer
from contracts.deploy import Transaction
from contracts.funding import mint_usdc
from models.statuses import IncidentKind, TransactionState
from tests.chain.lane.desk import GAS, Desk
from tests.chain.lane.nodes import Refusing
from tests.chain.world import USD, new_sender

NEVER = timedelta(hours=1)
PLENTY = 10**18
RESERVE = 10**16


async def test_only_the_legs_that_the_wallet_can_pay_for_take_a_nonce(desk: Desk, manual_mining: ChainClient) -> None:
    """The first of a batch go, the rest stay QUEUED, a person is told, and after a top-up all of them go."""
    await desk.lane_known()
    market = await manual_mining.market(desk.wallet)
    cost = desk.config.with_gas_margin(GAS) * (2 * market.base_fee + market.tip)
    operation_ids = [await desk.settle(USD) for _ in range(4)]
    await _set_balance(desk, RESERVE + 5 * cost // 2)
    async with desk.running(desk.lane(bump_after=NEVER)):
        await desk.until_incident(IncidentKind.GAS_LOW, desk.config.lock_name)
        await desk.until(operation_ids[1], "settle", TransactionState.BROADCAST)
        assert await _states(desk, operation_ids[2:]) == {TransactionState.QUEUED}
        await _set_balance(desk, PLENTY)
        await desk.until(operation_ids[3], "settle", TransactionState.BROADCAST)
        await desk.until_incident(IncidentKind.GAS_LOW, desk.config.lock_name, stands=False)
        await manual_mining.rpc.call("evm_mine")
        for operation_id in operation_ids:
            await desk.until(operation_id, "settle", TransactionState.FINAL_OK)


async def test_what_is_in_flight_counts_against_the_balance(desk: Desk, manual_mining: ChainClient) -> None:
    """Gas that a sent transaction may still cost pays for no other one."""
    await desk.lane_known()
    market = await manual_mining.market(desk.wallet)
    cost = desk.config.with_gas_margin(GAS) * (2 * market.base_fee + market.tip)
    await _set_balance(desk, RESERVE + 3 * cost // 2)
    first = await desk.settle(USD)
    async with desk.running(desk.lane(bump_after=NEVER)):
        await desk.until(first, "settle", TransactionState.BROADCAST)
        second = await desk.settle(USD)
        await desk.until_incident(IncidentKind.GAS_LOW, desk.config.lock_name)
        assert (await desk.row(second)).state is TransactionState.QUEUED
        await _set_balance(desk, PLENTY)
        await desk.until(second, "settle", TransactionState.BROADCAST)
        await manual_mining.rpc.call("evm_mine")
        await desk.until(second, "settle", TransactionState.FINAL_OK)


async def test_a_refusal_for_want_of_gas_keeps_the_nonce(desk: Desk, anvil_url: str) -> None:
    """Insufficient funds keep the leg PREPARED at its nonce, open an incident, and the same bytes go out later."""
    await desk.lane_known()
    operation_id = await desk.settle()
    message = "insufficient funds for gas * price + value"
    async with Refusing(anvil_url, message) as node, desk.running(desk.lane(node, resend_after=timedelta(seconds=2))):
        await desk.until_incident(IncidentKind.GAS_LOW, desk.config.lock_name)
        assert (await desk.row(operation_id)).state is TransactionState.PREPARED
        row = await desk.until(operation_id, "settle", TransactionState.FINAL_OK)
        await desk.until_incident(IncidentKind.GAS_LOW, desk.config.lock_name, stands=False)
    assert row.nonce == 0
    assert len(await desk.attempts()) == 1


async def test_no_nonce_is_taken_above_the_cap(desk: Desk) -> None:
    """While the market asks for more than the cap legs wait and a person is told; with a higher cap they go."""
    await desk.lane_known()
    operation_id = await desk.settle()
    async with desk.running(desk.lane(max_fee_cap=1)):
        await desk.until_incident(IncidentKind.FEE_CAP_REACHED, desk.config.lock_name)
        assert (await desk.row(operation_id)).state is TransactionState.QUEUED
    async with desk.running():
        await desk.until(operation_id, "settle", TransactionState.FINAL_OK)
        await desk.until_incident(IncidentKind.FEE_CAP_REACHED, desk.config.lock_name, stands=False)


async def test_a_wrong_key_or_chain_stops_the_signer(desk: Desk, anvil_url: str) -> None:
    """A refusal that would meet every transaction pauses the signer with an incident, which closes when it is resumed."""
    await desk.lane_known()
    operation_id = await desk.settle()
    async with Refusing(anvil_url, "invalid sender") as node, desk.running(desk.lane(node)):
        await desk.until_incident(IncidentKind.SENDS_REFUSED, desk.config.lock_name)
        assert (await desk.signer_row()).paused_by == "lane"
        await desk.resume()
        assert await desk.incidents() == set()
        await desk.until(operation_id, "settle", TransactionState.FINAL_OK)


async def _set_balance(desk: Desk, wei: int) -> None:
    await desk.world.client.rpc.call("anvil_setBalance", desk.wallet, hex(wei))


async def _states(desk: Desk, operation_ids: list[str]) -> set[TransactionState]:
    return {(await desk.row(operation_id)).state for operation_id in operation_ids}


async def test_a_balance_that_is_spent_before_the_block_costs_no_leg_its_gas(desk: Desk) -> None:
    """A transfer to somebody who had USDC when it was simulated, and has none when it is mined, costs 17,100 gas more."""
    await desk.lane_known()
    recipient = await new_sender(desk.world.client)
    await mint_usdc(desk.world.owner, desk.world.contracts, recipient.address, 7 * USD)
    operation_id = await desk.funded(5 * USD)
    await desk.queue_simulated(desk.transfer(operation_id, 5 * USD, recipient.address))
    spent = encode_transfer(desk.world.owner.address, 7 * USD)
    await recipient.send(Transaction(desk.world.contracts.usdc, spent))
    async with desk.running():
        await desk.until(operation_id, "settle", TransactionState.FINAL_OK, TransactionState.FINAL_REVERTED)
    assert (await desk.row(operation_id)).state is TransactionState.FINAL_OK
