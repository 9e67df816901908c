"""What OAID says about a credit line over its life, and a position that has none."""

from chain.client import ChainClient
from chain.contracts import oaid
from chain.contracts.solvency_vault import TokenType, encode_borrow_usdc, encode_deposit_collateral
from chain.contracts.usdc import encode_approve
from chain.contracts.vault_events import decode_position_created, decode_usdc_borrowed
from chain.types import Log, Receipt
from contracts.deploy import Transaction
from contracts.funding import COLLATERAL_AMOUNT, MINT
from tests.chain.world import LOAN_DURATION, USD, World, only


async def test_issue_use_and_repayment_are_told(world: World) -> None:
    """The amounts are those of the calls, and the user is named."""
    line_id, position_id = world.line.credit_line_id, world.line.position_id
    issued = only([oaid.decode_credit_line_issued(log) for log in await _oaid_logs(world.client, world)])
    assert (issued.credit_line_id, issued.user) == (line_id, world.user.address)
    assert (issued.credit_limit, issued.solvency_position_id) == (7_000 * USD, position_id)
    assert issued.collateral_amount == COLLATERAL_AMOUNT

    borrowed = await world.borrow(world.user, 500 * USD)
    used = only(oaid.decode_credit_used(log) for log in borrowed.logs if log.address == world.contracts.oaid)
    assert (used.credit_line_id, used.amount, used.total_used) == (line_id, 500 * USD, 500 * USD)

    await world.approve_vault(world.user, 200 * USD)
    receipt, repaid = await world.repay(world.user, 200 * USD)
    credit = only(oaid.decode_credit_repaid(log) for log in receipt.logs if log.address == world.contracts.oaid)
    assert (credit.amount, credit.remaining_used) == (repaid.principal, 500 * USD - repaid.principal)
    payment = only(oaid.decode_payment_recorded(log) for log in receipt.logs if log.address == world.contracts.oaid)
    assert (payment.user, payment.amount) == (world.user.address, 200 * USD)
    assert (payment.on_time, payment.days_late) == (True, 0)


async def test_a_position_without_a_credit_line_borrows_too(world: World) -> None:
    """Its credit line id is zero, and OAID hears nothing of it."""
    receipt = await _deposit_without_line(world)
    created = only(decode_position_created(log) for log in receipt.logs)
    assert created.user == world.user.address
    assert not [log for log in receipt.logs if log.address == world.contracts.oaid]
    data = encode_borrow_usdc(created.position_id, 100 * USD, LOAN_DURATION, 1)
    (borrowed,) = await world.user.send(world.to_vault(data))
    assert only(decode_usdc_borrowed(log) for log in borrowed.logs).total_debt == 100 * USD
    assert not [log for log in borrowed.logs if log.address == world.contracts.oaid]


async def _oaid_logs(client: ChainClient, world: World) -> list[Log]:
    topics = [oaid.CREDIT_LINE_ISSUED_EVENT.topic0]
    return await client.logs(world.contracts.oaid, topics, 0, "latest")


async def _deposit_without_line(world: World) -> Receipt:
    token, vault = world.contracts.collateral, world.contracts.vault
    await world.owner.send(Transaction(token, MINT.encode(world.user.address, COLLATERAL_AMOUNT)))
    deposit = encode_deposit_collateral(token, COLLATERAL_AMOUNT, 1_000 * USD, TokenType.RWA, issue_oaid=False)
    _, receipt = await world.user.send(
        Transaction(token, encode_approve(vault, COLLATERAL_AMOUNT)), Transaction(vault, deposit)
    )
    return receipt
