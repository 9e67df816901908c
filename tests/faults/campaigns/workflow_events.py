"""Workflows cancelled, terminated or reset at every event of a borrow's and a repayment's history.

A recorded history says which events there are. For each of them one operation is cut as soon as its own history has come that
far, and for each of them one is reset when it has ended. What is left without a workflow the sweep opens again; whatever
happened, each operation must end once, with the terms that its partner was given, and nothing may move twice.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import uuid4

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

from tests.engine import until
from tests.faults.asking import Request
from tests.faults.campaign import Grounds, Part, Report
from tests.faults.driver import QUIET_SECONDS, Driven, driven
from tests.faults.processes import Site
from tests.faults.scenes import PART, PRINCIPAL
from tests.replay.saved import load

BLOCK_TIME = timedelta(milliseconds=200)
ACTIONS = ("cancelled", "terminated", "reset", "reset-at-the-end")
ROUNDS = 3
EVERY_IN_THE_SLICE = 11
Handle = WorkflowHandle[Any, Any]
TASK_DONE = EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED


@dataclass(frozen=True, slots=True)
class Cut:
    """``place`` is an event id; for a reset, which of the finished workflow tasks it goes back to."""

    action: str
    place: int


class WorkflowEvents:
    name = "workflow-events"
    title = "workflow cancelled, terminated, or reset at every event"
    figure = "every event of both histories; finished safely, or re-opened by the sweep and finished with its own terms"
    unit = "workflows cut"

    def parts(self, *, full: bool) -> list[Part]:
        if not full:
            return [Part(self.name, f"every {EVERY_IN_THE_SLICE}th event", 1)]
        return [Part(self.name, f"every event {number}", number) for number in range(1, ROUNDS + 1)]

    async def run(self, part: Part, grounds: Grounds) -> Report:
        step = EVERY_IN_THE_SLICE if "th" in part.name else 1
        borrows = _cuts("borrow-active")[part.seed % step :: step]
        repays = _cuts("repay-applied")[part.seed % step :: step]
        anvil = await grounds.anvil(BLOCK_TIME)
        site = Site(grounds.folder("events"), await grounds.database(), await grounds.temporal(), anvil)
        async with driven(site, part.seed, houses=1, lines=len(borrows) + len(repays), SWEEP_EVERY="PT2S") as engine:
            campaign = _Run(engine, Report())
            await campaign.cut_all(borrows, repays)
            return campaign.report


def _cuts(history: str) -> list[Cut]:
    """One for each event of the recorded history, and for each of its workflow tasks."""
    events = load(history).events
    tasks = sum(event.event_type == TASK_DONE for event in events)
    places = {"reset": tasks, "reset-at-the-end": tasks}
    return [Cut(action, place) for action in ACTIONS for place in range(1, places.get(action, len(events) - 1) + 1)]


@dataclass
class _Run:
    engine: Driven
    report: Report

    async def cut_all(self, borrows: Sequence[Cut], repays: Sequence[Cut]) -> None:
        (house,) = self.engine.scenes.houses
        lines = list(house.free)
        requests = [Request.borrow(house.account, line, PRINCIPAL) for line in lines]
        await self._cut_together(borrows, requests[: len(borrows)])
        loans = requests[len(borrows) :]
        for request in loans:
            await self.engine.partners.ask(request)
        await until(self.engine.running.rests, QUIET_SECONDS)
        body = {"amount": str(PART)}
        names = [request.body["partner_loan_id"] for request in loans]
        repayments = [Request.repay(house.account, name, body, f"of-{name}") for name in names]
        await self._cut_together(repays, repayments)
        self.report.breaches += await self.engine.comes_to_rest()
        self.report.operations = len({request.operation_id for request, _ in self.engine.partners.told})

    async def _cut_together(self, cuts: Sequence[Cut], requests: Sequence[Request]) -> None:
        await asyncio.gather(*(self._cut(cut, request) for cut, request in zip(cuts, requests, strict=True)))
        self.report.breaches += await self.engine.running.breaches_at_rest(QUIET_SECONDS)
        await until(self._nothing_runs, QUIET_SECONDS)

    async def _cut(self, cut: Cut, request: Request) -> None:
        """Asks, and meanwhile follows the history to the place where it is cut."""
        asked = asyncio.create_task(self.engine.partners.ask(request))
        handle = self._temporal.get_workflow_handle(request.operation_id)
        come = await _comes_to(handle, cut)
        if come is not None and await _acts(partial(_ACTS[cut.action], self._temporal, handle, come)):
            self.report.injections += 1
            self.report.faults[cut.action] += 1
        await asked

    async def _nothing_runs(self) -> bool:
        """No run of an operation is left, also none that was reset to do again what is done."""
        running = "ExecutionStatus = 'Running' AND WorkflowType IN ('BorrowWorkflow', 'RepayWorkflow')"
        return not [each async for each in self._temporal.list_workflows(running)]

    @property
    def _temporal(self) -> Client:
        return self.engine.running.engine.temporal


async def _comes_to(handle: Handle, cut: Cut) -> int | None:
    """The event at which a history has come to the place; None where it ended before."""
    while True:
        try:
            return await _follow(handle, cut)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            await asyncio.sleep(0.02)


async def _follow(handle: Handle, cut: Cut) -> int | None:
    tasks: list[int] = []
    async for event in handle.fetch_history_events(wait_new_event=True):
        if event.event_type == TASK_DONE:
            tasks.append(event.event_id)
        if cut.action == "reset" and len(tasks) == cut.place:
            return tasks[-1]
        if cut.action in ("cancelled", "terminated") and event.event_id == cut.place:
            return event.event_id
    at_the_end = cut.action == "reset-at-the-end" and len(tasks) >= cut.place
    return tasks[cut.place - 1] if at_the_end else None


async def _acts(act: Callable[[], Awaitable[None]]) -> bool:
    """Whether the workflow was still there to be cut."""
    try:
        await act()
    except RPCError as error:
        if error.status in (RPCStatusCode.NOT_FOUND, RPCStatusCode.INVALID_ARGUMENT):
            return False
        raise
    return True


async def _cancel(_: Client, handle: Handle, __: int) -> None:
    await handle.cancel()


async def _terminate(_: Client, handle: Handle, __: int) -> None:
    await handle.terminate("the campaign says so")


async def _reset(temporal: Client, handle: Handle, event: int) -> None:
    await temporal.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace=temporal.namespace,
            workflow_execution=WorkflowExecution(workflow_id=handle.id),
            reason="the campaign says so",
            workflow_task_finish_event_id=event,
            request_id=uuid4().hex,
        )
    )


_ACTS: dict[str, Callable[[Client, Handle, int], Awaitable[None]]] = {
    "cancelled": _cancel,
    "terminated": _terminate,
    "reset": _reset,
    "reset-at-the-end": _reset,
}
