"""A run that is lost, terminated, reset or late never moves money twice (money.md sections 1 and 2)."""

import asyncio

import pytest

from activities.limits import LimitActivities
from activities.transactions import TransactionActivities
from chain.errors import RpcUnavailable
from chain.types import CallRequest
from chain.waiter import LegWaiter
from models.errors import InvariantBroken, StoppedBeforeSending
from models.messages.common import OperationInput, Refuse
from models.messages.legs import BorrowCall, SubmitTransaction
from models.statuses import LegName
from models.tables.partners import Partner
from tests.chain.world import USD
from tests.engine import BuildEngine, Engine, until
from tests.workflows.moments import is_completed, is_decided, leg_is
from tests.workflows.test_repay_table import days_pass
from workflows.borrow import BorrowWorkflow
from workflows.options import LOANS_QUEUE
from workflows.repay import RepayWorkflow

PRINCIPAL = 5_000 * USD


async def run_again(engine: Engine, operation_id: str) -> None:
    """Starts the operation's workflow under its own id, as the sweep does for one that is gone."""
    workflow = BorrowWorkflow if operation_id.startswith("borrow:") else RepayWorkflow
    await engine.temporal.start_workflow(
        workflow.__name__, OperationInput(operation_id=operation_id), id=operation_id, task_queue=LOANS_QUEUE
    )


async def test_terminated_after_the_borrow_is_on_chain(build_engine: BuildEngine) -> None:
    """A workflow terminated after its borrow is on chain is run again under its id, and ends ACTIVE with its first terms."""
    async with build_engine() as engine, engine.lane():
        borrower = await engine.new_borrower()
        async with engine.loans():
            answer = await engine.borrow(borrower)
            operation_id = answer.json()["operation_id"]
            await until(lambda: leg_is(engine, operation_id, ("borrow", 1, "FINAL_OK")))
            await engine.temporal.get_workflow_handle(operation_id).terminate("the test says so")
        await change_fee(engine, 300)
        await run_again(engine, operation_id)
        async with engine.loans():
            done = await engine.finished(answer)
        assert done["outcome"]["status"] == "ACTIVE"
        assert (
            done["quote"]
            == answer.json()["quote"]
            == {
                "principal": str(PRINCIPAL),
                "fee": str(25 * USD),
                "payout": str(4_975 * USD),
            }
        )
        assert await engine.legs(operation_id) == [("borrow", 1, "FINAL_OK"), ("settle", 1, "FINAL_OK")]
        await engine.assert_sound()


async def test_run_again_after_it_is_done(engine: Engine) -> None:
    """An operation that is done ends at once when it is run again, with the outcome that it had, and moves nothing."""
    borrower = await engine.new_borrower()
    done = await engine.active_loan(borrower)
    legs = await engine.legs(done["operation_id"])
    await run_again(engine, done["operation_id"])
    result = await engine.temporal.get_workflow_handle(done["operation_id"]).result()
    assert result["status"] == "ACTIVE"
    assert await engine.legs(done["operation_id"]) == legs
    await engine.assert_sound()


@pytest.mark.parametrize("leg", ["collect", "repay"])
async def test_payoff_terminated_after_a_leg(build_engine: BuildEngine, leg: str) -> None:
    """A payoff terminated after its collection, or after its repayment, is run again and collects and repays once."""
    async with build_engine() as engine, engine.lane():
        await engine.fund_float()
        borrower = await engine.new_borrower()
        async with engine.loans():
            await engine.active_loan(borrower)
            hold_after(engine, leg)
            answer = await engine.repay(borrower, {"payoff": True})
            operation_id = answer.json()["operation_id"]
            await until(lambda: leg_is(engine, operation_id, (leg, 1, "FINAL_OK")))
            await engine.temporal.get_workflow_handle(operation_id).terminate("the test says so")
        engine.release_submissions()
        await run_again_if_open(engine, operation_id)
        async with engine.loans():
            done = await engine.finished(answer)
        assert done["outcome"]["status"] == "APPLIED"
        assert (await engine.loan(borrower))["status"] == "REPAID"
        moved = [name for name, _, state in await engine.legs(operation_id) if state == "FINAL_OK"]
        assert moved[:2] == ["collect", "repay"]
        assert len(moved) == len(set(moved))
        await engine.assert_sound()


async def test_reset_to_its_start(engine: Engine) -> None:
    """A workflow reset to its first task finishes what the first run began: one borrow, one payout."""
    borrower = await engine.new_borrower()
    done = await engine.active_loan(borrower)
    handle = engine.temporal.get_workflow_handle(done["operation_id"])
    await engine.reset_to_start(done["operation_id"])
    await until(lambda: is_completed(engine, done["operation_id"]))
    assert (await handle.result())["status"] == "ACTIVE"
    assert await engine.legs(done["operation_id"]) == [("borrow", 1, "FINAL_OK"), ("settle", 1, "FINAL_OK")]
    await engine.assert_sound()


async def test_a_submit_that_stalls_while_its_operation_is_abandoned(build_engine: BuildEngine) -> None:
    """A submit that stalls after its simulation, while the operation is abandoned, sends nothing when it wakes."""
    async with build_engine() as engine:
        borrower = await engine.new_borrower()
        async with engine.loans():
            engine.hold_submissions()
            answer = await engine.borrow(borrower)
            operation_id = answer.json()["operation_id"]
            await until(lambda: is_decided(engine, operation_id))
            await engine.temporal.get_workflow_handle(operation_id).terminate("the test says so")
        engine.release_submissions()
        assert await engine.legs(operation_id) == []
        async with LegWaiter(engine.transaction, engine.parts.database.url) as waiter:
            stalled, simulated, may_wake = await stalled_submit(engine, operation_id, waiter)
            await simulated.wait()
            limits = LimitActivities(engine.transaction, engine.chain, engine.settings.pace, 0)
            refusal = StoppedBeforeSending("the test says so").payload()
            await limits.release_limit(Refuse(operation_id=operation_id, refusal=refusal))
            may_wake.set()
            with pytest.raises(InvariantBroken, match="is done"):
                await stalled
        async with engine.lane():
            await engine.fund_float()
            await until(engine.float_is_booked)
        assert await engine.legs(operation_id) == [("borrow", 1, "ABANDONED")]
        assert await engine.debt(borrower) == 0
        assert await engine.partner_usage() == (0, 0, 0, 0)
        await engine.assert_sound()


async def stalled_submit(
    engine: Engine, operation_id: str, waiter: LegWaiter
) -> tuple[asyncio.Task[object], asyncio.Event, asyncio.Event]:
    """A submission of the borrow leg that has passed its simulation, and waits to be let go on."""
    simulated, may_wake = asyncio.Event(), asyncio.Event()

    async def stall(_: CallRequest) -> None:
        simulated.set()
        await may_wake.wait()

    engine.client.after_simulation = stall
    terms = (await engine.operation_row(operation_id)).terms or {}
    call = BorrowCall(
        position_id=terms["position_id"],
        amount=terms["quote"]["principal"],
        loan_duration=terms["loan_duration"],
        number_of_installments=terms["number_of_installments"],
    )
    submit = SubmitTransaction(operation_id=operation_id, leg=LegName.BORROW, call=call)
    activities = TransactionActivities(engine.transaction, engine.chain, waiter)
    return asyncio.create_task(activities.submit_transaction(submit)), simulated, may_wake


def hold_after(engine: Engine, leg: str) -> None:
    """No leg after this one is submitted until ``release_submissions``, so that the run cannot end before it is terminated."""

    async def hold() -> None:
        engine.hold_submissions()
        raise RpcUnavailable("the test holds submissions")

    async def let_a_residue_grow() -> None:
        await days_pass(engine, 1)
        engine.once_before_leg(LegName.RESIDUE, hold)

    if leg == LegName.BORROW:
        engine.once_before_leg(LegName.SETTLE, hold)
    else:
        engine.once_before_leg(LegName.REPAY, hold if leg == LegName.COLLECT else let_a_residue_grow)


async def run_again_if_open(engine: Engine, operation_id: str) -> None:
    if (await engine.operation_row(operation_id)).state != "DONE":
        await run_again(engine, operation_id)


async def change_fee(engine: Engine, fee_bps: int) -> None:
    async with engine.transaction() as session:
        (await session.get_one(Partner, engine.partner.id)).fee_bps = fee_bps
