"""What the vault's owner does when a loan goes bad, to the last base unit."""

import pytest

from chain.client import ChainClient
from chain.codec import Function
from chain.contracts import solvency_vault as vault
from chain.contracts.vault_events import (
    decode_collateral_withdrawn,
    decode_liquidation_settled,
    decode_missed_payment_marked,
    decode_position_credit_line_revoked,
    decode_position_defaulted,
    decode_position_liquidated,
    decode_private_asset_liquidation_settled,
)
from chain.errors import Reverted
from chain.types import Receipt
from contracts.funding import mint_usdc
from tests.chain.world import DAY, LOAN_DURATION, USD, World, new_world, only

WITHDRAW_COLLATERAL = Function("withdrawCollateral(uint256)")


async def test_a_missed_payment_is_marked_once_it_is_due(world: World) -> None:
    """Not before; and the next one is due an instalment later."""
    receipt = await world.borrow(world.user, 5_000 * USD)
    (block,) = await world.client.blocks([receipt.block_number])
    assert block is not None
    with pytest.raises(Reverted, match=r"^Payment not overdue$"):
        await world.try_on_vault(world.owner.address, vault.MARK_MISSED_PAYMENT.encode(world.line.position_id))
    await world.mine_at(block.timestamp + 31 * DAY)
    marked = await _by_owner(world, vault.MARK_MISSED_PAYMENT.encode(world.line.position_id))
    assert only(decode_missed_payment_marked(log) for log in marked.logs).missed_payments == 1
    (plan,) = await world.client.read(world.vault.get_repayment_plan(world.line.position_id), block="latest")
    assert plan.next_payment_due == block.timestamp + 60 * DAY


async def test_collateral_that_covers_the_debt_pays_pool_fee_and_user(world: World) -> None:
    """The declared value goes to the debt, five percent to the owner, the rest to the user."""
    await _liquidated(world)
    user_before = await world.balance(world.user.address)
    await mint_usdc(world.owner, world.contracts, world.owner.address, 10_000 * USD)
    await world.approve_vault(world.owner, 10_000 * USD)
    receipt = await _by_owner(world, vault.SETTLE_LIQUIDATION.encode(world.line.position_id))
    settled = only(decode_liquidation_settled(log) for log in receipt.logs)
    assert settled.yield_received == 10_000 * USD
    assert settled.liquidation_fee == 500 * USD
    assert settled.debt_repaid + settled.liquidation_fee + settled.user_refund == settled.yield_received
    assert await world.balance(world.user.address) == user_before + settled.user_refund
    assert await world.balance(world.contracts.vault) == 0
    assert await world.debt() == 0
    with pytest.raises(Reverted, match=r"^Already settled$"):
        await world.try_on_vault(world.owner.address, vault.SETTLE_LIQUIDATION.encode(world.line.position_id))


async def test_debt_that_a_sale_does_not_cover_is_written_off(client: ChainClient) -> None:
    """All proceeds go to the pool, there is no fee and no refund, and the position owes nothing any more."""
    world = await new_world(client, token_type=vault.TokenType.PRIVATE_ASSET)
    await _liquidated(world)
    await mint_usdc(world.owner, world.contracts, world.owner.address, 4_000 * USD)
    await world.approve_vault(world.owner, 4_000 * USD)
    data = vault.PURCHASE_AND_SETTLE_LIQUIDATION.encode(world.line.position_id, 4_000 * USD)
    receipt = await _by_owner(world, data)
    settled = only(decode_private_asset_liquidation_settled(log) for log in receipt.logs)
    assert settled.purchaser == world.owner.address
    assert (settled.debt_repaid, settled.liquidation_fee, settled.user_refund) == (4_000 * USD, 0, 0)
    loan, position = await client.read(
        world.pool.loans(world.line.position_id), world.vault.get_position(world.line.position_id), block="latest"
    )
    assert (loan.principal, loan.interest_accrued, loan.active) == (0, 0, False)
    assert (position.usdc_borrowed, position.active) == (0, False)


async def test_a_healthy_position_cannot_be_liquidated(world: World) -> None:
    await world.borrow(world.user, USD)
    with pytest.raises(Reverted, match=r"^Position not defaulted$"):
        await world.try_on_vault(world.owner.address, vault.LIQUIDATE_POSITION.encode(world.line.position_id))


async def test_collateral_comes_back_only_without_debt(world: World) -> None:
    """Withdrawal closes the position and revokes its credit line."""
    data = WITHDRAW_COLLATERAL.encode(world.line.position_id)
    (receipt,) = await world.user.send(world.to_vault(data))
    assert only(decode_collateral_withdrawn(log) for log in receipt.logs).user == world.user.address
    (line,) = await world.client.read(world.oaid.get_credit_line(world.line.credit_line_id), block="latest")
    assert (line.active, line.liquidated) == (False, False)
    borrow = vault.encode_borrow_usdc(world.line.position_id, USD, LOAN_DURATION, 1)
    with pytest.raises(Reverted, match=r"^Position not active$"):
        await world.try_on_vault(world.user.address, borrow)


async def test_collateral_stays_while_there_is_debt(world: World) -> None:
    await world.borrow(world.user, USD)
    with pytest.raises(Reverted, match=r"^Outstanding debt$"):
        await world.try_on_vault(world.user.address, WITHDRAW_COLLATERAL.encode(world.line.position_id))


async def _liquidated(world: World) -> None:
    """Borrow, default, liquidate; each step says so in its event."""
    position_id = world.line.position_id
    await world.borrow(world.user, 5_000 * USD)
    defaulted = await _by_owner(world, vault.MARK_DEFAULTED.encode(position_id))
    assert only(decode_position_defaulted(log) for log in defaulted.logs).position_id == position_id
    liquidated = await _by_owner(world, vault.LIQUIDATE_POSITION.encode(position_id))
    assert only(decode_position_liquidated(log) for log in liquidated.logs).liquidation_time > 0
    revoked = only(decode_position_credit_line_revoked(log) for log in liquidated.logs)
    assert (revoked.credit_line_id, revoked.reason) == (world.line.credit_line_id, "Position liquidated")
    (line,) = await world.client.read(world.oaid.get_credit_line(world.line.credit_line_id), block="latest")
    assert (line.active, line.liquidated) == (False, True)


async def _by_owner(world: World, data: bytes) -> Receipt:
    (receipt,) = await world.owner.send(world.to_vault(data))
    return receipt
