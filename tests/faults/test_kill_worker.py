"""kill -9 of the engine's processes at the moments that matter: what was begun is finished, and USDC moves once.

The worker is killed once with four operations in flight, each at another point, because what a dead worker waited for is
taken up only when its heartbeat is missed: so all four wait for that together.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import pytest_asyncio

from sandbox.engine import API, WORKER
from tests.chain.world import USD
from tests.engine import Borrower, until
from tests.faults.processes import Running, Site, open_running, start_and_fund
from tests.faults.proxy import Proxy, proxy_before

PAYOUT = 4_975 * USD
MOVES = [("borrow", 1, "FINAL_OK"), ("settle", 1, "FINAL_OK")]


@dataclass(frozen=True)
class Begun:
    borrower: Borrower
    operation_id: str


@dataclass(frozen=True)
class Killed:
    """What was in flight when the worker was killed, by the point that it had reached; the worker runs again."""

    taken: Begun
    broadcast: Begun
    settling: Begun
    collected: Begun
    payouts_before: int


@pytest_asyncio.fixture(scope="module")
async def proxy(site: Site) -> AsyncIterator[Proxy]:
    async with proxy_before(site.anvil.url) as proxy:
        yield proxy


@pytest_asyncio.fixture(scope="module")
async def running(site: Site, proxy: Proxy) -> AsyncIterator[Running]:
    async with open_running(Site(site.folder, site.database_url, site.temporal, site.anvil, proxy.url)) as running:
        await start_and_fund(running, API, WORKER)
        yield running


@pytest_asyncio.fixture(scope="module")
async def killed(running: Running, proxy: Proxy) -> Killed:
    """Blocks are mined by hand until the worker is dead; while it is, all that it had sent is mined."""
    engine, processes = running.engine, running.processes
    borrowers = [await engine.new_borrower() for _ in range(4)]
    await engine.active_loan(borrowers[3])
    payouts = await running.paid_on_chain(engine.partner, PAYOUT)
    async with running.mining_by_hand():
        collected = begun(borrowers[3], await engine.repay(borrowers[3], {"payoff": True}))
        settling = begun(borrowers[2], await engine.borrow(borrowers[2]))
        await running.reaches(collected.operation_id, "collect", "BROADCAST")
        await running.reaches(settling.operation_id, "borrow", "BROADCAST")
        await running.mine()
        await running.reaches(collected.operation_id, "repay", "QUEUED", "PREPARED", "BROADCAST")
        await running.reaches(settling.operation_id, "settle", "BROADCAST")
        broadcast = begun(borrowers[1], await engine.borrow(borrowers[1]))
        await running.reaches(broadcast.operation_id, "borrow", "BROADCAST")
        proxy.keep_answers_to_sends()
        taken = begun(borrowers[0], await engine.borrow(borrowers[0]))
        await proxy.taken.wait()
        assert await engine.legs(taken.operation_id) == [("borrow", 1, "PREPARED")]
        assert (await engine.loan(settling.borrower))["status"] == "SETTLING"
        await processes.kill(WORKER)
    proxy.let_pass()
    await processes.start(WORKER)
    return Killed(taken, broadcast, settling, collected, payouts)


async def test_killed_between_broadcast_and_confirmation(running: Running, killed: Killed) -> None:
    """A worker killed after the borrow was broadcast: the loan becomes ACTIVE with one borrow and one payout."""
    await becomes_active_once(running, killed.broadcast)


async def test_killed_between_borrow_and_settlement(running: Running, killed: Killed) -> None:
    """A worker killed while the loan was SETTLING: the loan becomes ACTIVE with one borrow and one payout."""
    await becomes_active_once(running, killed.settling)


async def test_killed_before_it_knew_that_the_node_has_its_transaction(running: Running, killed: Killed) -> None:
    """A worker killed between its send and the answer: the stored bytes are the transaction, and no second one is made."""
    await becomes_active_once(running, killed.taken)


async def test_killed_between_collection_and_repayment(running: Running, killed: Killed) -> None:
    """A worker killed during a payoff, after it had collected: APPLIED and REPAID, collected and repaid once."""
    done = await running.finishes(killed.collected.operation_id)
    assert done["outcome"]["status"] == "APPLIED"
    assert (await running.engine.loan(killed.collected.borrower))["status"] == "REPAID"
    assert await running.engine.debt(killed.collected.borrower) == 0
    legs = await running.engine.legs(killed.collected.operation_id)
    assert legs[:2] == [("collect", 1, "FINAL_OK"), ("repay", 1, "FINAL_OK")]
    assert {leg.partition("-")[0] for leg, _, _ in legs[2:]} <= {"residue"}
    await running.comes_to_rest_sound()


async def test_each_payout_came_once(running: Running, killed: Killed) -> None:
    """Three loans were in flight at the kill, and the chain shows three payouts more than before."""
    for begun in (killed.taken, killed.broadcast, killed.settling):
        await running.finishes(begun.operation_id)
    assert await running.paid_on_chain(running.engine.partner, PAYOUT) == killed.payouts_before + 3


async def test_api_killed_right_after_its_answer(running: Running) -> None:
    """What the API answered for is there after its death, and finishes without being asked for again."""
    borrower = await running.engine.new_borrower()
    answer = await running.engine.borrow(borrower)
    await running.processes.kill(API)
    await running.processes.start(API)
    await becomes_active_once(running, begun(borrower, answer))


async def test_api_killed_before_its_answer(running: Running) -> None:
    """A request whose API died before it answered is recorded; its repetition is the same operation, and moves USDC once."""
    engine, processes = running.engine, running.processes
    borrower = await engine.new_borrower()
    processes.process(WORKER).freeze()
    try:
        asked = asyncio.create_task(engine.borrow(borrower))
        operation_id = f"borrow:{engine.partner.id}:loan~loan-{borrower.line.credit_line_id}"
        await until(lambda: is_recorded(running, operation_id))
        await processes.kill(API)
        with pytest.raises(httpx.TransportError):
            await asked
    finally:
        processes.process(WORKER).thaw()
    await processes.start(API)
    again = await engine.borrow(borrower)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert begun(borrower, again).operation_id == operation_id
    await becomes_active_once(running, begun(borrower, again))


def begun(borrower: Borrower, answer: httpx.Response) -> Begun:
    assert answer.status_code == httpx.codes.ACCEPTED, answer.text
    body: dict[str, Any] = answer.json()
    return Begun(borrower, body["operation_id"])


async def becomes_active_once(running: Running, begun: Begun) -> None:
    done = await running.finishes(begun.operation_id)
    assert done["outcome"]["status"] == "ACTIVE", done
    assert await running.engine.legs(begun.operation_id) == MOVES
    assert await running.borrowed_on_chain(begun.borrower) == 1
    assert await running.engine.events(begun.operation_id) == ["loan.borrowed"]
    await running.comes_to_rest_sound()


async def is_recorded(running: Running, operation_id: str) -> bool:
    answer = await running.engine.api.get(f"/v1/operations/{operation_id}", headers=running.engine.partner.headers)
    return answer.is_success
