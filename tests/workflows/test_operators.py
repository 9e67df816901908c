"""The hands of operators: what each update does at each point, what it refuses, and that it is on record (money.md section 2)."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import select
from temporalio.client import WorkflowUpdateFailedError

from models.messages.operators import HoldResolution, OperatorCommand, ResolveHold
from models.statuses import LegName
from models.tables.operators import OperatorAction
from models.tables.transactions import ChainTransaction
from tests.chain.world import USD
from tests.engine import COMMAND, Borrower, BuildEngine, Engine, until
from tests.workflows.moments import held_borrow, leg_is, loan_is, under_review
from tests.workflows.test_audit import before_the_residue
from tests.workflows.test_runs_again import hold_after
from tests.workflows.test_sweep import swept

PART = {"amount": str(1_000 * USD)}


def hold(leg: str, resolution: HoldResolution, **more: str) -> ResolveHold:
    return ResolveHold(operator="ada", reason="the node is well again", leg=leg, resolution=resolution, **more)


async def recorded(engine: Engine) -> Sequence[tuple[str, str, str]]:
    async with engine.transaction() as session:
        rows = await session.scalars(select(OperatorAction).order_by(OperatorAction.at))
        return [(str(row.action), row.subject, row.operator) for row in rows]


async def refusal(engine: Engine, operation_id: str, name: str, command: OperatorCommand = COMMAND) -> str:
    with pytest.raises(WorkflowUpdateFailedError) as failed:
        await engine.operator(operation_id, name, command)
    return str(failed.value.cause)


async def listed(engine: Engine) -> list[str]:
    """What a list of all that needs attention shows, in the Temporal UI as here."""
    return [found.id async for found in engine.temporal.list_workflows("AttentionReason IS NOT NULL")]


async def lists(engine: Engine, *operations: str) -> bool:
    return await listed(engine) == list(operations)


async def stuck_payout(engine: Engine, borrower: Borrower) -> str:
    """A borrow whose payout has passed its deadline, since USDC is paused for all."""
    usdc = engine.contracts.usdc
    engine.once_before(usdc, partial(engine.owner_calls, usdc, "pause()"))
    operation_id: str = (await engine.borrow(borrower)).json()["operation_id"]
    await until(partial(under_review, engine, operation_id))
    return operation_id


async def test_a_retry_is_listed_recorded_and_leaves_the_list(build_engine: BuildEngine) -> None:
    """What waits for an operator is found by its AttentionReason; of two retries one counts, and nothing is listed after it."""
    async with build_engine(settle_deadline=timedelta(seconds=2)) as engine, engine.loans(), engine.lane():
        borrower = await engine.new_borrower()
        operation_id = await stuck_payout(engine, borrower)
        await until(partial(lists, engine, operation_id))
        await engine.owner_calls(engine.contracts.usdc, "unpause()")
        both = [engine.operator(operation_id, "retry_step") for _ in range(2)]
        said = await asyncio.gather(*both, return_exceptions=True)
        assert said.count("settle is tried again") == 1
        done = await engine.operation(operation_id)
        assert done["outcome"]["status"] == "ACTIVE"
        assert ("RETRY_STEP", "settle", "tests") in await recorded(engine)
        assert await engine.events(operation_id) == ["loan.delayed", "loan.borrowed"]
        await until(partial(lists, engine))
        await engine.assert_sound()


async def test_cancel_at_the_settle_deadline_undoes_the_borrow(build_engine: BuildEngine) -> None:
    """Where a payout waits for an operator, cancel means to undo: REVERSED, zero debt, limits free."""
    async with build_engine(settle_deadline=timedelta(seconds=2)) as engine, engine.loans(), engine.lane():
        await engine.fund_float()
        borrower = await engine.new_borrower()
        operation_id = await stuck_payout(engine, borrower)
        await engine.owner_calls(engine.contracts.usdc, "unpause()")
        assert await engine.operator(operation_id, "cancel_if_safe") == "the borrow is undone"
        done = await engine.operation(operation_id)
        assert done["outcome"]["status"] == "REVERSED"
        assert await engine.debt(borrower) == 0
        assert await engine.partner_usage() == (0, 0, 0, 0)
        assert await recorded(engine) == [("CANCEL_IF_SAFE", "settle", "tests")]
        assert await engine.events(operation_id) == ["loan.delayed", "loan.reversed"]
        await engine.assert_sound()


async def test_a_run_that_is_lost_under_review_asks_again(build_engine: BuildEngine) -> None:
    """A run terminated while it waits for an operator is opened again by the sweep, is listed, and asks anew."""
    async with build_engine(settle_deadline=timedelta(seconds=2)) as engine, engine.loans(), engine.lane():
        borrower = await engine.new_borrower()
        operation_id = await stuck_payout(engine, borrower)
        await engine.temporal.get_workflow_handle(operation_id).terminate("the test says so")
        assert (await swept(engine)).reopened == (operation_id,)
        await until(partial(lists, engine, operation_id))
        await until(partial(waits_for, engine, operation_id, "retry"))
        await engine.owner_calls(engine.contracts.usdc, "unpause()")
        await engine.operator(operation_id, "retry_step")
        assert (await engine.operation(operation_id))["outcome"]["status"] == "ACTIVE"
        assert await engine.events(operation_id) == ["loan.delayed", "loan.borrowed"]
        await engine.assert_sound()


async def test_cancel_before_the_borrow_has_a_nonce(build_engine: BuildEngine) -> None:
    """A borrow that is still QUEUED is given up at once, without a lane; a retry is refused, since nothing waits for it."""
    async with build_engine() as engine, engine.loans():
        borrower = await engine.new_borrower()
        answer = await engine.borrow(borrower)
        operation_id = answer.json()["operation_id"]
        await until(partial(leg_is, engine, operation_id, ("borrow", 1, "QUEUED")))
        assert "nothing waits for a retry" in await refusal(engine, operation_id, "retry_step")
        assert "no leg of this operation is known to be HELD" in await refusal(
            engine, operation_id, "resolve_hold", hold("borrow", HoldResolution.RESUME)
        )
        assert await recorded(engine) == []
        said = await engine.operator(operation_id, "cancel_if_safe")
        assert said == "the leg 'borrow' was given up before it was sent"
        done = await engine.finished(answer)
        assert (done["outcome"]["status"], done["problem"]["code"]) == ("FAILED", "stopped_before_sending")
        assert await recorded(engine) == [("CANCEL_IF_SAFE", "borrow", "tests")]
        assert await engine.partner_usage() == (0, 0, 0, 0)
        assert await engine.debt(borrower) == 0
        assert await engine.events(operation_id) == ["loan.failed"]
        await engine.assert_sound()


async def test_cancel_once_the_borrow_is_on_chain(build_engine: BuildEngine) -> None:
    """A borrow that is on chain is not given up any more, and the refusal says what happens instead."""
    async with build_engine() as engine, engine.loans(), engine.lane():
        borrower = await engine.new_borrower()
        hold_after(engine, LegName.BORROW)
        answer = await engine.borrow(borrower)
        operation_id = answer.json()["operation_id"]
        await until(partial(loan_is, engine, borrower, "SETTLING"))
        assert "the borrow is on chain" in await refusal(engine, operation_id, "cancel_if_safe")
        assert await recorded(engine) == []
        engine.release_submissions()
        assert (await engine.finished(answer))["outcome"]["status"] == "ACTIVE"
        await engine.assert_sound()


async def test_cancel_before_the_collection_has_a_nonce(build_engine: BuildEngine) -> None:
    """A pull that is still QUEUED is given up: the repayment FAILED, the loan is free, debt and limits are as they were."""
    async with build_engine() as engine, engine.loans():
        async with engine.lane():
            borrower = await engine.new_borrower()
            await engine.active_loan(borrower)
        answer = await engine.repay(borrower, PART)
        operation_id = answer.json()["operation_id"]
        await until(partial(leg_is, engine, operation_id, ("collect", 1, "QUEUED")))
        await engine.operator(operation_id, "cancel_if_safe")
        done = await engine.finished(answer)
        assert (done["outcome"]["status"], done["problem"]["code"]) == ("FAILED", "stopped_before_sending")
        assert (await engine.partner_usage())[0] == 5_000 * USD
        assert await engine.events(operation_id) == ["repayment.failed"]
        async with engine.lane():
            assert (await engine.finished(await engine.repay(borrower, PART)))["outcome"]["status"] == "APPLIED"
        await engine.assert_sound()


async def test_cancel_of_a_transfer_that_the_partner_made(engine: Engine) -> None:
    """A repayment that waits for its partner's transfer is not given up, since that USDC is on its way to the engine."""
    borrower = await engine.new_borrower()
    await engine.active_loan(borrower)
    answer = await engine.repay(borrower, {**PART, "transfer_tx_hash": "0x" + "ab" * 32})
    said = await refusal(engine, answer.json()["operation_id"], "cancel_if_safe")
    assert "the partner has made the transfer itself" in said
    assert (await engine.finished(answer))["outcome"]["status"] == "REJECTED"
    await engine.assert_sound()


async def test_a_refused_resolution_is_on_record_and_changes_nothing(build_engine: BuildEngine) -> None:
    """What the chain does not bear out is refused with words that say why; the leg stays HELD until a resolution that it does."""
    async with build_engine() as engine, engine.loans():
        async with held_borrow(engine) as (_, answer):
            operation_id = answer.json()["operation_id"]
            await until(partial(under_review, engine, operation_id))
            said = await refusal(engine, operation_id, "resolve_hold", hold("settle", HoldResolution.ACCEPT))
            assert "the leg that is HELD is 'borrow', generation 1" in said
            said = await refusal(engine, operation_id, "resolve_hold", hold("borrow", HoldResolution.ACCEPT))
            assert "No attempt of" in said
        assert await recorded(engine) == [("RESOLVE_HOLD", "borrow", "ada")]
        said = await engine.operator(operation_id, "resolve_hold", hold("borrow", HoldResolution.ACCEPT))
        assert said == "borrow is FINAL_OK"
        async with engine.lane():
            assert (await engine.finished(answer))["outcome"]["status"] == "ACTIVE"
        await engine.assert_sound()


@dataclass(frozen=True)
class Unreadable:
    """A leg of which a receipt will not show what its rows are written from: the position of the vault's event is another."""

    engine: Engine
    operation_id: str
    leg: str

    async def expects(self, old: int, new: int) -> None:
        query = select(ChainTransaction).where(
            ChainTransaction.operation_id == self.operation_id, ChainTransaction.leg == self.leg
        )
        async with self.engine.transaction() as session:
            row = (await session.scalars(query)).one()
            written = json.dumps(row.expected_logs)
            assert f"{old:064x}" in written
            row.expected_logs = json.loads(written.replace(f"{old:064x}", f"{new:064x}"))


@pytest.mark.parametrize("leg", ["borrow", "repay"])
async def test_a_receipt_that_cannot_be_recorded_is_not_accepted(build_engine: BuildEngine, leg: str) -> None:
    """Accepting is refused where no record could be made of the receipt, and no step fails; once it can be read, it is made."""
    async with build_engine() as engine, engine.loans():
        borrower = await engine.new_borrower()
        if leg == "borrow":
            answer = await engine.borrow(borrower)
        else:
            async with engine.lane():
                await engine.active_loan(borrower)
                hold_after(engine, LegName.COLLECT)
                answer = await engine.repay(borrower, PART)
                await until(partial(leg_is, engine, answer.json()["operation_id"], ("collect", 1, "FINAL_OK")))
            engine.release_submissions()
        operation_id, position = answer.json()["operation_id"], borrower.line.position_id
        await until(partial(leg_is, engine, operation_id, (leg, 1, "QUEUED")))
        unreadable = Unreadable(engine, operation_id, leg)
        await unreadable.expects(position, position + 1)
        async with engine.lane():
            await until(partial(leg_is, engine, operation_id, (leg, 1, "HELD")))
            await until(partial(under_review, engine, operation_id))
            said = await refusal(engine, operation_id, "resolve_hold", hold(leg, HoldResolution.ACCEPT))
            assert f"the rows of {operation_id}/{leg}/1 cannot be written from the receipt" in said
            assert await leg_is(engine, operation_id, (leg, 1, "HELD"))
            await unreadable.expects(position + 1, position)
            said = await engine.operator(operation_id, "resolve_hold", hold(leg, HoldResolution.ACCEPT))
            assert said == f"{leg} is FINAL_OK"
            assert (await engine.finished(answer))["outcome"]["status"] in ("ACTIVE", "APPLIED")
        await engine.assert_sound()


async def test_a_retry_ends_the_pause_before_a_residue_is_tried_again(build_engine: BuildEngine) -> None:
    """A residue that the float cannot pay is tried again after a while; an operator who has filled the float need not wait."""
    async with build_engine(leg_patience=timedelta(hours=1)) as engine, engine.loans(), engine.lane():
        borrower = await engine.new_borrower()
        await engine.active_loan(borrower)
        before_the_residue(
            engine, partial(engine.owner_calls, engine.contracts.pool, "setRepaymentsPaused(bool)", True)
        )
        answer = await engine.repay(borrower, {"payoff": True})
        operation_id = answer.json()["operation_id"]
        await until(partial(waits_for, engine, operation_id, "retry"))
        await engine.owner_calls(engine.contracts.pool, "setRepaymentsPaused(bool)", False)
        await engine.fund_float()
        await until(engine.float_is_booked)
        assert await engine.operator(operation_id, "retry_step") == "residue-1 is tried again"
        assert (await engine.finished(answer))["outcome"]["status"] == "APPLIED"
        assert await engine.debt(borrower) == 0
        await engine.assert_sound()


async def waits_for(engine: Engine, operation_id: str, command: str) -> bool:
    waits = await engine.temporal.get_workflow_handle(operation_id).query("waits_for")
    return command in waits["commands"]
