"""What users and the vault's owner do on chain without the engine, before, during and after its own work (money.md section 6).

Each test ends with the invariants, of which the fourth is the point: what is owed on chain is what the rows say.
"""

from functools import partial

import pytest
from sqlalchemy import select, update

from activities.positions import PositionActivities
from chain.errors import DebtNotFinal
from models.messages.common import ReadDebt
from models.statuses import LegName
from models.tables.operators import Incident
from models.tables.partners import Partner
from tests.chain.world import USD
from tests.engine import Borrower, BuildEngine, Engine, until
from tests.workflows.outside import (
    PRINCIPAL,
    followed,
    loan_row,
    movements,
    outside_debt,
    user_borrows,
)
from tests.workflows.test_audit import before_the_residue, user_repays_all
from tests.workflows.test_repay_table import days_pass, user_repays
from workflows.options import LOANS_QUEUE
from workflows.sync_positions import SyncPositionsWorkflow

# Repayments by the user


async def test_a_partial_repayment_by_the_user(engine: Engine) -> None:
    """The loan owes less and the partner's limit is free by the principal that the user repaid, once, however often it is followed."""
    borrower = await engine.new_borrower()
    await engine.active_loan(borrower)
    await days_pass(engine, 10)
    await user_repays(engine, borrower, 1_000 * USD)
    await followed(engine)
    await followed(engine)
    await engine.client.rpc.call("evm_mine")
    await followed(engine)
    loan = await engine.loan(borrower)
    assert loan["status"] == "ACTIVE"
    repaid = PRINCIPAL - int(loan["outstanding"])
    assert 990 * USD < repaid < 1_000 * USD
    assert await movements(engine) == [("REPAYMENT", repaid)]
    assert await engine.partner_usage() == (PRINCIPAL - repaid, 0, PRINCIPAL, 0)
    await engine.assert_sound()


async def test_the_user_repays_all(engine: Engine) -> None:
    """A loan that its user repays down to zero is REPAID, its partner is told once, and the position is free for another."""
    borrower = await engine.new_borrower()
    borrow = (await engine.active_loan(borrower))["operation_id"]
    await user_repays_all(engine, borrower)
    await followed(engine)
    await followed(engine)
    loan = await engine.loan(borrower)
    assert (loan["status"], loan["outstanding"]) == ("REPAID", "0")
    assert await engine.partner_usage() == (0, 0, PRINCIPAL, 0)
    assert await engine.events(borrow) == ["loan.borrowed", "loan.repaid"]
    await engine.finished(await engine.borrow(borrower, partner_loan_id="another"))
    await followed(engine)
    await engine.assert_sound()


async def test_the_user_repays_before_and_after_our_repayment(engine: Engine) -> None:
    """What the user has repaid is taken off once: by its own event, and not again by the engine's repayment."""
    borrower = await engine.new_borrower()
    await engine.active_loan(borrower)
    await user_repays(engine, borrower, 1_000 * USD)
    await engine.finished(await engine.repay(borrower, {"amount": str(2_000 * USD)}))
    await user_repays(engine, borrower, 500 * USD)
    await followed(engine)
    loan = await engine.loan(borrower)
    assert 1_500 * USD <= int(loan["outstanding"]) < 1_501 * USD
    await engine.assert_sound()


async def test_the_user_repays_a_part_during_our_repayment(engine: Engine) -> None:
    """When the debt falls below what was collected, the excess is given back, and each part is taken off once."""
    borrower = await engine.new_borrower()
    await engine.active_loan(borrower)
    engine.once_before_leg(LegName.REPAY, partial(user_repays, engine, borrower, 4_500 * USD))
    done = await engine.finished(await engine.repay(borrower, {"amount": str(1_000 * USD)}))
    assert done["outcome"]["status"] == "APPLIED"
    await followed(engine)
    assert int((await engine.loan(borrower))["outstanding"]) < USD
    await engine.assert_sound()


async def test_the_user_repays_all_before_our_payoff_is_followed(engine: Engine) -> None:
    """A loan that the chain's zero has closed already releases nothing again when the user's own repayment is followed."""
    borrower = await engine.new_borrower()
    await engine.active_loan(borrower)
    engine.once_before(engine.contracts.usdc, partial(user_repays_all, engine, borrower))
    done = await engine.finished(await engine.repay(borrower, {"amount": str(USD)}))
    assert await engine.events(done["operation_id"]) == ["repayment.refunded", "loan.repaid"]
    await followed(engine)
    assert {released for _, released in await movements(engine)} == {0}
    assert await engine.partner_usage() == (0, 0, PRINCIPAL, 0)
    assert await engine.events((await loan_row(engine, borrower)).operation_id) == ["loan.borrowed"]
    await engine.assert_sound()


async def test_the_user_repays_all_during_our_repayment(engine: Engine) -> None:
    """While a repayment is in flight the loan is not closed under it: its own end says REPAID, once."""
    borrower = await engine.new_borrower()
    borrow = (await engine.active_loan(borrower))["operation_id"]

    async def repay_and_follow() -> None:
        await user_repays_all(engine, borrower)
        await followed(engine)
        assert (await engine.loan(borrower))["status"] == "ACTIVE"

    engine.once_before_leg(LegName.REPAY, repay_and_follow)
    done = await engine.finished(await engine.repay(borrower, {"amount": str(USD)}))
    assert done["outcome"]["status"] == "REFUNDED"
    assert (await engine.loan(borrower))["status"] == "REPAID"
    assert await engine.events(done["operation_id"]) == ["repayment.refunded", "loan.repaid"]
    assert await engine.events(borrow) == ["loan.borrowed"]
    await engine.assert_sound()


async def test_a_repayment_that_collects_nothing_lets_the_loan_be_closed(engine: Engine) -> None:
    """The user repays all while a pull is in flight that then fails: the loan is REPAID when the pull has ended."""
    borrower = await engine.new_borrower()
    borrow = (await engine.active_loan(borrower))["operation_id"]

    async def repay_and_revoke() -> None:
        await user_repays_all(engine, borrower)
        await followed(engine)
        await engine.approve_pull(engine.partner, 0)

    engine.once_before(engine.contracts.usdc, repay_and_revoke)
    done = await engine.finished(await engine.repay(borrower, {"amount": str(USD)}))
    assert done["outcome"]["status"] == "FAILED"
    assert (await engine.loan(borrower))["status"] == "REPAID"
    assert await engine.events(borrow) == ["loan.borrowed", "loan.repaid"]
    await engine.assert_sound()


async def test_the_user_repays_while_the_borrow_settles(engine: Engine) -> None:
    """A debt that is repaid before the payout is final makes the loan ACTIVE and then REPAID, with an event for each."""
    borrower = await engine.new_borrower()

    async def repay_and_follow() -> None:
        await user_repays_all(engine, borrower)
        await followed(engine)
        assert (await engine.loan(borrower))["status"] == "SETTLING"

    engine.once_before_leg(LegName.SETTLE, repay_and_follow)
    borrow = (await engine.active_loan(borrower))["operation_id"]
    assert (await engine.loan(borrower))["status"] == "REPAID"
    assert await engine.partner_usage() == (0, 0, PRINCIPAL, 0)
    assert await engine.events(borrow) == ["loan.borrowed", "loan.repaid"]
    await engine.assert_sound()


async def test_the_user_repays_before_the_borrow_is_recorded(build_engine: BuildEngine) -> None:
    """A repayment that is followed while the worker is away is taken off when the borrow is recorded."""
    async with build_engine() as engine, engine.lane():
        borrower = await engine.new_borrower()
        async with engine.loans():
            answer = await engine.borrow(borrower)
        await until(partial(_borrowed_on_chain, engine, borrower))
        await user_repays(engine, borrower, 1_000 * USD)
        await followed(engine)
        if (await engine.partner_usage())[1] != 0:
            assert await movements(engine) == [("REPAYMENT", 0)]
        async with engine.loans():
            await engine.finished(answer)
        loan = await loan_row(engine, borrower)
        assert 4_000 * USD <= loan.outstanding < 4_001 * USD
        assert await movements(engine) == [("REPAYMENT", PRINCIPAL - loan.outstanding)]
        await engine.assert_sound()


async def test_an_unwind_after_a_partial_repayment_by_the_user(engine: Engine) -> None:
    """A borrow that is undone gives back what was still outstanding, and not what the user's repayment has released."""
    borrower = await engine.new_borrower()
    await engine.owner_calls(engine.contracts.usdc, "blacklist(address)", engine.partner.settlement.address)

    async def repay_and_follow() -> None:
        await user_repays(engine, borrower, 1_000 * USD)
        await followed(engine)

    engine.once_before_leg(LegName.SETTLE, repay_and_follow)
    done = await engine.finished(await engine.borrow(borrower), wait=30)
    assert done["outcome"]["status"] == "REVERSED"
    assert await engine.partner_usage() == (0, 0, 0, 0)
    await engine.assert_sound()


# Borrows by the user


async def test_the_users_own_debt_is_never_the_partners(engine: Engine) -> None:
    """What a user borrows directly after the loan is the user's own, grows and falls by itself, and charges no limit."""
    borrower = await engine.new_borrower()
    await engine.active_loan(borrower)
    await engine.finished(await engine.repay(borrower, {"payoff": True}))
    await user_borrows(engine, borrower)
    await followed(engine)
    assert await outside_debt(engine, borrower) == 700 * USD
    await engine.assert_sound()
    await user_repays(engine, borrower, 300 * USD)
    await followed(engine)
    assert 400 * USD <= await outside_debt(engine, borrower) < 401 * USD
    await engine.assert_sound()
    await user_repays_all(engine, borrower)
    await followed(engine)
    assert await outside_debt(engine, borrower) == 0
    assert await engine.partner_usage() == (0, 0, PRINCIPAL, 0)
    await engine.assert_sound()


async def test_a_new_debt_is_not_repaid_by_the_partner(engine: Engine) -> None:
    """A user repays the loan and borrows anew while a repayment is on its way: all is given back, and the loan is REPAID."""
    borrower = await engine.new_borrower()
    await engine.active_loan(borrower)
    before = await engine.balance(engine.partner.settlement.address)

    async def borrow_anew() -> None:
        await user_repays_all(engine, borrower)
        await user_borrows(engine, borrower)
        await followed(engine)

    engine.once_before_leg(LegName.REPAY, borrow_anew)
    done = await engine.finished(await engine.repay(borrower, {"amount": str(1_000 * USD)}))
    assert done["outcome"]["status"] == "REFUNDED"
    assert await engine.balance(engine.partner.settlement.address) == before
    assert (await engine.loan(borrower))["status"] == "REPAID"
    assert await outside_debt(engine, borrower) == 700 * USD
    await engine.assert_sound()


async def test_a_new_debt_after_our_payoff_leaves_the_loan_closed(engine: Engine) -> None:
    """A user who repays the residue and borrows anew does not keep the loan open: its debt had ended before.

    The residue that was on its way meets the new debt, and lowers what the user owes on the user's own account.
    """
    borrower = await engine.new_borrower()
    await engine.active_loan(borrower)
    await days_pass(engine, 10)

    async def borrow_anew() -> None:
        await user_repays_all(engine, borrower)
        await user_borrows(engine, borrower)

    before_the_residue(engine, borrow_anew)
    await engine.finished(await engine.repay(borrower, {"payoff": True}))
    await followed(engine)
    loan = await engine.loan(borrower)
    assert (loan["status"], loan["outstanding"]) == ("REPAID", "0")
    assert 699 * USD < await outside_debt(engine, borrower) < 700 * USD
    await engine.assert_sound()


# How it is run


async def test_positions_are_followed_by_the_clock(engine: Engine) -> None:
    """The scheduled workflow follows what is final, and a base unit that somebody repays for one position troubles no other."""
    one, other = await engine.new_borrower(), await engine.new_borrower()
    await engine.active_loan(one)
    await engine.active_loan(other)
    await user_repays(engine, one, USD)
    result = await engine.temporal.execute_workflow(SyncPositionsWorkflow.run, id="sync", task_queue=LOANS_QUEUE)
    assert (result.movements, result.more) == (1, False)
    assert (await engine.loan(other))["outstanding"] == str(PRINCIPAL)
    await engine.assert_sound()


async def test_a_position_that_cannot_be_followed_holds_up_no_other(engine: Engine) -> None:
    """Rows that contradict an event open an incident about that position, and the events of others are applied."""
    other = await engine.new_partner()
    one, fine = await engine.new_borrower(), await engine.new_borrower(grant=False)
    (await engine.grant(fine, partner=other)).raise_for_status()
    await engine.active_loan(one)
    await engine.finished(await engine.borrow(fine, partner=other), partner=other)
    async with engine.transaction() as session:
        await session.execute(update(Partner).where(Partner.id == engine.partner.id).values(outstanding=0))
    await user_repays(engine, one, 2 * USD)
    await user_repays(engine, fine, USD)
    await followed(engine)
    assert (await loan_row(engine, one)).outstanding == PRINCIPAL
    assert (await loan_row(engine, fine)).outstanding < PRINCIPAL
    async with engine.transaction() as session:
        incidents = (await session.scalars(select(Incident.subject))).all()
    assert incidents == [f"position {one.line.position_id}"]


async def _borrowed_on_chain(engine: Engine, borrower: Borrower) -> bool:
    return await engine.debt(borrower) > 0


# Blocks that are not final


async def test_a_zero_that_is_not_final_closes_nothing(build_engine: BuildEngine) -> None:
    """A debt that ended in a block which may leave the chain yet is not called zero, since zero frees the limit for ever."""
    async with build_engine(confirmations=3) as engine:
        borrower = await engine.new_borrower()
        await user_borrows(engine, borrower)
        await user_repays_all(engine, borrower)
        ask = ReadDebt(position_id=borrower.line.position_id)
        positions = PositionActivities(engine.transaction, engine.chain)
        with pytest.raises(DebtNotFinal):
            await positions.read_debt(ask)
        await engine.client.rpc.call("anvil_mine", hex(2))
        assert (await positions.read_debt(ask)).outstanding == 0
