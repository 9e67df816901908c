"""The six traps of contracts.md, each as something that happens on a chain."""

import pytest

from chain.contracts.solvency_vault import encode_borrow_usdc, encode_repay_loan
from chain.contracts.usdc import decode_transfer
from chain.deployment import check_deployment
from chain.errors import ChainMisconfigured, Reverted
from chain.types import SendOk, Wei
from contracts.deploy import Sender, mined
from contracts.funding import mint_usdc, set_operator
from tests.chain.world import DAY, INSTALLMENTS, LOAN_DURATION, USD, World, new_sender

CHAIN_ID = 31337


async def test_trap_1_an_approved_operator_borrows_and_anyone_repays(world: World) -> None:
    """Consent instead of custody: the USDC goes to the operator who called, and a stranger may repay."""
    await set_operator(world.user, world.contracts, world.operator.address)
    before = await world.balance(world.operator.address)
    receipt = await world.borrow(world.operator, 500 * USD)
    assert await world.balance(world.operator.address) == before + 500 * USD
    paid = [decode_transfer(log) for log in receipt.logs if log.address == world.contracts.usdc]
    assert paid[-1] is not None
    assert (paid[-1].sender, paid[-1].recipient) == (world.contracts.vault, world.operator.address)

    stranger = await new_sender(world.client)
    await mint_usdc(world.owner, world.contracts, stranger.address, 100 * USD)
    await world.approve_vault(stranger, 100 * USD)
    _, repaid = await world.repay(stranger, 100 * USD)
    assert repaid.amount == 100 * USD


async def test_trap_1_without_approval_the_operator_is_refused(world: World) -> None:
    """The user alone may borrow until it approves, and after it withdraws its approval."""
    borrow = encode_borrow_usdc(world.line.position_id, 500 * USD, LOAN_DURATION, INSTALLMENTS)
    with pytest.raises(Reverted, match=r"^Not position owner$"):
        await world.try_on_vault(world.operator.address, borrow)
    await set_operator(world.user, world.contracts, world.operator.address)
    assert await world.try_on_vault(world.operator.address, borrow) > 21_000
    await set_operator(world.user, world.contracts, world.operator.address, approved=False)
    with pytest.raises(Reverted, match=r"^Not position owner$"):
        await world.try_on_vault(world.operator.address, borrow)


async def test_trap_1_an_approval_is_void_for_a_rotated_key(world: World) -> None:
    """An approval names an address, so the next key of the platform has none."""
    await set_operator(world.user, world.contracts, world.operator.address)
    rotated = await new_sender(world.client)
    borrow = encode_borrow_usdc(world.line.position_id, 500 * USD, LOAN_DURATION, INSTALLMENTS)
    with pytest.raises(Reverted, match=r"^Not position owner$"):
        await world.try_on_vault(rotated.address, borrow)


async def test_trap_1_a_deployed_vault_serves_the_positions_user_only(custodial_world: World) -> None:
    """There the platform wallet must hold the position: nobody else borrows, and nobody else repays."""
    world = custodial_world
    borrow = encode_borrow_usdc(world.line.position_id, 500 * USD, LOAN_DURATION, INSTALLMENTS)
    with pytest.raises(Reverted, match=r"^Not position owner$"):
        await world.try_on_vault(world.operator.address, borrow)
    await world.borrow(world.user, 500 * USD)
    assert await world.balance(world.user.address) == 500 * USD
    await world.approve_vault(world.operator, 100 * USD)
    with pytest.raises(Reverted, match=r"^Not position owner$"):
        await world.try_on_vault(world.operator.address, encode_repay_loan(world.line.position_id, 100 * USD))


async def test_trap_2_one_active_plan_until_the_debt_is_exactly_zero(world: World) -> None:
    """One base unit of debt is enough to refuse the next loan."""
    borrow = encode_borrow_usdc(world.line.position_id, 500 * USD, LOAN_DURATION, INSTALLMENTS)
    start = await _borrowed_at(world, 500 * USD)
    await mint_usdc(world.owner, world.contracts, world.user.address, 500 * USD)
    await world.approve_vault(world.user, 1_000 * USD)
    with pytest.raises(Reverted, match=r"^Plan already active$"):
        await world.try_on_vault(world.user.address, borrow)
    await world.set_next_time(start + DAY)
    _, repaid = await world.repay(world.user, 500 * USD + _interest(500 * USD, DAY) - 1)
    assert repaid.remaining_debt == 1
    with pytest.raises(Reverted, match=r"^Plan already active$"):
        await world.try_on_vault(world.user.address, borrow)
    _, repaid = await world.repay(world.user, 1)
    assert repaid.remaining_debt == 0
    assert await world.try_on_vault(world.user.address, borrow) > 21_000


async def test_trap_3_a_payoff_never_lands_in_one_call(world: World) -> None:
    """5,000 USDC after ten days, paid three seconds after the quote, leave 23 units; a minute later 23 land on zero."""
    start = await _borrowed_at(world, 5_000 * USD)
    await mint_usdc(world.owner, world.contracts, world.user.address, 100 * USD)
    await world.approve_vault(world.user, 6_000 * USD)

    quoted_in = await world.mine_at(start + 10 * DAY)
    quote = await world.debt(quoted_in.number)
    assert quote == 5_006_849_315

    await world.set_next_time(start + 10 * DAY + 3)
    _, payoff = await world.repay(world.user, quote)
    assert payoff.interest == 6_849_338
    assert payoff.principal == quote - 6_849_338
    assert payoff.remaining_debt == 23

    await world.set_next_time(start + 10 * DAY + 63)
    receipt, residue = await world.repay(world.user, 23)
    assert (residue.principal, residue.interest, residue.remaining_debt) == (23, 0, 0)
    plan, loan = await world.client.read(
        world.vault.get_repayment_plan(world.line.position_id),
        world.pool.loans(world.line.position_id),
        block=receipt.block_number,
    )
    assert not plan.is_active
    assert (loan.principal, loan.interest_accrued, loan.active) == (0, 0, False)


async def test_trap_3_paying_more_than_the_debt_is_refused(world: World) -> None:
    """So a payoff cannot be rounded up to be safe."""
    await world.borrow(world.user, 500 * USD)
    await mint_usdc(world.owner, world.contracts, world.user.address, 500 * USD)
    await world.approve_vault(world.user, 1_000 * USD)
    with pytest.raises(Reverted, match=r"^Amount exceeds debt$"):
        await world.try_on_vault(world.user.address, encode_repay_loan(world.line.position_id, 501 * USD))


async def test_trap_4_the_receipt_says_what_a_repayment_did(world: World) -> None:
    """Principal, interest and remaining debt of the event are those of the chain, whatever one would have computed."""
    start = await _borrowed_at(world, 5_000 * USD)
    await world.approve_vault(world.user, 1_000 * USD)
    await world.set_next_time(start + 30 * DAY)
    receipt, repaid = await world.repay(world.user, 1_000 * USD)
    assert repaid.interest == _interest(5_000 * USD, 30 * DAY)
    assert repaid.principal + repaid.interest == repaid.amount == 1_000 * USD
    (loan,) = await world.client.read(world.pool.loans(world.line.position_id), block=receipt.block_number)
    assert loan.principal == 5_000 * USD - repaid.principal
    assert repaid.remaining_debt == loan.principal == await world.debt(receipt.block_number)


async def test_trap_5_a_mined_receipt_can_be_a_failure(world: World) -> None:
    """A reverted transaction has a receipt like any other, with status 0 and without logs."""
    raw = await _signed(world, world.operator, encode_borrow_usdc(world.line.position_id, USD, LOAN_DURATION, 1))
    (sent,) = await world.client.send_raw([raw])
    assert isinstance(sent, SendOk)
    (receipt,) = await mined(world.client, [sent.tx_hash])
    assert not receipt.succeeded
    assert receipt.logs == ()


async def test_trap_5_a_mined_block_can_leave_the_chain(world: World) -> None:
    """After a reorganisation the receipt is gone, and the block of its number is another."""
    receipt = await world.borrow(world.user, 500 * USD)
    await world.client.rpc.call("anvil_reorg", 1, [])
    (block,) = await world.client.blocks([receipt.block_number])
    assert block is not None
    assert block.hash != receipt.block_hash
    assert await world.client.receipts([receipt.tx_hash]) == [None]
    assert await world.debt() == 0


async def test_trap_6_a_wrong_chain_or_address_is_named(world: World) -> None:
    """The process stops with the name of the setting, before it moves anything."""
    at = world.contracts
    with pytest.raises(ChainMisconfigured, match=r"^CHAIN_ID:"):
        await check_deployment(world.client, chain_id=5000, usdc=at.usdc, oaid=at.oaid, vault=at.vault, pool=at.pool)
    nobody = world.operator.address
    with pytest.raises(ChainMisconfigured, match=r"^VAULT_ADDRESS: there is no contract"):
        await check_deployment(world.client, chain_id=CHAIN_ID, usdc=at.usdc, oaid=at.oaid, vault=nobody, pool=at.pool)
    with pytest.raises(ChainMisconfigured, match=r"^POOL_ADDRESS: .* has no getAvailableLiquidity"):
        await check_deployment(
            world.client, chain_id=CHAIN_ID, usdc=at.usdc, oaid=at.oaid, vault=at.vault, pool=at.oaid
        )


async def _borrowed_at(world: World, amount: int) -> int:
    """The second in which the user borrowed."""
    receipt = await world.borrow(world.user, amount)
    (block,) = await world.client.blocks([receipt.block_number])
    assert block is not None
    return block.timestamp


async def _signed(world: World, sender: Sender, data: bytes) -> bytes:
    (raw,) = await sender.sign([world.to_vault(data)], Wei(10**11), CHAIN_ID)
    return raw


def _interest(principal: int, seconds: int) -> int:
    """The rule of contracts.md, said once more."""
    return principal * 500 * seconds // (10_000 * 31_536_000)
