"""The same thing asked for many times at once, and many things at once, over real sockets to two API processes.

Two, because what decides between equal requests must be the row and the workflow id, and not the memory of one process.
The requests are sent with aiohttp: with httpx, choosing among 200 connections takes longer than all that is measured.
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import httpx
import pytest
import pytest_asyncio
from aiohttp import ClientSession, TCPConnector

from sandbox.engine import API, WORKER, Engine
from tests.chain.world import USD
from tests.engine import Borrower, PartnerAccount, until
from tests.faults.processes import Running, Site, open_running, start_and_fund

MANY, FITTING = 200, 20
AMOUNT = 1_000 * USD
FEE = 5 * USD
AT_MOST_SECONDS = 5
DECIDED_SECONDS = 80


@pytest_asyncio.fixture(scope="module")
async def running(site: Site) -> AsyncIterator[Running]:
    async with open_running(site) as running:
        await start_and_fund(running, API, WORKER)
        yield running


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def body(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.content)
        return found

    @property
    def undecided(self) -> bool:
        """The partner is to ask again: the decision is still being made, or nobody could be reached that would make it."""
        return self.status == httpx.codes.SERVICE_UNAVAILABLE or self.body.get("decision") == "pending"


@dataclass(frozen=True)
class Doors:
    """API processes of one engine, and what it takes to knock at them many times at once."""

    urls: Sequence[str]
    session: ClientSession

    async def ask_at_once(self, partner: PartnerAccount, bodies: Sequence[dict[str, Any]]) -> list[Answer]:
        """All in flight together, each on a connection of its own, through each door in turn."""
        return await asyncio.gather(
            *(self._ask(url, partner, body) for url, body in zip(cycle(self.urls), bodies, strict=False))
        )

    async def decided(self, partner: PartnerAccount, bodies: Sequence[dict[str, Any]]) -> list[Answer]:
        """Every answer once it is a decision: whoever was told to ask again sends the same request again."""
        answers = await self.ask_at_once(partner, bodies)
        told(f"{sum(answer.undecided for answer in answers)} of {len(bodies)} were undecided at first")
        async with asyncio.timeout(DECIDED_SECONDS):
            while waiting := [place for place, answer in enumerate(answers) if answer.undecided]:
                later = await self.ask_at_once(partner, [bodies[place] for place in waiting])
                for place, answer in zip(waiting, later, strict=True):
                    answers[place] = answer
        return answers

    async def _ask(self, url: str, partner: PartnerAccount, body: dict[str, Any]) -> Answer:
        async with self.session.post(f"{url}/v1/loans", json=body, headers=partner.headers) as answer:
            return Answer(answer.status, answer.headers, await answer.read())


@pytest_asyncio.fixture(scope="module")
async def doors(running: Running, site: Site) -> AsyncIterator[Doors]:
    async with (
        Engine.open(site.folder / "second", running.processes.config) as second,
        ClientSession(connector=TCPConnector(limit=0, force_close=True)) as session,
    ):
        await second.start(API)
        yield Doors((running.processes.api_url, second.api_url), session)


def body_of(borrower: Borrower) -> dict[str, Any]:
    return {
        "oaid_token_id": str(borrower.line.credit_line_id),
        "user_wallet": borrower.user.address,
        "amount": str(AMOUNT),
        "partner_loan_id": f"loan-{borrower.line.credit_line_id}",
    }


async def ask(running: Running, body: dict[str, Any]) -> httpx.Response:
    return await running.engine.api.post("/v1/loans", json=body, headers=running.engine.partner.headers)


async def test_the_same_borrow_many_times_at_once(
    running: Running, doors: Doors, record_property: Callable[[str, object], None]
) -> None:
    """200 equal requests at once: one workflow, one transaction per leg, 200 equal answers, under five seconds."""
    engine = running.engine
    borrower = await engine.new_borrower()
    began = time.monotonic()
    answers = await doors.ask_at_once(engine.partner, [body_of(borrower)] * MANY)
    seconds = time.monotonic() - began
    record_property("seconds", round(seconds, 2))
    told(f"{MANY} equal borrows in {seconds:.2f} s")
    assert {answer.status for answer in answers} == {httpx.codes.ACCEPTED}
    assert len({answer.content for answer in answers}) == 1
    assert answers[0].body["decision"] == "accepted"
    assert sum("Idempotency-Replayed" not in answer.headers for answer in answers) == 1
    assert seconds < AT_MOST_SECONDS
    done = await running.finishes(answers[0].body["operation_id"])
    assert await engine.legs(done["operation_id"]) == [("borrow", 1, "FINAL_OK"), ("settle", 1, "FINAL_OK")]
    assert await running.borrowed_on_chain(borrower) == 1
    assert await running.paid_on_chain(engine.partner, AMOUNT - FEE) == 1
    await until(lambda: has_runs(running, done["operation_id"], 1))
    await engine.assert_sound()


@pytest.mark.parametrize("changed", [{"amount": str(2 * AMOUNT)}, {"metadata": {"channel": "mobile"}}])
async def test_same_key_with_another_body(running: Running, changed: dict[str, Any]) -> None:
    """The same key with another body is a conflict that names the field, while the workflow runs and after it has closed."""
    engine = running.engine
    borrower = await engine.new_borrower()
    (field,) = changed
    async with running.mining_by_hand():
        answer = await ask(running, body_of(borrower))
        conflicts(await ask(running, body_of(borrower) | changed), field)
    await engine.finished(answer)
    await until(lambda: is_closed(running, answer.json()["operation_id"]))
    conflicts(await ask(running, body_of(borrower) | changed), field)
    again = await ask(running, body_of(borrower))
    assert (again.status_code, again.content) == (answer.status_code, answer.content)
    await engine.assert_sound()


async def test_many_borrows_against_a_limit_for_few(running: Running, doors: Doors) -> None:
    """200 borrows at once, each on its own line, against a total limit for 20: 20 loans, and 180 that say why not."""
    engine = running.engine
    partner = await engine.new_partner(total_limit=FITTING * AMOUNT, daily_limit=MANY * AMOUNT)
    borrowers = await running.many_lines(partner, MANY)
    began = time.monotonic()
    answers = await doors.decided(partner, [body_of(borrower) for borrower in borrowers])
    told(f"{MANY} different borrows decided in {time.monotonic() - began:.2f} s")
    accepted = [answer for answer in answers if answer.status == httpx.codes.ACCEPTED]
    refused = Counter((answer.status, answer.body["code"]) for answer in answers if answer not in accepted)
    assert refused == {(httpx.codes.UNPROCESSABLE_ENTITY, "total_limit_exceeded"): MANY - FITTING}
    for answer in accepted:
        await running.finishes(answer.body["operation_id"], partner=partner)
    assert await running.loan_states(partner) == ["ACTIVE"] * FITTING
    lent = [await running.borrowed_on_chain(borrower) for borrower in borrowers]
    assert lent == [int(answer in accepted) for answer in answers]
    assert await running.paid_on_chain(partner, AMOUNT - FEE) == FITTING
    await running.comes_to_rest_sound()


def told(figure: str) -> None:
    print(figure)  # noqa: T201 - a figure of the acceptance, shown with -s


def conflicts(answer: httpx.Response, field: str) -> None:
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (409, "idempotency_key_reused"), problem
    assert problem["figures"] == {"fields": field}
    assert f"other values of: {field}." in problem["detail"]


async def has_runs(running: Running, workflow_id: str, number: int) -> bool:
    """How many runs there ever were under an id; the list comes a moment after the fact."""
    found = [run async for run in running.engine.temporal.list_workflows(f"WorkflowId = '{workflow_id}'")]
    return len(found) == number


async def is_closed(running: Running, workflow_id: str) -> bool:
    return (await running.engine.temporal.get_workflow_handle(workflow_id).describe()).close_time is not None
