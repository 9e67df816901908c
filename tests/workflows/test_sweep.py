"""The sweep: nothing that is open stays without a workflow, and nothing that runs is given up (money.md section 1)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from sqlalchemy import update
from temporalio import workflow
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities.sweeps import SweepActivities
from models.messages.sweep import SweepReport
from models.statuses import LegName
from models.tables.operations import Operation
from schedules import Recurring, keep_schedules
from tests.engine import BuildEngine, Engine, until
from tests.factories import new_system_operation
from tests.workflows.moments import leg_is
from tests.workflows.test_runs_again import change_fee, hold_after
from wiring import STORIES
from workflows.options import LOANS_QUEUE
from workflows.sweep import SweepWorkflow

LONG = timedelta(hours=1)
EMPTY_QUEUE = "ends-at-once"


@workflow.defn
class EndsAtOnce:
    """A run that ends while the operation's rows are open, as a bug or a stranger's hand could make one."""

    @workflow.run
    async def run(self, how: str) -> None:
        if how == "failed":
            raise ApplicationError("the test says so")


async def aged(engine: Engine) -> None:
    async with engine.transaction() as session:
        await session.execute(update(Operation).values(received_at=Operation.received_at - LONG))


async def swept(engine: Engine) -> SweepReport:
    """One sweep, of operations that have all grown old."""
    await aged(engine)
    sweeps = SweepActivities(engine.transaction, engine.temporal, STORIES, LOANS_QUEUE, engine.settings.give_up_after)
    report = await ActivityEnvironment().run(sweeps.sweep)
    assert isinstance(report, SweepReport)
    return report


@asynccontextmanager
async def lost_after_the_borrow(build_engine: BuildEngine) -> AsyncIterator[tuple[Engine, str]]:
    """An accepted borrow whose run was terminated with USDC in flight, and whose partner has other terms since."""
    async with build_engine() as engine, engine.lane():
        borrower = await engine.new_borrower()
        async with engine.loans():
            hold_after(engine, LegName.BORROW)
            operation_id = (await engine.borrow(borrower)).json()["operation_id"]
            await until(lambda: leg_is(engine, operation_id, ("borrow", 1, "FINAL_OK")))
            await engine.temporal.get_workflow_handle(operation_id).terminate("the test says so")
        engine.release_submissions()
        await change_fee(engine, 300)
        yield engine, operation_id


@pytest.mark.parametrize("how", ["terminated", "completed", "failed"])
async def test_an_open_operation_is_opened_again(build_engine: BuildEngine, how: str) -> None:
    """However the last run ended, an open operation is run again and ends with the terms that its partner was given."""
    async with lost_after_the_borrow(build_engine) as (engine, operation_id):
        if how != "terminated":
            await end_a_run(engine, operation_id, how)
        assert (await swept(engine)).reopened == (operation_id,)
        assert (await swept(engine)).reopened == ()
        async with engine.loans():
            done = await engine.operation(operation_id)
        assert done["outcome"]["status"] == "ACTIVE"
        assert done["quote"]["fee"] == "25000000"
        assert await engine.legs(operation_id) == [("borrow", 1, "FINAL_OK"), ("settle", 1, "FINAL_OK")]
        await engine.assert_sound()


async def end_a_run(engine: Engine, operation_id: str, how: str) -> None:
    """A run under the operation's own id that does nothing of its story."""
    worker = Worker(
        engine.temporal, task_queue=EMPTY_QUEUE, workflows=[EndsAtOnce], workflow_runner=UnsandboxedWorkflowRunner()
    )
    async with worker:
        handle = await engine.temporal.start_workflow(
            EndsAtOnce.run,
            how,
            id=operation_id,
            task_queue=EMPTY_QUEUE,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        )
        if how == "failed":
            with pytest.raises(WorkflowFailureError):
                await handle.result()
        else:
            await handle.result()


async def test_a_request_is_given_up_only_without_a_workflow(build_engine: BuildEngine) -> None:
    """A request that never started is NOT_STARTED once its workflow is gone too; its partner's repeat starts it."""
    async with build_engine(head_wait=timedelta(milliseconds=500)) as engine:
        borrower = await engine.new_borrower()
        operation_id = (await engine.borrow(borrower)).json()["operation_id"]
        assert (await swept(engine)).given_up == ()
        await engine.temporal.get_workflow_handle(operation_id).terminate("the test says so")
        assert (await swept(engine)).given_up == (operation_id,)
        assert (await engine.operation_row(operation_id)).state == "NOT_STARTED"
        async with engine.lane(), engine.loans():
            done = await engine.finished(await engine.borrow(borrower))
        assert done["operation_id"] == operation_id
        assert done["outcome"]["status"] == "ACTIVE"
        await engine.assert_sound()


async def test_a_repeat_wins_against_the_sweep(build_engine: BuildEngine) -> None:
    """A request that its partner repeats while the sweep looks at it is not given up."""
    async with build_engine(head_wait=timedelta(milliseconds=500)) as engine:
        operation_id = (await engine.borrow(await engine.new_borrower())).json()["operation_id"]
        sweeps = SweepActivities(engine.transaction, engine.temporal, STORIES, LOANS_QUEUE, timedelta(minutes=10))
        assert not await sweeps._give_up(operation_id)
        assert (await engine.operation_row(operation_id)).state == "RECEIVED"


async def test_the_lanes_own_operations_are_not_swept(build_engine: BuildEngine) -> None:
    """A system operation has no workflow, and gets none."""
    async with build_engine() as engine:
        async with engine.transaction() as session:
            await new_system_operation(session)
        assert await swept(engine) == SweepReport()


async def test_the_schedule_is_kept(engine: Engine) -> None:
    """Workers that start one after the other leave one schedule with the newest interval, running or paused as it was."""
    await keep_schedules(engine.temporal, [Recurring("sweep", SweepWorkflow, timedelta(hours=1))])
    handle = engine.temporal.get_schedule_handle("sweep")
    await handle.pause()
    await keep_schedules(engine.temporal, [Recurring("sweep", SweepWorkflow, timedelta(hours=2))])
    kept = (await handle.describe()).schedule
    assert kept.state.paused
    assert [interval.every for interval in kept.spec.intervals] == [timedelta(hours=2)]
    await handle.unpause()
    await handle.trigger()
    await until(lambda: has_swept(engine))


async def has_swept(engine: Engine) -> bool:
    runs = engine.temporal.list_workflows("WorkflowType = 'SweepWorkflow'")
    return [run.status async for run in runs] == [WorkflowExecutionStatus.COMPLETED]
