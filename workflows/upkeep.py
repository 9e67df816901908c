"""The upkeep of the tables by the clock: months of the request log are made and dropped, and what is due is done."""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from activities.upkeep import UpkeepActivities
    from models.messages.upkeep import UpkeepReport
    from workflows.options import HEARTBEAT_TIMEOUT, WAITING_QUEUE

LIMIT = timedelta(minutes=30)
ONCE = RetryPolicy(maximum_attempts=1)
"""Each part tries again by itself where that helps; the schedule's next run is the retry of the rest."""


@workflow.defn
class UpkeepWorkflow:
    @workflow.run
    async def run(self) -> UpkeepReport:
        return await workflow.execute_activity_method(
            UpkeepActivities.upkeep,
            task_queue=WAITING_QUEUE,
            start_to_close_timeout=LIMIT,
            heartbeat_timeout=HEARTBEAT_TIMEOUT,
            retry_policy=ONCE,
            summary="upkeep of the tables",
        )
