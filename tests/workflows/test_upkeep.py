"""The upkeep as the engine runs it: kept by its schedule, wired with every part, and finished."""

from sqlalchemy import text
from temporalio.client import WorkflowExecutionStatus

from models.messages.upkeep import UpkeepReport
from schedules import keep_schedules, recurring
from tests.engine import Engine, until
from wiring import WORKFLOWS, upkeep_parts
from workflows.options import LOANS_QUEUE
from workflows.upkeep import UpkeepWorkflow


async def test_every_recurring_workflow_is_served(engine: Engine) -> None:
    """What the schedules start, the workers know; and each has an id of its own."""
    rows = recurring(engine.settings)
    assert {row.workflow for row in rows} <= set(WORKFLOWS)
    assert len({row.id for row in rows}) == len(rows)


async def test_the_schedule_runs_every_part(engine: Engine) -> None:
    """A run started by the schedule ends well, and the months to come are there."""
    (row,) = [row for row in recurring(engine.settings) if row.workflow is UpkeepWorkflow]
    assert row.every == engine.settings.upkeep_every
    await keep_schedules(engine.temporal, [row])
    await engine.temporal.get_schedule_handle(row.id).trigger()
    await until(lambda: has_run(engine))
    async with engine.transaction() as session:
        months = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'request_log'::regclass AND inhrelid::regclass::text ~ '_[0-9]{4}_'"
        assert await session.scalar(text(months)) >= 4


async def test_each_part_tells_what_it_did(engine: Engine) -> None:
    """The workflow's result has a sentence of each part, in order, none failed."""
    report = await engine.temporal.execute_workflow(UpkeepWorkflow.run, id="upkeep", task_queue=LOANS_QUEUE)
    assert isinstance(report, UpkeepReport)
    names = [part.name for part in upkeep_parts(engine.transaction, engine.settings)]
    assert [part.part for part in report.parts] == names
    assert not any(part.failed for part in report.parts)


async def has_run(engine: Engine) -> bool:
    runs = engine.temporal.list_workflows("WorkflowType = 'UpkeepWorkflow'")
    return [run.status async for run in runs] == [WorkflowExecutionStatus.COMPLETED]
