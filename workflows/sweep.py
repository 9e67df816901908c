"""The sweep: no open operation stays without a workflow, and what never started is given up (money.md section 1)."""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from activities.sweeps import SweepActivities
    from models.messages.sweep import SweepReport
    from workflows.options import HEARTBEAT_TIMEOUT, WAITING_QUEUE

LIMIT = timedelta(minutes=30)
ONCE = RetryPolicy(maximum_attempts=1)
"""The schedule's next run is the retry."""


@workflow.defn
class SweepWorkflow:
    @workflow.run
    async def run(self) -> SweepReport:
        return await workflow.execute_activity_method(
            SweepActivities.sweep,
            task_queue=WAITING_QUEUE,
            start_to_close_timeout=LIMIT,
            heartbeat_timeout=HEARTBEAT_TIMEOUT,
            retry_policy=ONCE,
            summary="open again what has no workflow",
        )
