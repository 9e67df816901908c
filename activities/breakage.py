"""A step that meets what must never be is retried for ever, since only a person can mend it; so a person is told."""

from typing import Any

import structlog
from sqlalchemy.exc import SQLAlchemyError
from temporalio import activity
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from models.errors import InvariantBroken
from models.statuses import IncidentKind
from models.tables.incident_book import open_incident
from models.tables.session import Transaction


class BreakageInterceptor(Interceptor):
    """Registered on every worker: an InvariantBroken opens an incident about the step, and goes on its way."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002 - Temporal's signature
        return _BreakagesAreTold(next, self._transaction)


class _BreakagesAreTold(ActivityInboundInterceptor):
    def __init__(self, following: ActivityInboundInterceptor, transaction: Transaction) -> None:
        super().__init__(following)
        self._transaction = transaction

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002 - Temporal's signature
        try:
            return await super().execute_activity(input)
        except InvariantBroken as broken:
            await self._tell(str(broken))
            raise

    async def _tell(self, what: str) -> None:
        step = activity.info()
        subject = f"step {step.activity_type} of {step.workflow_id}"
        try:
            async with self._transaction() as session:
                await open_incident(session, IncidentKind.INVARIANT_BROKEN, subject, what)
        except SQLAlchemyError:
            # The step is tried again, and tells it again.
            structlog.get_logger().exception("incident_not_written", subject=subject, detail=what)
