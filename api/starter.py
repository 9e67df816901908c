"""Starting an operation's workflow and waiting for its decision.

What happened is a value, since "no answer yet" and "nothing was started" are different things: the first is 202, the
second 503. Temporal is never the authority on a decision; the operation's row is.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol, TypeVar

import structlog
from temporalio.client import Client, Plugin, WithStartWorkflowOperation
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.exceptions import TemporalError
from temporalio.runtime import Runtime
from temporalio.workflow import UpdateMethodMultiParam

from models.messages.borrow import BorrowDecision
from models.messages.common import OperationInput, Outcome
from models.messages.repay import RepayDecision
from models.statuses import OperationKind
from workflows.borrow import BorrowWorkflow
from workflows.options import LOANS_QUEUE
from workflows.repay import RepayWorkflow

UPDATE_ID = "decision"
"""Constant: every request of an operation waits for one and the same update (architecture.md)."""
LOOK = timedelta(seconds=2)
SLACK = timedelta(milliseconds=500)

Decision = BorrowDecision | RepayDecision
Started = WithStartWorkflowOperation[Any, Outcome]
W = TypeVar("W")
D = TypeVar("D")


@dataclass(frozen=True, slots=True)
class Decided:
    decision: Decision


@dataclass(frozen=True, slots=True)
class StillDeciding:
    """The workflow is there, and has not answered in time; it will decide without being asked again."""


@dataclass(frozen=True, slots=True)
class NotReached:
    """No workflow is known to have started. The row stays as it is, and the same request may come again."""

    why: str


Attempt = Decided | StillDeciding | NotReached


class OperationStarter(Protocol):
    async def decide(self, kind: OperationKind, start: OperationInput) -> Attempt:
        """Starts the operation's workflow unless it runs, and waits for its decision for as long as partners wait."""

    async def check(self) -> None:
        """Raises where Temporal cannot be reached."""


class TemporalAway(Exception):
    """Temporal cannot be reached."""


class TemporalStarter:
    """Connects when it is first needed, so that the API starts, and answers 503, while Temporal is away."""

    def __init__(
        self,
        address: str,
        namespace: str,
        head_wait: timedelta,
        plugins: Sequence[Plugin] = (),
        runtime: Runtime | None = None,
    ) -> None:
        self._address = address
        self._namespace = namespace
        self._head_wait = head_wait
        self._plugins = plugins
        self._runtime = runtime
        self._client: Client | None = None
        self._connecting: asyncio.Task[Client] | None = None

    async def decide(self, kind: OperationKind, start: OperationInput) -> Attempt:
        try:
            client = await self._connected()
        except TemporalAway as away:
            return NotReached(str(away))
        try:
            async with asyncio.timeout((self._head_wait + SLACK).total_seconds()):
                return Decided(await self._update_with_start(client, kind, start))
        except (TemporalError, TimeoutError) as failed:
            structlog.get_logger(__name__).info("no decision yet", error=repr(failed))
            return await self._look(client, start.operation_id)

    async def check(self) -> None:
        client = await self._connected()
        if not await client.service_client.check_health(timeout=LOOK):
            raise TemporalAway("the server says that it is not serving")

    async def _connected(self) -> Client:
        """Who comes while a connection is being made gets what becomes of it: a silent server costs one wait, not one each."""
        if self._client is None:
            if self._connecting is None:
                self._connecting = asyncio.create_task(self._connect())
                self._connecting.add_done_callback(self._connection_ended)
            self._client = await asyncio.shield(self._connecting)
        return self._client

    async def _connect(self) -> Client:
        try:
            async with asyncio.timeout((LOOK + SLACK).total_seconds()):
                return await Client.connect(
                    self._address,
                    namespace=self._namespace,
                    data_converter=pydantic_data_converter,
                    connect_timeout=LOOK,
                    plugins=self._plugins,
                    runtime=self._runtime,
                )
        except (RuntimeError, TimeoutError) as error:  # the SDK raises RuntimeError where no connection can be made
            raise TemporalAway(str(error) or "the server is silent") from error

    def _connection_ended(self, ended: asyncio.Task[Client]) -> None:
        self._connecting = None
        if not ended.cancelled():
            ended.exception()  # looked at here, since all who asked may have gone away

    async def _update_with_start(self, client: Client, kind: OperationKind, start: OperationInput) -> Decision:
        if kind is OperationKind.BORROW:
            return await self._update(client, _start_with(BorrowWorkflow.run, start), BorrowWorkflow.decision)
        return await self._update(client, _start_with(RepayWorkflow.run, start), RepayWorkflow.decision)

    async def _update(self, client: Client, started: Started, decision: UpdateMethodMultiParam[[W], D]) -> D:
        try:
            return await client.execute_update_with_start_workflow(
                decision, start_workflow_operation=started, id=UPDATE_ID, rpc_timeout=self._head_wait
            )
        except TemporalError:
            with contextlib.suppress(TemporalError):
                await started.workflow_handle()  # it failed alike; unasked, asyncio would report it as forgotten
            raise

    async def _look(self, client: Client, operation_id: str) -> Attempt:
        """Whether the workflow is there after all: what could not be seen is taken for not started, never the reverse."""
        try:
            async with asyncio.timeout((LOOK + SLACK).total_seconds()):
                await client.get_workflow_handle(operation_id).describe(rpc_timeout=LOOK)
        except (TemporalError, TimeoutError) as failed:
            structlog.get_logger(__name__).warning("not seen to run", operation_id=operation_id, error=repr(failed))
            return NotReached(repr(failed))
        return StillDeciding()


def _start_with(run: Callable[[W, OperationInput], Awaitable[Outcome]], start: OperationInput) -> Started:
    return WithStartWorkflowOperation(
        run,
        start,
        id=start.operation_id,
        task_queue=LOANS_QUEUE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
    )


class Together:
    """Lets equal work that is asked for at the same time run once in this process; each asker gets its result.

    It saves work and decides nothing: across processes the row and the workflow id do that.
    """

    def __init__(self) -> None:
        self._running: dict[str, asyncio.Task[Attempt]] = {}

    async def run(self, key: str, work: Callable[[], Coroutine[Any, Any, Attempt]]) -> Attempt:
        task = self._running.get(key)
        if task is None:
            task = asyncio.create_task(work())
            self._running[key] = task
            task.add_done_callback(lambda _: self._running.pop(key, None))
        return await asyncio.shield(task)  # the one who asked first may go away; the others still want the result
