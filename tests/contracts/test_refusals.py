"""Every refusal of the design in its own words, since the engine tells them apart by these."""

from collections.abc import Callable

import pytest

from chain.client import ChainClient
from chain.codec import Function
from chain.contracts.solvency_vault import TokenType, encode_borrow_usdc, encode_repay_loan
from chain.contracts.usdc import encode_transfer
from chain.errors import Reverted, RevertKind
from chain.types import CallRequest
from contracts.deploy import Transaction
from contracts.funding import mint_usdc
from tests.chain.world import DAY, INSTALLMENTS, LOAN_DURATION, USD, World, new_world

PAUSE = Function("pause()")
UNPAUSE = Function("unpause()")
BLACKLIST = Function("blacklist(address)")
SET_REPAYMENTS_PAUSED = Function("setRepaymentsPaused(bool)")


@pytest.mark.parametrize(
    ("reason", "borrow"),
    [
        ("Position not active", lambda _: encode_borrow_usdc(99, USD, LOAN_DURATION, INSTALLMENTS)),
        ("Amount must be > 0", lambda position: encode_borrow_usdc(position, 0, LOAN_DURATION, INSTALLMENTS)),
        ("Duration must be > 0", lambda position: encode_borrow_usdc(position, USD, 0, INSTALLMENTS)),
        ("Installments must be > 0", lambda position: encode_borrow_usdc(position, USD, LOAN_DURATION, 0)),
        ("Invalid duration/installments", lambda position: encode_borrow_usdc(position, USD, 2, 3)),
        ("Exceeds LTV limit", lambda position: encode_borrow_usdc(position, 7_000 * USD + 1, LOAN_DURATION, 1)),
    ],
)
async def test_a_borrow_is_refused_in_the_words_of_the_design(
    world: World, reason: str, borrow: Callable[[int], bytes]
) -> None:
    """The user's own call, with one thing wrong."""
    with pytest.raises(Reverted) as refused:
        await world.try_on_vault(world.user.address, borrow(world.line.position_id))
    assert (refused.value.reason, refused.value.kind) == (reason, RevertKind.REQUIRE)


async def test_a_private_asset_lends_less_than_its_credit_line_promises(client: ChainClient) -> None:
    """The line says 70% for every token type, the vault lends 60% against a private asset."""
    world = await new_world(client, token_type=TokenType.PRIVATE_ASSET)
    available, most = await client.read(
        world.oaid.get_available_credit(world.line.credit_line_id),
        world.vault.get_max_borrow(world.line.position_id),
        block="latest",
    )
    assert (available, most) == (7_000 * USD, 6_000 * USD)
    with pytest.raises(Reverted, match=r"^Exceeds LTV limit$"):
        await world.try_on_vault(world.user.address, _borrow(world, 6_000 * USD + 1))


async def test_a_position_owes_at_most_the_debt_ceiling(client: ChainClient) -> None:
    """100,000 USDC, whatever the collateral is worth."""
    world = await new_world(client, value_usd=1_000_000 * USD)
    assert await world.try_on_vault(world.user.address, _borrow(world, 100_000 * USD)) > 21_000
    with pytest.raises(Reverted, match=r"^Exceeds debt ceiling$"):
        await world.try_on_vault(world.user.address, _borrow(world, 100_000 * USD + 1))


async def test_the_pool_keeps_a_fifth_of_what_is_out(client: ChainClient) -> None:
    """With 1,000 USDC and 600 of them lent, 280 of the 400 that are left may be lent."""
    world = await new_world(client, liquidity=1_000 * USD)
    with pytest.raises(Reverted, match=r"^Insufficient liquidity$"):
        await world.try_on_vault(world.user.address, _borrow(world, 1_000 * USD + 1))
    await world.borrow(world.user, 600 * USD)
    (available,) = await client.read(world.pool.get_available_liquidity(), block="latest")
    assert available == 280 * USD


async def test_a_repayment_without_a_loan_is_refused(world: World) -> None:
    await world.approve_vault(world.operator, USD)
    with pytest.raises(Reverted, match=r"^Loan not active$"):
        await world.try_on_vault(world.operator.address, encode_repay_loan(world.line.position_id, USD))


async def test_a_repayment_without_an_allowance_is_refused_by_the_token(world: World) -> None:
    """The vault passes the token's own error on."""
    await world.borrow(world.user, 100 * USD)
    with pytest.raises(Reverted, match=r"^ERC20InsufficientAllowance") as refused:
        await world.try_on_vault(world.operator.address, encode_repay_loan(world.line.position_id, USD))
    assert refused.value.kind is RevertKind.CUSTOM


async def test_the_pool_can_be_made_to_refuse_repayments(world: World) -> None:
    """So that a repayment can fail after its USDC has been collected."""
    await world.borrow(world.user, 100 * USD)
    await world.approve_vault(world.user, 100 * USD)
    await world.owner.send(Transaction(world.contracts.pool, SET_REPAYMENTS_PAUSED.encode(True)))
    with pytest.raises(Reverted, match=r"^Repayments paused$"):
        await world.try_on_vault(world.user.address, encode_repay_loan(world.line.position_id, USD))
    await world.owner.send(Transaction(world.contracts.pool, SET_REPAYMENTS_PAUSED.encode(False)))
    await world.try_on_vault(world.user.address, encode_repay_loan(world.line.position_id, USD))


async def test_a_paused_dollar_moves_nowhere(world: World) -> None:
    """Neither by transfer nor by a loan, until it is unpaused."""
    await world.owner.send(Transaction(world.contracts.usdc, PAUSE.encode()))
    with pytest.raises(Reverted, match=r"^Pausable: paused$"):
        await _transfer(world)
    with pytest.raises(Reverted, match=r"^Pausable: paused$"):
        await world.try_on_vault(world.user.address, _borrow(world, USD))
    await world.owner.send(Transaction(world.contracts.usdc, UNPAUSE.encode()))
    await _transfer(world)


@pytest.mark.parametrize("who", ["operator", "user"])
async def test_a_blacklisted_address_neither_sends_nor_receives(world: World, who: str) -> None:
    blocked = world.operator.address if who == "operator" else world.user.address
    await world.owner.send(Transaction(world.contracts.usdc, BLACKLIST.encode(blocked)))
    with pytest.raises(Reverted, match=r"^Blacklistable: account is blacklisted$"):
        await _transfer(world)


async def test_only_the_owner_governs(world: World) -> None:
    """Mint, pause and the rest are not for users."""
    request = CallRequest(world.user.address, world.contracts.usdc, PAUSE.encode())
    with pytest.raises(Reverted, match=r"^OwnableUnauthorizedAccount"):
        await world.client.simulate(request)


async def test_repayments_are_recorded_on_the_credit_line(world: World) -> None:
    """Credit comes back by the principal, and the history counts payments on time and late."""
    receipt = await world.borrow(world.user, 1_000 * USD)
    (block,) = await world.client.blocks([receipt.block_number])
    assert block is not None
    await mint_usdc(world.owner, world.contracts, world.user.address, 100 * USD)
    await world.approve_vault(world.user, 1_000 * USD)
    await world.repay(world.user, 100 * USD)
    await world.set_next_time(block.timestamp + 75 * DAY)
    _, late = await world.repay(world.user, 200 * USD)
    line, profile = await world.client.read(
        world.oaid.get_credit_line(world.line.credit_line_id),
        world.oaid.get_credit_profile(world.user.address),
        block="latest",
    )
    (loan,) = await world.client.read(world.pool.loans(world.line.position_id), block="latest")
    assert line.credit_used == loan.principal
    assert (line.on_time_payments, line.late_payments, line.total_amount_repaid) == (1, 1, 300 * USD)
    assert profile.credit_score == 500
    assert late.interest > 0


def _borrow(world: World, amount: int) -> bytes:
    return encode_borrow_usdc(world.line.position_id, amount, LOAN_DURATION, INSTALLMENTS)


async def _transfer(world: World) -> None:
    """Try to send a dollar from the operator to the user."""
    data = encode_transfer(world.user.address, USD)
    await world.client.simulate(CallRequest(world.operator.address, world.contracts.usdc, data))
