"""Each reason for a review, on an engine that waits for it: what the runbook's entry prints is typed, and the operation ends."""

from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import select

import operate
from models.statuses import LegName, OperationKind
from models.tables.transactions import ChainTransaction
from tests.engine import BuildEngine, Engine, until
from tests.operating import Say
from tests.runbook.entries import Tried, trying
from tests.runbook.states import at_work, environment, figure, stands_still, waits_for_allowance, waits_for_an_hour
from tests.workflows.moments import leg_is, no_blocks, sent_and_held, under_review
from tests.workflows.test_audit import before_the_residue, user_repays_all
from tests.workflows.test_operators import PART, Unreadable, waits_for
from tests.workflows.test_repay_table import days_pass

SOON = timedelta(seconds=2)
BLACKLIST, UNBLACKLIST, REPAYMENTS = "blacklist(address)", "unBlacklist(address)", "setRepaymentsPaused(bool)"


async def test_a_borrow_that_cannot_be_undone(shared: Engine, say: Say) -> None:
    """With the payout refused for good and the pool paused for an hour: the pool is mended, and `retry` undoes the borrow."""
    tried = trying("the borrow cannot be undone", "ReviewTooLong")
    async with at_work(shared) as engine:
        await engine.owner_calls(engine.contracts.usdc, BLACKLIST, engine.partner.settlement.address)
        await engine.owner_calls(engine.contracts.pool, REPAYMENTS, True)
        operation_id = (await engine.borrow(await engine.new_borrower())).json()["operation_id"]
        await until(partial(waits_for, engine, operation_id, "retry"))
        await waits_for_an_hour(engine, operation_id)
        assert await figure(engine, "loan_engine_operation_review_oldest_seconds", kind="BORROW") > 3600
        said = (await tried.types(say, engine, "review"))[1]
        assert f"{operation_id} (" in said
        assert "the borrow cannot be undone" in said
        await engine.owner_calls(engine.contracts.pool, REPAYMENTS, False)
        assert await tried.types(say, engine, "retry", OPERATION=operation_id) == (0, "unwind is tried again\n")
        assert (await engine.operation(operation_id))["outcome"]["status"] == "REVERSED"
        assert await figure(engine, "loan_engine_operation_review_oldest_seconds", kind="BORROW") == 0
        await engine.assert_sound()


async def test_what_an_unwind_leaves_above_the_cap(build_engine: BuildEngine, say: Say) -> None:
    """A day's interest that the platform may not pay: its borrower pays it, and `retry` ends the undoing."""
    tried = trying("base units are owed still")
    async with build_engine(residue_cap=0) as engine, engine.lane(), engine.loans():
        borrower = await engine.new_borrower()
        await engine.owner_calls(engine.contracts.usdc, BLACKLIST, engine.partner.settlement.address)
        engine.once_before_leg(LegName.SETTLE, partial(days_pass, engine, 1))
        operation_id = (await engine.borrow(borrower)).json()["operation_id"]
        await until(partial(waits_for, engine, operation_id, "retry"))
        assert "base units are owed still" in (await tried.types(say, engine, "review"))[1]
        await user_repays_all(engine, borrower)
        assert await tried.types(say, engine, "retry", OPERATION=operation_id) == (0, "residue is tried again\n")
        assert (await engine.operation(operation_id))["outcome"]["status"] == "REVERSED"
        assert await engine.debt(borrower) == 0


async def test_a_residue_that_is_refused(build_engine: BuildEngine, say: Say) -> None:
    """The pool is mended and the float filled from a treasury, and `retry` repays the last base units without the wait."""
    tried = trying("residue-n was refused")
    async with build_engine(leg_patience=timedelta(hours=1)) as engine, engine.lane(), engine.loans():
        borrower = await engine.new_borrower()
        await engine.active_loan(borrower)
        before_the_residue(engine, partial(engine.owner_calls, engine.contracts.pool, REPAYMENTS, True))
        operation_id = (await engine.repay(borrower, {"payoff": True})).json()["operation_id"]
        await until(partial(waits_for, engine, operation_id, "retry"))
        assert "residue-1 was refused" in (await tried.types(say, engine, "review"))[1]
        await engine.owner_calls(engine.contracts.pool, REPAYMENTS, False)
        await engine.fund_float()
        await until(engine.float_is_booked)
        assert await tried.types(say, engine, "retry", OPERATION=operation_id) == (0, "residue-1 is tried again\n")
        assert (await engine.operation(operation_id))["outcome"]["status"] == "APPLIED"
        assert await engine.debt(borrower) == 0
        await engine.assert_sound()


async def test_a_refund_that_the_token_refuses(shared: Engine, say: Say) -> None:
    """Once its payer is off the blacklist, `retry` gives back what was collected."""
    tried = trying("the refund was refused")
    async with at_work(shared) as engine:
        borrower, usdc = await engine.new_borrower(), engine.contracts.usdc
        await engine.active_loan(borrower)
        await engine.owner_calls(engine.contracts.pool, REPAYMENTS, True)
        payer = engine.partner.settlement.address
        engine.once_before(engine.contracts.vault, partial(engine.owner_calls, usdc, BLACKLIST, payer))
        operation_id = (await engine.repay(borrower, PART)).json()["operation_id"]
        await until(partial(waits_for, engine, operation_id, "retry"))
        assert "the refund was refused" in (await tried.types(say, engine, "review"))[1]
        await engine.owner_calls(usdc, UNBLACKLIST, payer)
        assert await tried.types(say, engine, "retry", OPERATION=operation_id) == (0, "refund is tried again\n")
        assert (await engine.operation(operation_id))["outcome"]["status"] == "REFUNDED"
        await engine.owner_calls(engine.contracts.pool, REPAYMENTS, False)
        await engine.assert_sound()


async def test_a_leg_that_is_late(build_engine: BuildEngine, say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    """With no lane there, and then no worker either: once there is one, `cancel` gives the borrow up and frees its limit."""
    tried = trying("has no outcome yet", "its workflow does not answer", "ReviewTooLong")
    monkeypatch.setattr(operate, "ANSWERS_WITHIN", SOON)
    async with build_engine(leg_patience=SOON) as engine:
        async with engine.loans():
            operation_id = (await engine.borrow(await engine.new_borrower())).json()["operation_id"]
            await until(partial(under_review, engine, operation_id))
        await waits_for_an_hour(engine, operation_id)
        assert await figure(engine, "loan_engine_operation_review_oldest_seconds", kind="BORROW") > 3600
        said = (await tried.types(say, engine, "review"))[1]
        assert "has no outcome yet" in said
        assert "its workflow does not answer" in said
        async with tried.starts("python worker.py --role loans", environment(engine)):
            await until(partial(answers, tried, say, engine))
            gone = "the leg 'borrow' was given up before it was sent\n"
            assert await tried.types(say, engine, "cancel", OPERATION=operation_id) == (0, gone)
            assert (await engine.operation(operation_id))["outcome"]["status"] == "FAILED"
        assert await engine.partner_usage() == (0, 0, 0, 0)
        await engine.assert_sound()


async def answers(tried: Tried, say: Say, engine: Engine) -> bool:
    return "possible: cancel" in (await tried.types(say, engine, "review"))[1]


async def test_a_receipt_that_nothing_can_be_written_from(shared: Engine, say: Say) -> None:
    """Resumed, the leg is HELD again; with the signer paused and the receipt readable it is accepted, and all goes on."""
    tried = trying("the rows of … cannot be written")
    accept = "resolve-hold --resolution accept"
    engine = shared
    engine.partner = await engine.new_partner()
    borrower = await engine.new_borrower()
    async with engine.loans():
        operation_id = (await engine.borrow(borrower)).json()["operation_id"]
        await until(partial(leg_is, engine, operation_id, ("borrow", 1, "QUEUED")))
    position, unreadable = borrower.line.position_id, Unreadable(engine, operation_id, "borrow")
    await unreadable.expects(position, position + 1)
    held = {"OPERATION": operation_id, "LEG": "borrow"}
    async with engine.loans(), engine.lane():
        await until(partial(under_review, engine, operation_id))
        status, said = await tried.types(say, engine, accept, **held)
        assert (status, "cannot be written from the receipt" in said) == (1, True)
        resumed = await tried.types(say, engine, "resolve-hold --resolution resume", **held)
        assert resumed == (0, "borrow is BROADCAST\n")
        await until(partial(leg_is, engine, operation_id, ("borrow", 1, "HELD")))
        await until(partial(waits_for, engine, operation_id, "resolve-hold"))
        assert (await tried.types(say, engine, "pause-signer"))[0] == 0
        await unreadable.expects(position + 1, position)
        assert await tried.types(say, engine, accept, **held) == (0, "borrow is FINAL_OK\n")
        assert (await tried.types(say, engine, "resume-signer"))[0] == 0
        assert (await engine.operation(operation_id))["outcome"]["status"] == "ACTIVE"
        await engine.assert_sound()


async def test_a_hold_of_the_lane_s_own(build_engine: BuildEngine, say: Say) -> None:
    """The vault's allowance, sent and HELD: a repayment waits for it until the hold is resolved by the allowance's own id."""
    tried = trying("a hold of `system:…`")
    async with build_engine() as engine, engine.loans():
        answer = await waits_for_allowance(engine)
        async with no_blocks(engine):
            async with engine.lane():
                await until(partial(has_asked_for_allowance, engine))
            allowance = await the_allowance(engine)
            await sent_and_held(engine, allowance, "approve")
        said = (await tried.types(say, engine, "review"))[1]
        assert "holds of the lane's own legs: 1" in said
        assert f"{allowance}/approve/1" in said
        line = {"OPERATION": allowance, "LEG": "approve"}
        resolved = await tried.types(say, engine, "resolve-hold --resolution accept", **line)
        assert resolved == (0, "approve is FINAL_OK\n")
        async with engine.lane():
            assert (await engine.finished(answer))["outcome"]["status"] == "APPLIED"
        await engine.assert_sound()


async def the_allowance(engine: Engine) -> str:
    approvals = select(ChainTransaction.operation_id).where(ChainTransaction.leg == LegName.APPROVE)
    async with engine.transaction() as session:
        return (await session.scalars(approvals)).one()


async def has_asked_for_allowance(engine: Engine) -> bool:
    approvals = select(ChainTransaction.id).where(ChainTransaction.leg == LegName.APPROVE)
    async with engine.transaction() as session:
        return (await session.scalars(approvals)).one_or_none() is not None


async def test_no_worker_of_loans(shared: Engine) -> None:
    """One borrow stands still and one has no decision: `describe` shows what is pending, and a worker ends both."""
    tried = trying("OperationWithoutProgress", "DecisionsSlow")
    engine = shared
    engine.partner = await engine.new_partner()
    async with engine.loans():
        begun = await engine.borrow(await engine.new_borrower())
    operation_id = begun.json()["operation_id"]
    await stands_still(engine, operation_id)
    assert await figure(engine, "loan_engine_operation_stalled_oldest_seconds", kind=OperationKind.BORROW) > 2700
    slow = await engine.borrow(await engine.new_borrower())
    assert (slow.status_code, slow.json()["decision"]) == (202, "pending")
    where = environment(engine)
    describe = "temporal workflow describe --workflow-id OPERATION"
    status, said = await tried.runs(describe, where, OPERATION=operation_id)
    assert (status, "await_" in said or "Pending" in said) == (0, True), said
    async with engine.lane(), tried.starts("python worker.py --role loans", where):
        for answer in (begun, slow):
            assert (await engine.finished(answer, wait=30))["outcome"]["status"] == "ACTIVE"
    await engine.assert_sound()
