"""Loans that go bad: what the vault's owner does with them, before and during our own work (money.md section 6)."""

from models.statuses import LegName
from tests.chain.world import USD
from tests.engine import Engine
from tests.workflows.outside import PRINCIPAL, default, followed, liquidate, loan_row, settle


async def test_a_default(engine: Engine) -> None:
    """A loan that the vault's owner marks is DEFAULTED, its partner is told once, and it can still be repaid."""
    borrower = await engine.new_borrower()
    borrow = (await engine.active_loan(borrower))["operation_id"]
    await default(engine, borrower)
    await followed(engine)
    assert (await engine.loan(borrower))["status"] == "DEFAULTED"
    await engine.assert_sound()
    await engine.finished(await engine.repay(borrower, {"payoff": True}))
    await followed(engine)
    assert (await engine.loan(borrower))["status"] == "REPAID"
    assert await engine.events(borrow) == ["loan.borrowed", "loan.defaulted"]
    await engine.assert_sound()


async def test_a_liquidation_that_brings_all_back(engine: Engine) -> None:
    """A liquidated loan takes no more repayments; when it is settled, nothing is outstanding and nothing is written off."""
    borrower = await engine.new_borrower()
    borrow = (await engine.active_loan(borrower))["operation_id"]
    await liquidate(engine, borrower)
    await followed(engine)
    loan = await engine.loan(borrower)
    assert (loan["status"], loan["outstanding"]) == ("LIQUIDATED", str(PRINCIPAL))
    refused = await engine.repay(borrower, {"amount": str(USD)})
    assert refused.json()["code"] == "loan_not_repayable"
    await engine.assert_sound()
    await settle(engine, borrower)
    await followed(engine)
    row = await loan_row(engine, borrower)
    assert (row.status, row.outstanding, row.written_off) == ("LIQUIDATED", 0, 0)
    assert await engine.partner_usage() == (0, 0, PRINCIPAL, 0)
    assert await engine.events(borrow) == ["loan.borrowed", "loan.defaulted", "loan.liquidated"]
    await engine.assert_sound()


async def test_a_liquidation_during_a_repayment(engine: Engine) -> None:
    """A repayment that a liquidation overtakes is given back; the loan is LIQUIDATED, whatever the chain's zero would say."""
    borrower = await engine.new_borrower()
    borrow = (await engine.active_loan(borrower))["operation_id"]
    before = await engine.balance(engine.partner.settlement.address)

    async def go_bad() -> None:
        await liquidate(engine, borrower)
        await settle(engine, borrower)

    engine.once_before_leg(LegName.REPAY, go_bad)
    done = await engine.finished(await engine.repay(borrower, {"amount": str(USD)}))
    assert done["outcome"]["status"] == "REFUNDED"
    assert await engine.balance(engine.partner.settlement.address) == before
    await followed(engine)
    assert (await engine.loan(borrower))["status"] == "LIQUIDATED"
    assert await engine.partner_usage() == (0, 0, PRINCIPAL, 0)
    assert await engine.events(borrow) == ["loan.borrowed", "loan.defaulted", "loan.liquidated"]
    await engine.assert_sound()
