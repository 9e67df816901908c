"""From event rows to deliveries, and from deliveries to workflows: the rows say what is to be done, and each step may be repeated.

Any number of dispatchers may run. What two of them do at the same time is done once: rows are skipped while another holds
them, and a workflow is started under an id that is taken once. A dispatcher that dies leaves rows that another comes upon.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Final, Self

import structlog
from sqlalchemy import URL, text, update
from sqlalchemy.exc import SQLAlchemyError
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from activities.webhooks.deliveries import LOST_AFTER
from chain.notifications import Listener
from models.messages.webhooks import Delivery
from models.statuses import DeliveryState
from models.tables.session import Transaction
from models.tables.webhooks import WebhookDelivery
from models.traces import under

CHANNEL: Final = "webhooks"
BATCH: Final = 500
"""Events, or rows to look at, in one transaction."""
OF_EACH: Final = 50
"""Deliveries of one endpoint that are started before those of the others have their turn."""
UNTRIED: Final = 100
"""Workflows of one endpoint that may wait for their first try. What is beyond waits as a row, which costs nothing."""
CLAIM: Final = timedelta(seconds=30)
"""How long rows belong to the dispatcher that took them; should it die, another takes them after that."""
AT_ONCE: Final = 20
SOON, IDLE = timedelta(milliseconds=50), timedelta(seconds=2)
"""Between two looks when nothing is told: soon after there was work, then ever later, for what is due by the clock."""
AWAY: Final = timedelta(seconds=1)
RPC_TIMEOUT: Final = timedelta(seconds=5)

_FAN_OUT = text("""
WITH batch AS (
    SELECT id, partner_id, type FROM events
    WHERE fanned_out_at IS NULL AND partner_id IS NOT NULL
    ORDER BY sequence LIMIT :batch FOR UPDATE SKIP LOCKED
), wanted AS (
    SELECT batch.id AS event_id, endpoint.id AS endpoint_id
    FROM batch JOIN webhook_endpoints endpoint ON endpoint.partner_id = batch.partner_id
    WHERE endpoint.state = 'ENABLED'
        AND (cardinality(endpoint.event_types) = 0 OR batch.type = ANY (endpoint.event_types))
    FOR SHARE OF endpoint
), added AS (
    INSERT INTO webhook_deliveries (event_id, endpoint_id) SELECT event_id, endpoint_id FROM wanted
    ON CONFLICT DO NOTHING
), done AS (
    UPDATE events SET fanned_out_at = now() FROM batch WHERE events.id = batch.id
)
SELECT count(*) FROM batch
""")
"""An endpoint that is being disabled meanwhile is waited for: its deliveries are stopped, or none are made."""

_CLAIM = text("""
WITH due AS (
    SELECT delivery.event_id, delivery.endpoint_id
    FROM webhook_endpoints endpoint
    CROSS JOIN LATERAL (
        SELECT count(*) AS number FROM (
            SELECT 1 FROM webhook_deliveries
            WHERE endpoint_id = endpoint.id AND state = 'RUNNING' AND attempts = 0 LIMIT :untried
        ) at_most
    ) untried
    CROSS JOIN LATERAL (
        SELECT event_id, endpoint_id FROM webhook_deliveries
        WHERE endpoint_id = endpoint.id AND state = 'PENDING' AND look_at <= now()
        ORDER BY look_at LIMIT least(:of_each, :untried - untried.number) FOR UPDATE SKIP LOCKED
    ) delivery
    WHERE endpoint.state <> 'DELETED'
)
UPDATE webhook_deliveries delivery SET look_at = now() + make_interval(secs => :claim)
FROM due JOIN events ON events.id = due.event_id LEFT JOIN operations ON operations.id = events.operation_id
WHERE delivery.event_id = due.event_id AND delivery.endpoint_id = due.endpoint_id
RETURNING delivery.event_id, delivery.endpoint_id, delivery.round, events.type = 'ping' AS once, operations.traceparent
""")

_NOW_RUNS = text("""
WITH started AS (
    SELECT delivery.event_id, delivery.endpoint_id
    FROM unnest(:events ::text[], :endpoints ::text[], :rounds ::bigint[]) AS asked (event_id, endpoint_id, round)
    JOIN webhook_deliveries delivery USING (event_id, endpoint_id, round)
    WHERE delivery.state = 'PENDING' FOR UPDATE OF delivery SKIP LOCKED
)
UPDATE webhook_deliveries delivery SET state = 'RUNNING', look_at = :later
FROM started WHERE delivery.event_id = started.event_id AND delivery.endpoint_id = started.endpoint_id
""")
"""A row that its own workflow is just writing, or that is being stopped, says more than this could."""

_LOOK = text("""
WITH due AS (
    SELECT event_id, endpoint_id FROM webhook_deliveries
    WHERE look_at <= now() AND state <> 'PENDING'
    ORDER BY look_at LIMIT :batch FOR UPDATE SKIP LOCKED
)
UPDATE webhook_deliveries delivery SET look_at = now() + make_interval(secs => :claim)
FROM due JOIN events ON events.id = due.event_id
WHERE delivery.event_id = due.event_id AND delivery.endpoint_id = due.endpoint_id
RETURNING delivery.event_id, delivery.endpoint_id, delivery.round, events.type = 'ping' AS once, delivery.state
""")


@dataclass(frozen=True, slots=True)
class _Due:
    """``traceparent`` is that of the request whose operation the event tells of."""

    delivery: Delivery
    traceparent: str | None


@dataclass(frozen=True, slots=True)
class _Found:
    delivery: Delivery
    state: DeliveryState


class Dispatcher:
    """Runs until its block ends; its task ends before that only by a bug. ``workflow`` is started on ``task_queue`` for each delivery."""

    def __init__(self, transaction: Transaction, url: URL, temporal: Client, workflow: str, task_queue: str) -> None:
        self._transaction = transaction
        self._temporal = temporal
        self._workflow = workflow
        self._task_queue = task_queue
        self._wake = asyncio.Event()
        self._listener = Listener(url, CHANNEL, heard=lambda _: self._wake.set(), connected=self._wake.set)
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._listener.__aenter__()
        self._task = asyncio.create_task(self._run(), name="webhook dispatcher")
        return self

    @property
    def running(self) -> asyncio.Task[None]:
        """While its block lasts."""
        if self._task is None:
            raise RuntimeError("the dispatcher has not begun")
        return self._task

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        await self._listener.__aexit__(kind, error, trace)

    async def _run(self) -> None:
        pause = SOON
        while True:
            self._wake.clear()
            try:
                worked = await self.dispatch()
            except (SQLAlchemyError, OSError, RPCError) as away:
                structlog.get_logger().warning("not dispatched", error=repr(away))
                await asyncio.sleep(AWAY.total_seconds())
                continue
            pause = SOON if worked else min(2 * pause, IDLE)
            if not worked:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), pause.total_seconds())

    async def dispatch(self) -> int:
        """One look at everything; how many rows were worked on. Raises SQLAlchemyError where the database is away."""
        return await self._fan_out() + await self._start_pending() + await self._look_at_others()

    async def _fan_out(self) -> int:
        async with self._transaction() as session:
            return int(await session.scalar(_FAN_OUT, {"batch": BATCH}) or 0)

    async def _start_pending(self) -> int:
        limits = {"untried": UNTRIED, "of_each": OF_EACH, "claim": CLAIM.total_seconds()}
        async with self._transaction() as session:
            rows = (await session.execute(_CLAIM, limits)).all()
        due = [_Due(_delivery(row), row.traceparent) for row in rows]
        started = await _each(due, self._start)
        async with self._transaction() as session:
            await session.execute(_NOW_RUNS, _columns([each.delivery for each in started]))
        return len(started)

    async def _start(self, due: _Due) -> None:
        """Once, by its id, however often this is repeated. The round before is ended, where its workflow still waits."""
        delivery = due.delivery
        if (before := delivery.round_before) is not None:
            await self._cancel(before)
        with under(due.traceparent), suppress(WorkflowAlreadyStartedError):
            await self._temporal.start_workflow(
                self._workflow,
                delivery,
                id=delivery.workflow_id,
                task_queue=self._task_queue,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
                rpc_timeout=RPC_TIMEOUT,
            )

    async def _look_at_others(self) -> int:
        """Ends workflows of what was stopped, and begins anew what has lost its workflow."""
        async with self._transaction() as session:
            rows = (await session.execute(_LOOK, {"batch": BATCH, "claim": CLAIM.total_seconds()})).all()
        found = [_Found(_delivery(row), DeliveryState(row.state)) for row in rows]
        return len(await _each(found, self._look))

    async def _look(self, found: _Found) -> None:
        if found.state is DeliveryState.RUNNING:
            runs = await self._runs(found.delivery)
            await self._after(found, look_at=_later()) if runs else await self._lost(found)
        else:
            await self._cancel(found.delivery)
            await self._after(found, look_at=None)

    async def _lost(self, found: _Found) -> None:
        """A person has ended its workflow, or Temporal has lost it: another round does all of it again."""
        structlog.get_logger().warning("delivery lost its workflow", workflow_id=found.delivery.workflow_id)
        values = {"state": DeliveryState.PENDING, "round": found.delivery.round + 1, "attempts": 0}
        await self._after(found, look_at=datetime.now(UTC), **values)

    async def _after(self, found: _Found, **values: object) -> None:
        statement = _of(found.delivery).where(WebhookDelivery.state == found.state).values(**values)
        async with self._transaction() as session:
            await session.execute(statement)

    async def _runs(self, delivery: Delivery) -> bool:
        try:
            described = await self._temporal.get_workflow_handle(delivery.workflow_id).describe(rpc_timeout=RPC_TIMEOUT)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return False
            raise
        return described.status is WorkflowExecutionStatus.RUNNING

    async def _cancel(self, delivery: Delivery) -> None:
        try:
            await self._temporal.get_workflow_handle(delivery.workflow_id).cancel(rpc_timeout=RPC_TIMEOUT)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:  # it has ended
                raise


def _delivery(row: Any) -> Delivery:
    return Delivery(event_id=row.event_id, endpoint_id=row.endpoint_id, round=row.round, once=row.once)


def _later() -> datetime:
    return datetime.now(UTC) + LOST_AFTER


def _of(delivery: Delivery) -> Any:
    return (
        update(WebhookDelivery)
        .where(
            WebhookDelivery.event_id == delivery.event_id,
            WebhookDelivery.endpoint_id == delivery.endpoint_id,
            WebhookDelivery.round == delivery.round,
        )
        .execution_options(synchronize_session=False)
    )


def _columns(deliveries: Sequence[Delivery]) -> dict[str, object]:
    return {
        "events": [delivery.event_id for delivery in deliveries],
        "endpoints": [delivery.endpoint_id for delivery in deliveries],
        "rounds": [delivery.round for delivery in deliveries],
        "later": _later(),
    }


async def _each(items: Sequence[Any], act: Callable[[Any], Coroutine[Any, Any, None]]) -> list[Any]:
    """Acts on all of them, some at once; returns those for which Temporal has answered. The others are come upon again."""
    free = asyncio.Semaphore(AT_ONCE)
    done: list[Any] = []

    async def one(item: Any) -> None:
        async with free:
            try:
                await act(item)
            except RPCError as away:
                structlog.get_logger().warning("not dispatched", error=repr(away))
            else:
                done.append(item)

    await asyncio.gather(*map(one, items))
    return done
