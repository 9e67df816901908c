"""One key is one operation for ever, whatever becomes of Temporal's history (money.md section 1).

A thousand equal requests come through two applications, which share the database and nothing else, while the history of the
operation's workflow is deleted: before it decided, while it runs, and after it is done.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from itertools import cycle

import httpx
import pytest
from sqlalchemy import func, select
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.service import RPCError, RPCStatusCode

from chain.contracts.vault_events import USDC_BORROWED_EVENT
from models.statuses import OperationKind
from models.tables.loans import Loan
from models.tables.operations import Operation
from tests.api.desk import served
from tests.chain.world import USD
from tests.engine import Borrower, BuildEngine, Engine, until
from tests.faults.asking import NOT_DECIDED, Request
from tests.workflows.moments import is_completed, leg_is
from tests.workflows.test_sweep import swept

pytestmark = [
    pytest.mark.filterwarnings("ignore:Cannot find activity to cancel"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.timeout(400),
]
"""Temporal deletes when it gets to it, which on a busy machine takes a minute for each of the deletions. A connection that was being made when an
application closed may be closed by the collector alone. The SDK warns where a run is deleted just as its step ends; as an error that would end the worker."""

AMOUNT = 1_000 * USD
REQUESTS = 1_000
HEAD_WAIT = timedelta(seconds=1)
PATIENCE_SECONDS = 280
ASKED_AGAIN_SECONDS = 5
"""A server that cannot delete a run yet, since its end is not written everywhere, tries again ever later, up to minutes."""


@dataclass
class Askers:
    """Programs of one partner that all send one request, each again until it is decided, through one door after the other."""

    doors: Sequence[httpx.AsyncClient]
    request: Request
    answers: list[httpx.Response] = field(default_factory=list)
    undecided: list[httpx.Response] = field(default_factory=list)

    async def ask_at_once(self, number: int, *, until_decided: bool = True) -> None:
        doors = cycle(self.doors)
        await asyncio.gather(*(self._ask(next(doors), until_decided=until_decided) for _ in range(number)))

    async def _ask(self, door: httpx.AsyncClient, *, until_decided: bool) -> None:
        request = self.request

        async def is_decided() -> bool:
            answer = await door.post(request.path, json=request.body, headers=request.headers)
            decided = answer.status_code not in NOT_DECIDED and answer.json().get("decision") != "pending"
            (self.answers if decided else self.undecided).append(answer)
            return decided

        if until_decided:
            await until(is_decided, PATIENCE_SECONDS)
        else:
            await is_decided()


@asynccontextmanager
async def two_doors(engine: Engine) -> AsyncIterator[Sequence[httpx.AsyncClient]]:
    async with served(engine.settings) as second:
        yield engine.api, second


async def delete_history(engine: Engine, workflow_id: str) -> bool:
    """Deletes the workflow's newest run with all that it remembers; False where there is none.

    It returns once Temporal knows that run no more. Another may have begun under the id by then: requests go on meanwhile.
    """
    run_id = await newest_run(engine, workflow_id)
    if run_id is None:
        return False
    execution = WorkflowExecution(workflow_id=workflow_id, run_id=run_id)
    deletion = DeleteWorkflowExecutionRequest(namespace=engine.temporal.namespace, workflow_execution=execution)
    while not await is_gone(engine, workflow_id, run_id):
        with suppress(RPCError, TimeoutError):
            await engine.temporal.workflow_service.delete_workflow_execution(deletion)
            await until(partial(is_gone, engine, workflow_id, run_id), ASKED_AGAIN_SECONDS)
    return True


async def newest_run(engine: Engine, workflow_id: str) -> str | None:
    try:
        return (await engine.temporal.get_workflow_handle(workflow_id).describe()).run_id
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return None
        raise


async def is_gone(engine: Engine, workflow_id: str, run_id: str) -> bool:
    try:
        await engine.temporal.get_workflow_handle(workflow_id, run_id=run_id).describe()
    except RPCError as error:
        return error.status is RPCStatusCode.NOT_FOUND
    return False


@pytest.mark.timeout(300)
async def test_the_history_is_deleted_at_every_stage(build_engine: BuildEngine) -> None:
    """A thousand equal requests around four deletions are one loan, and each that is decided has the same answer."""
    async with build_engine(head_wait=HEAD_WAIT) as engine, two_doors(engine) as doors:
        borrower = await engine.new_borrower()
        request = Request.borrow(engine.partner, borrower, AMOUNT)
        askers, operation_id = Askers(doors, request), request.operation_id
        await askers.ask_at_once(REQUESTS // 4, until_decided=False)
        assert askers.answers == []
        await delete_history(engine, operation_id)
        async with engine.loans():
            await askers.ask_at_once(REQUESTS // 4)
            await until(partial(leg_is, engine, operation_id, ("borrow", 1, "QUEUED")))
            await delete_history(engine, operation_id)
            async with engine.lane():
                await askers.ask_at_once(REQUESTS // 4)
                await until(partial(leg_is, engine, operation_id, ("borrow", 1, "FINAL_OK")))
                assert (await swept(engine)).reopened == (operation_id,)
                assert (await engine.operation(operation_id))["outcome"]["status"] == "ACTIVE"
                await until(partial(is_completed, engine, operation_id))
                await delete_history(engine, operation_id)
                await askers.ask_at_once(REQUESTS // 4)
            assert len(askers.answers) == REQUESTS * 3 // 4
            await is_one_loan(engine, borrower, askers)


@pytest.mark.timeout(300)
async def test_the_history_is_deleted_again_and_again(build_engine: BuildEngine) -> None:
    """A thousand equal requests at once, while each run that they start is deleted under them, are one loan."""
    async with build_engine(head_wait=HEAD_WAIT) as engine, two_doors(engine) as doors, engine.loans(), engine.lane():
        borrower = await engine.new_borrower()
        request = Request.borrow(engine.partner, borrower, AMOUNT)
        askers, operation_id = Askers(doors, request), request.operation_id
        asking = asyncio.create_task(askers.ask_at_once(REQUESTS))
        deleted = 0
        while not asking.done():
            deleted += await delete_history(engine, operation_id)
        await asking
        assert deleted > 0
        assert len(askers.answers) == REQUESTS
        await swept(engine)
        assert (await engine.operation(operation_id))["outcome"]["status"] == "ACTIVE"
        await is_one_loan(engine, borrower, askers)


async def is_one_loan(engine: Engine, borrower: Borrower, askers: Askers) -> None:
    """One operation, one loan, one transaction for each leg, lent once; equal answers, of which at most one is no replay."""
    operation_id = askers.request.operation_id
    assert {(answer.status_code, answer.content) for answer in askers.answers} == {
        (httpx.codes.ACCEPTED, askers.answers[0].content)
    }
    told = [answer for answer in askers.answers + askers.undecided if answer.status_code == httpx.codes.ACCEPTED]
    assert sum("Idempotency-Replayed" not in answer.headers for answer in told) <= 1
    assert await engine.legs(operation_id) == [("borrow", 1, "FINAL_OK"), ("settle", 1, "FINAL_OK")]
    assert await engine.events(operation_id) == ["loan.borrowed"]
    async with engine.transaction() as session:
        loans = await session.scalar(select(func.count()).select_from(Loan))
        asked_for = Operation.kind != OperationKind.SYSTEM
        operations = await session.scalar(select(func.count()).select_from(Operation).where(asked_for))
    position = f"0x{borrower.line.position_id:064x}"
    lent = await engine.client.logs(engine.contracts.vault, [USDC_BORROWED_EVENT.topic0, position], 0, "latest")
    assert (loans, operations, len(lent)) == (1, 1, 1)
    await engine.assert_sound()
