"""Finding operations whose workflow is gone, and requests whose workflow never came (money.md section 1)."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy import func, select, tuple_, update
from temporalio import activity
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.service import RPCError, RPCStatusCode

from activities.heartbeats import with_heartbeats
from models.messages.common import OperationInput
from models.messages.sweep import SweepReport
from models.statuses import OperationKind, OperationState
from models.tables.operations import Operation
from models.tables.session import Transaction
from models.traces import under

GRACE = timedelta(seconds=10)
"""A younger operation is left alone: its workflow may be about to start."""
PAGE = 200
AT_ONCE = 20
NAMED = 100
RPC_TIMEOUT = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Found:
    id: str
    kind: OperationKind
    state: OperationState
    received_at: datetime
    traceparent: str | None


@dataclass
class _Tally:
    open: int = 0
    reopened: list[str] = field(default_factory=list)
    given_up: list[str] = field(default_factory=list)
    unknown: int = 0

    def report(self) -> SweepReport:
        return SweepReport(
            open=self.open,
            reopened=tuple(self.reopened[:NAMED]),
            given_up=tuple(self.given_up[:NAMED]),
            unknown=self.unknown,
        )


class SweepActivities:
    """``workflows`` names each kind's workflow, since activities know none of them; they are started on ``task_queue``."""

    def __init__(
        self,
        transaction: Transaction,
        temporal: Client,
        workflows: Mapping[OperationKind, str],
        task_queue: str,
        give_up_after: timedelta,
    ) -> None:
        self._transaction = transaction
        self._temporal = temporal
        self._workflows = workflows
        self._task_queue = task_queue
        self._give_up_after = give_up_after

    @activity.defn
    async def sweep(self) -> SweepReport:
        """Starts each OPEN operation without a running workflow again under its id, and gives up what never started.

        The operations that the lane drives itself have no workflow, and are none of the sweep's.
        """
        report = await with_heartbeats(self._sweep())
        structlog.get_logger().info("swept", **report.model_dump())
        return report

    async def _sweep(self) -> SweepReport:
        tally = _Tally()
        async for page in self._pages(OperationState.OPEN, GRACE):
            tally.open += len(page)
            await self._each(page, tally)
        async for page in self._pages(OperationState.RECEIVED, self._give_up_after):
            await self._each(page, tally)
        return tally.report()

    async def _pages(self, state: OperationState, older_than: timedelta) -> AsyncIterator[Sequence[Found]]:
        columns = select(Operation.id, Operation.kind, Operation.state, Operation.received_at, Operation.traceparent)
        place = tuple_(Operation.received_at, Operation.id)
        old = Operation.received_at < datetime.now(UTC) - older_than
        query = columns.where(Operation.state == state, Operation.kind.in_(self._workflows), old)
        after: Found | None = None
        while True:
            asked = query if after is None else query.where(place > (after.received_at, after.id))
            async with self._transaction() as session:
                rows = await session.execute(asked.order_by(Operation.received_at, Operation.id).limit(PAGE))
                page = [Found(*row) for row in rows]
            if not page:
                return
            yield page
            after = page[-1]

    async def _each(self, page: Sequence[Found], tally: _Tally) -> None:
        free = asyncio.Semaphore(AT_ONCE)

        async def look(found: Found) -> None:
            async with free:
                await self._look(found, tally)

        await asyncio.gather(*map(look, page))

    async def _look(self, found: Found, tally: _Tally) -> None:
        try:
            if await self._runs(found.id):
                return
            if found.state is OperationState.OPEN:
                await self._reopen(found)
                tally.reopened.append(found.id)
            elif await self._give_up(found.id):
                tally.given_up.append(found.id)
        except RPCError as away:
            structlog.get_logger().warning("not swept", operation_id=found.id, error=repr(away))
            tally.unknown += 1

    async def _runs(self, operation_id: str) -> bool:
        """Raises RPCError where Temporal does not say. A workflow that it does not know is gone, or never was."""
        try:
            description = await self._temporal.get_workflow_handle(operation_id).describe(rpc_timeout=RPC_TIMEOUT)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return False
            raise
        return description.status is WorkflowExecutionStatus.RUNNING

    async def _reopen(self, found: Found) -> None:
        """However its last run ended, the rows say that the operation has not. A run that came meanwhile is kept."""
        with under(found.traceparent):
            await self._temporal.start_workflow(
                self._workflows[found.kind],
                OperationInput(operation_id=found.id, traceparent=found.traceparent),
                id=found.id,
                task_queue=self._task_queue,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                rpc_timeout=RPC_TIMEOUT,
            )

    async def _give_up(self, operation_id: str) -> bool:
        """A compare-and-set: a partner's repeat that came meanwhile has made the request young again, and wins."""
        statement = (
            update(Operation)
            .where(
                Operation.id == operation_id,
                Operation.state == OperationState.RECEIVED,
                Operation.decision.is_(None),
                Operation.received_at < func.now() - self._give_up_after,
            )
            .values(state=OperationState.NOT_STARTED)
            .returning(Operation.id)
            .execution_options(synchronize_session=False)
        )
        async with self._transaction() as session:
            return await session.scalar(statement) is not None
