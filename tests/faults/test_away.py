"""Temporal, PostgreSQL or the node goes away while a borrow is under way, and comes back.

Who asks meanwhile is told the truth: 503 and when to come back, or 202 where the operation only has to wait. Nothing is
half done, and all of it finishes when the part is back, without anybody starting anything again.
"""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from models.statuses import OperationState
from sandbox.engine import API
from sandbox.services import AnvilOptions, PostgresOptions, Stack, StackOptions, TemporalOptions, ValkeyOptions
from tests.chain.world import USD
from tests.engine import Borrower, until
from tests.faults.processes import Running, Site, open_running, start_and_fund

LOANS, LANE = "loans", "lane"
PRINCIPAL = 5_000 * USD
LEG_PATIENCE_SECONDS = 3
KEPT = StackOptions(
    PostgresOptions(durable=False), TemporalOptions(persistent=True), ValkeyOptions(), AnvilOptions(persistent=True)
)


@pytest_asyncio.fixture(scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """Servers of this module's own: they are taken away, and keep what they knew."""
    async with Stack.start(tmp_path_factory.mktemp("stack"), KEPT) as stack:
        yield stack


@pytest_asyncio.fixture(scope="module")
async def running(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    """API, ``loans`` and ``lane`` as processes of their own, so that one can be held up without the other."""
    url = await stack.postgres.create_database("faults")
    site = Site(tmp_path_factory.mktemp("away"), url, stack.temporal, stack.anvil)
    async with open_running(site, LEG_PATIENCE=f"PT{LEG_PATIENCE_SECONDS}S") as running:
        await running.processes.start(LANE, role="lane")
        await running.processes.start(LOANS, role="loans")
        await start_and_fund(running, API)
        yield running


async def test_temporal_away(running: Running, stack: Stack) -> None:
    """Temporal killed: 503, a recorded request, no reservation; when it is back the same request and the old one finish."""
    under_way, asking = [await running.engine.new_borrower() for _ in range(2)]
    usage = await running.engine.partner_usage()
    async with running.mining_by_hand():
        begun = await running.engine.borrow(under_way)
        await running.reaches(begun.json()["operation_id"], "borrow", "BROADCAST")
        await stack.temporal.process.kill()
        away(await running.engine.borrow(asking), "workflows_unavailable")
        await is_recorded_only(running, asking)
        assert await running.engine.partner_usage() == reserved_more(usage, PRINCIPAL)
        await stack.temporal.process.start()
    answer = await served(running, asking)
    assert answer.headers["Idempotency-Replayed"] == "true"
    await both_end_active(running, begun, answer)


async def test_postgresql_away(running: Running, stack: Stack) -> None:
    """PostgreSQL killed: 503 for all; when it is back the same request works, and worker and lane are at work by themselves."""
    under_way, asking = [await running.engine.new_borrower() for _ in range(2)]
    async with running.mining_by_hand():
        begun = await running.engine.borrow(under_way)
        await running.reaches(begun.json()["operation_id"], "borrow", "BROADCAST")
        await stack.postgres.process.kill()
        away(await running.engine.borrow(asking), "database_unavailable")
        away(await look_at(running, begun), "database_unavailable")
        await stack.postgres.process.start()
    await running.engine.parts.database.dispose()
    answer = await served(running, asking)
    await both_end_active(running, begun, answer)
    assert running.processes.running(LANE)
    assert running.processes.running(LOANS)


@pytest.mark.parametrize("frozen", [True, False], ids=["frozen", "stopped"])
async def test_node_away_for_the_head(running: Running, stack: Stack, frozen: bool) -> None:
    """A node that is silent, or gone, while a borrow is decided: 202 and pending; it is decided when the node is back."""
    borrower = await running.engine.new_borrower()
    node = stack.anvil.process
    if frozen:
        node.freeze()
    else:
        await node.stop()
    try:
        answer = await running.engine.borrow(borrower)
        assert (answer.status_code, answer.json()["decision"]) == (httpx.codes.ACCEPTED, "pending")
        assert await running.engine.legs(answer.json()["operation_id"]) == []
    finally:
        await bring_back(running, stack)
    await ends_active(running, answer)
    await running.comes_to_rest_sound()


async def test_node_away_for_the_tail(running: Running, stack: Stack) -> None:
    """A node that is gone when the leg is to be sent: past its patience the loan is UNDER_REVIEW with its limit held, not released."""
    borrower = await running.engine.new_borrower()
    usage = await running.engine.partner_usage()
    lane = running.processes.process(LANE)
    lane.freeze()
    try:
        answer = await running.engine.borrow(borrower)
        assert answer.json()["decision"] == "accepted"
        await running.reaches(answer.json()["operation_id"], "borrow", "QUEUED")
        await stack.anvil.process.stop()
        told = len(what_it_says(lane.program.log, "chain_not_answering"))
    finally:
        lane.thaw()
    await until(lambda: says_more(lane.program.log, "chain_not_answering", told))
    await until(lambda: is_not_pending(running, borrower))
    assert (await running.engine.loan(borrower))["status"] == "UNDER_REVIEW"
    assert await running.engine.partner_usage() == reserved_more(usage, PRINCIPAL)
    await bring_back(running, stack)
    await ends_active(running, answer)
    assert await running.engine.legs(answer.json()["operation_id"]) == MOVES
    assert await running.borrowed_on_chain(borrower) == 1
    await running.comes_to_rest_sound()


async def test_node_frozen_after_the_broadcast(running: Running, stack: Stack) -> None:
    """A node that falls silent when it has the transaction: the lane's questions time out, and it is final when it wakes."""
    borrower = await running.engine.new_borrower()
    log = running.processes.process(LANE).program.log
    async with running.mining_by_hand():
        answer = await running.engine.borrow(borrower)
        await running.reaches(answer.json()["operation_id"], "borrow", "BROADCAST")
        told = len(what_it_says(log, "chain_not_answering"))
        stack.anvil.process.freeze()
        try:
            await until(lambda: says_more(log, "chain_not_answering", told))
        finally:
            stack.anvil.process.thaw()
    await ends_active(running, answer)
    assert await running.borrowed_on_chain(borrower) == 1
    await running.comes_to_rest_sound()


MOVES = [("borrow", 1, "FINAL_OK"), ("settle", 1, "FINAL_OK")]


def away(answer: httpx.Response, code: str) -> None:
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (httpx.codes.SERVICE_UNAVAILABLE, code), problem
    assert answer.headers["content-type"] == "application/problem+json"
    assert int(answer.headers["retry-after"]) > 0


async def is_recorded_only(running: Running, borrower: Borrower) -> None:
    operation_id = f"borrow:{running.engine.partner.id}:loan~loan-{borrower.line.credit_line_id}"
    row = await running.engine.operation_row(operation_id)
    assert (row.state, row.decision, row.terms) == (OperationState.RECEIVED, None, None)
    assert await running.engine.legs(operation_id) == []
    assert await running.engine.events(operation_id) == []


def reserved_more(usage: tuple[int, int, int, int], amount: int) -> tuple[int, int, int, int]:
    outstanding, reserved, borrowed_today, reserved_today = usage
    return outstanding, reserved + amount, borrowed_today, reserved_today + amount


async def look_at(running: Running, answer: httpx.Response) -> httpx.Response:
    return await running.engine.api.get(answer.headers["Location"], headers=running.engine.partner.headers)


async def served(running: Running, borrower: Borrower) -> httpx.Response:
    """The answer to the same request, repeated for as long as it is 503."""
    answers: list[httpx.Response] = []

    async def is_served() -> bool:
        answers.append(await running.engine.borrow(borrower))
        return answers[-1].status_code != httpx.codes.SERVICE_UNAVAILABLE

    await until(is_served)
    return answers[-1]


async def bring_back(running: Running, stack: Stack) -> None:
    """A node that was stopped reads no state below its old head: two blocks bring `finalized` there (services/anvil.py)."""
    if stack.anvil.process.running:
        stack.anvil.process.thaw()
        return
    await stack.anvil.process.start()
    await running.engine.client.rpc.call("anvil_mine", "0x2")


async def both_end_active(running: Running, *answers: httpx.Response) -> None:
    for answer in answers:
        await ends_active(running, answer)
        assert await running.engine.legs(answer.json()["operation_id"]) == MOVES
    await running.comes_to_rest_sound()


async def ends_active(running: Running, answer: httpx.Response) -> None:
    assert answer.status_code == httpx.codes.ACCEPTED, answer.text
    done = await running.finishes(answer.json()["operation_id"])
    assert done["outcome"]["status"] == "ACTIVE", done


async def is_not_pending(running: Running, borrower: Borrower) -> bool:
    return bool((await running.engine.loan(borrower))["status"] != "PENDING")


async def says_more(log: Path, event: str, than: int) -> bool:
    return len(what_it_says(log, event)) > than


def what_it_says(log: Path, event: str) -> list[str]:
    """The lines of a process's log that tell of this event."""
    return [line for line in log.read_text().splitlines() if f'"event": {json.dumps(event)}' in line]
