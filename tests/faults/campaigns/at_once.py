"""A thousand requests at once over two API processes: the same one a thousand times, and a thousand against a limit for few."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from sandbox.engine import API, WORKER
from tests.chain.world import USD
from tests.engine import until
from tests.faults.asking import Request
from tests.faults.campaign import Grounds, Part, Report
from tests.faults.doors import Answer, Doors, two_doors
from tests.faults.processes import Running, Site, open_running, start_and_fund

AMOUNT, FEE = 1_000 * USD, 5 * USD
ENOUGH = 10_000_000 * USD
REST_SECONDS = 240


class SameRequest:
    name = "same-request"
    title = "the same request 1,000 times at once"
    figure = "1 workflow, 1 transaction per leg, 1,000 equal answers, for a borrow and for a repayment"
    unit = "equal requests at once"

    def parts(self, *, full: bool) -> list[Part]:
        return [Part(self.name, f"{1_000 if full else 200} times", 1)]

    async def run(self, part: Part, grounds: Grounds) -> Report:
        number = int(part.name.removesuffix(" times"))
        async with _engine(grounds) as (running, doors):
            partner = running.engine.partner
            (borrower,) = await running.many_lines(partner, 1)
            borrow = Request.borrow(partner, borrower, AMOUNT)
            breaches = await _same(running, doors, borrow, number, ["borrow", "settle"])
            name = f"loan-{borrower.line.credit_line_id}"
            repay = Request.repay(partner, name, {"amount": str(AMOUNT // 2)}, "key-1")
            breaches += await _same(running, doors, repay, number, ["collect", "repay"])
            if await running.borrowed_on_chain(borrower) != 1:
                breaches.append("the vault did not lend once")
            if await running.paid_on_chain(partner, AMOUNT - FEE) != 1:
                breaches.append("the partner was not paid once")
            breaches += await running.breaches_at_rest(REST_SECONDS)
        return Report(2 * number, Counter({"equal request": 2 * number}), 2, breaches)


async def _same(running: Running, doors: Doors, request: Request, number: int, legs: list[str]) -> list[str]:
    """One first answer and so many replays of it, byte for byte, of one workflow with one transaction for each leg."""
    answers = await doors.decided([request] * number)
    done = await running.finishes(request.operation_id, REST_SECONDS)
    await until(lambda: _has_runs(running, request.operation_id))
    first = sum("Idempotency-Replayed" not in answer.headers for answer in answers)
    checks = {
        "the answers differ": len({answer.content for answer in answers}) == 1,
        "not all were accepted": all(answer.accepted for answer in answers),
        f"{first} of the answers were not replays": first <= 1,
        f"the operation ended as {done['outcome']}": done["outcome"]["status"] in ("ACTIVE", "APPLIED"),
        "there is not one transaction per leg": await running.engine.legs(request.operation_id)
        == [(leg, 1, "FINAL_OK") for leg in legs],
    }
    return [f"{request.operation_id}: {breach}" for breach, holds in checks.items() if not holds]


class LimitRace:
    name = "limit-race"
    title = "1,000 borrows on a limit for 100"
    figure = "exactly 100 accepted, lent and paid"
    unit = "borrows at once"

    def parts(self, *, full: bool) -> list[Part]:
        return [Part(self.name, "1000 on a limit for 100" if full else "100 on a limit for 10", 1)]

    async def run(self, part: Part, grounds: Grounds) -> Report:
        many, fitting = map(int, part.name.split(" on a limit for "))
        async with _engine(grounds) as (running, doors):
            partner = await running.engine.new_partner(total_limit=fitting * AMOUNT, daily_limit=ENOUGH)
            borrowers = await running.many_lines(partner, many)
            answers = await doors.decided([Request.borrow(partner, borrower, AMOUNT) for borrower in borrowers])
            accepted = [answer for answer in answers if answer.accepted]
            breaches = _breaches_of_the_race(answers, many, fitting)
            await asyncio.gather(
                *(running.finishes(each.body["operation_id"], REST_SECONDS, partner=partner) for each in accepted)
            )
            breaches += await running.breaches_at_rest(REST_SECONDS)
            lent = [await running.borrowed_on_chain(borrower) for borrower in borrowers]
            if lent != [int(answer.accepted) for answer in answers]:
                breaches.append(f"{sum(lent)} were lent, or to others than those who were accepted")
            if (paid := await running.paid_on_chain(partner, AMOUNT - FEE)) != fitting:
                breaches.append(f"{paid} were paid")
            if (states := Counter(await running.loan_states(partner))) != {"ACTIVE": fitting}:
                breaches.append(f"the loans are {states}")
        return Report(many, Counter({"borrow at once": many}), many, breaches)


def _breaches_of_the_race(answers: list[Answer], many: int, fitting: int) -> list[str]:
    told = Counter((answer.status, answer.body.get("code")) for answer in answers)
    wanted = {
        (httpx.codes.ACCEPTED, None): fitting,
        (httpx.codes.UNPROCESSABLE_ENTITY, "total_limit_exceeded"): many - fitting,
    }
    return [] if told == wanted else [f"{many} borrows on a limit for {fitting} were told {told}"]


@asynccontextmanager
async def _engine(grounds: Grounds) -> AsyncIterator[tuple[Running, Doors]]:
    folder = grounds.folder("at-once")
    site = Site(folder, await grounds.database(), await grounds.temporal(), await grounds.anvil())
    async with open_running(site) as running:
        await start_and_fund(running, API, WORKER)
        async with two_doors(running, folder) as doors:
            yield running, doors


async def _has_runs(running: Running, workflow_id: str) -> bool:
    """One, and no more: the list comes a moment after the fact."""
    found = [run async for run in running.engine.temporal.list_workflows(f"WorkflowId = '{workflow_id}'")]
    return len(found) == 1
