"""Ways to lose, strand or give away USDC that an audit of this engine found, each tried as it was found."""

from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from activities.repayments import RepaymentActivities
from chain.contracts.solvency_vault import encode_borrow_usdc
from contracts.deploy import Transaction
from models import accounts
from models.errors import InvariantBroken, TransferNotFound
from models.messages.common import Refuse
from models.messages.repay import ClaimTransfer, RepayTerms
from models.statuses import LegName
from models.tables import book
from tests.chain.world import DAY, USD
from tests.engine import Borrower, BuildEngine, Engine, until
from tests.workflows.test_repay_table import days_pass, seen, transfer_state, user_repays

SMALL = 9 * USD


async def float_of(engine: Engine) -> int:
    async with engine.transaction() as session:
        return await book.balance(session, accounts.FLOAT)


async def test_a_payoff_that_is_funded_short_is_a_partial_repayment(engine: Engine) -> None:
    """One base unit and ``payoff`` repay one base unit: the platform adds what accrues on the way, and nothing else."""
    borrower = await engine.new_borrower()
    await engine.active_loan(borrower, SMALL)
    before = await float_of(engine)
    tx_hash = await engine.transfer(engine.partner.settlement, engine.chain.wallet, 1)
    done = await engine.finished(await engine.repay(borrower, {"payoff": True, "transfer_tx_hash": tx_hash}))
    assert done["outcome"]["status"] == "APPLIED"
    loan = await engine.loan(borrower)
    assert loan["status"] == "ACTIVE"
    assert int(loan["repayments"][0]["remaining_debt"]) >= SMALL - 1
    assert await float_of(engine) == before
    await engine.assert_sound()


async def test_the_float_pays_no_other_debt(engine: Engine) -> None:
    """A user who repays the residue and borrows anew meanwhile keeps that debt: the platform does not pay it."""
    borrower = await engine.new_borrower()
    await engine.active_loan(borrower)
    await days_pass(engine, 10)
    before = await float_of(engine)
    before_the_residue(engine, partial(user_borrows_anew, engine, borrower))
    done = await engine.finished(await engine.repay(borrower, {"payoff": True}))
    assert done["outcome"]["status"] == "APPLIED"
    assert before - await float_of(engine) < USD
    assert await engine.debt(borrower) >= SMALL - USD


async def test_a_stranger_who_repays_the_residue_locks_nothing(engine: Engine) -> None:
    """When somebody else pays the last base units the loan is REPAID, since the chain says zero."""
    borrower = await engine.new_borrower()
    await engine.active_loan(borrower)
    await days_pass(engine, 10)
    before_the_residue(engine, partial(user_repays_all, engine, borrower))
    done = await engine.finished(await engine.repay(borrower, {"payoff": True}))
    assert done["outcome"]["status"] == "APPLIED"
    assert (await engine.loan(borrower))["status"] == "REPAID"
    assert (await engine.partner_usage())[0] == 0
    again = await engine.borrow(borrower, partner_loan_id="another")
    assert again.status_code == 202
    await engine.finished(again)
    await engine.assert_sound()


async def test_a_debt_repaid_by_the_user_ends_a_refunded_repayment(engine: Engine) -> None:
    """When the user repays everything after the collection, all is refunded, and the loan is REPAID all the same."""
    borrower = await engine.new_borrower()
    await engine.active_loan(borrower)
    engine.once_before(engine.contracts.usdc, partial(user_repays_all, engine, borrower))
    done = await engine.finished(await engine.repay(borrower, {"amount": str(USD)}))
    assert done["outcome"]["status"] == "REFUNDED"
    assert (await engine.loan(borrower))["status"] == "REPAID"
    assert await engine.events(done["operation_id"]) == ["repayment.refunded", "loan.repaid"]
    await engine.assert_sound()


async def test_an_unwind_with_nothing_left_to_repay_ends(engine: Engine) -> None:
    """A borrow that must be undone, and whose debt the user has repaid, is REVERSED; the USDC waits in suspense."""
    borrower = await engine.new_borrower()
    await engine.owner_calls(engine.contracts.usdc, "blacklist(address)", engine.partner.settlement.address)
    engine.once_before_leg(LegName.SETTLE, partial(user_repays_all, engine, borrower))
    done = await engine.finished(await engine.borrow(borrower), wait=30)
    assert done["outcome"]["status"] == "REVERSED"
    assert await engine.partner_usage() == (0, 0, 0, 0)
    async with engine.transaction() as session:
        assert await book.balance(session, accounts.SUSPENSE) == 5_000 * USD
    await engine.assert_sound()


async def test_a_refused_residue_is_shown(build_engine: BuildEngine) -> None:
    """A residue that the vault refuses is shown to operators and tried again once in a while, not in a tight loop."""
    async with build_engine() as engine, engine.lane(), engine.loans():
        await engine.fund_float()
        borrower = await engine.new_borrower()
        await engine.active_loan(borrower)
        await days_pass(engine, 10)
        pause = partial(engine.owner_calls, engine.contracts.pool, "setRepaymentsPaused(bool)", True)
        before_the_residue(engine, pause)
        answer = await engine.repay(borrower, {"payoff": True})
        operation_id = answer.json()["operation_id"]
        await until(partial(is_told, engine, operation_id, "repayment.delayed"))
        residues = [leg for leg, _, _ in await engine.legs(operation_id) if leg.startswith("residue")]
        assert residues == ["residue-1"]


async def test_a_claim_that_wakes_up_late_claims_nothing(engine: Engine) -> None:
    """A claim that stalled until its operation was done finds that it may not claim; the transfer stays claimable."""
    borrower = await engine.new_borrower()
    await engine.active_loan(borrower)
    body = {"amount": str(USD), "transfer_tx_hash": "0x" + "cd" * 32}
    done = await engine.finished(await engine.repay(borrower, body))
    assert done["outcome"]["status"] == "REJECTED"
    tx_hash = await engine.transfer(engine.partner.settlement, engine.chain.wallet, USD)
    await until(partial(seen, engine, tx_hash))
    operation_id = done["operation_id"]
    terms = RepayTerms.model_validate((await engine.operation_row(operation_id)).terms)
    late = terms.model_copy(update={"transfer_tx_hash": tx_hash})
    with pytest.raises(InvariantBroken, match="is done"):
        await repayments_of(engine).claim_transfer(ClaimTransfer(operation_id=operation_id, terms=late))
    assert await transfer_state(engine, tx_hash) == "UNCLAIMED"
    await engine.assert_sound()


async def test_giving_up_never_forgets_what_was_collected(build_engine: BuildEngine) -> None:
    """A run that gives up after a late claim has collected goes on with it, instead of ending a repayment that has USDC."""
    async with build_engine() as engine, engine.lane():
        borrower = await engine.new_borrower()
        async with engine.loans():
            await engine.active_loan(borrower)
            tx_hash = await engine.transfer(engine.partner.settlement, engine.chain.wallet, USD)
            engine.hold_submissions()
            answer = await engine.repay(borrower, {"amount": str(USD), "transfer_tx_hash": tx_hash})
            await until(partial(is_claimed, engine, tx_hash))
        refuse = Refuse(operation_id=answer.json()["operation_id"], refusal=TransferNotFound(tx_hash).payload())
        ended = await repayments_of(engine).close_uncollected(refuse)
        assert ended.outcome is None
        assert ended.collected is not None
        assert ended.collected.amount == USD
        engine.release_submissions()
        async with engine.loans():
            assert (await engine.finished(answer))["outcome"]["status"] == "APPLIED"
        await engine.assert_sound()


def before_the_residue(engine: Engine, act: Callable[[], Awaitable[None]]) -> None:
    """Acts just before the residue is simulated; a day passes while the repayment is on its way, so that there is one."""

    async def let_a_day_pass() -> None:
        await days_pass(engine, 1)
        engine.once_before_leg(LegName.RESIDUE, act)

    engine.once_before_leg(LegName.REPAY, let_a_day_pass)


def repayments_of(engine: Engine) -> RepaymentActivities:
    return RepaymentActivities(engine.transaction, engine.chain, engine.settings.pace, engine.settings.residue_cap)


async def is_told(engine: Engine, operation_id: str, event: str) -> bool:
    return event in await engine.events(operation_id)


async def is_claimed(engine: Engine, tx_hash: str) -> bool:
    return await transfer_state(engine, tx_hash) == "CLAIMED"


async def user_repays_all(engine: Engine, borrower: Borrower) -> None:
    """The borrower repays the vault directly until nothing is owed: a quoted debt leaves what accrues meanwhile."""
    while (owed := await engine.debt(borrower)) > 0:
        await user_repays(engine, borrower, owed)


async def user_borrows_anew(engine: Engine, borrower: Borrower) -> None:
    await user_repays_all(engine, borrower)
    borrow = encode_borrow_usdc(borrower.line.position_id, SMALL, 30 * DAY, 1)
    await borrower.user.send(Transaction(engine.contracts.vault, borrow))
