"""Debt that changes outside the engine is followed by the clock (money.md section 6)."""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from activities.outside import OutsideActivities
    from models.messages.outside import Followed
    from workflows.options import HEARTBEAT_TIMEOUT, WAITING_QUEUE

LIMIT = timedelta(minutes=10)
CHUNKS = 100
"""At most so many in one run, so that its history stays short; the schedule's next run goes on from the cursor."""
ONCE = RetryPolicy(maximum_attempts=1)
"""The schedule's next run is the retry."""


@workflow.defn
class SyncPositionsWorkflow:
    @workflow.run
    async def run(self) -> Followed:
        followed = await self._follow()
        for _ in range(1, CHUNKS):
            if not followed.more:
                break
            followed = await self._follow()
        return followed

    async def _follow(self) -> Followed:
        return await workflow.execute_activity_method(
            OutsideActivities.follow_positions,
            task_queue=WAITING_QUEUE,
            start_to_close_timeout=LIMIT,
            heartbeat_timeout=HEARTBEAT_TIMEOUT,
            retry_policy=ONCE,
            summary="follow the vault's events",
        )
