"""What lives for a loan's months is a schedule over rows, and no workflow that waits: installments that are due or missed."""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from activities.installments import InstallmentActivities
    from models.messages.webhooks import Serviced
    from workflows.options import HEARTBEAT_TIMEOUT, WAITING_QUEUE

LIMIT = timedelta(minutes=10)
PAGES = 100
"""At most so many in one run, so that its history stays short; the schedule's next run goes on with the rows."""
ONCE = RetryPolicy(maximum_attempts=1)
"""The schedule's next run is the retry."""


@workflow.defn
class ServiceLoansWorkflow:
    @workflow.run
    async def run(self) -> Serviced:
        serviced = await self._service()
        for _ in range(1, PAGES):
            if not serviced.more:
                break
            serviced = await self._service()
        return serviced

    async def _service(self) -> Serviced:
        return await workflow.execute_activity_method(
            InstallmentActivities.service_loans,
            task_queue=WAITING_QUEUE,
            start_to_close_timeout=LIMIT,
            heartbeat_timeout=HEARTBEAT_TIMEOUT,
            retry_policy=ONCE,
            summary="look at installments",
        )
