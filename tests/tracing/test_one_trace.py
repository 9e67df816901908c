"""One borrow is one trace: from its request through workflow, activities, statements and calls of the node to its legs and its webhook."""

from collections import Counter
from collections.abc import AsyncIterator

import pytest_asyncio

from activities.webhooks.signing import new_secret
from models.tables.operations import Operation
from sandbox.engine import API
from tests.engine import until
from tests.faults.processes import Running, Site, open_running, start_and_fund
from tests.tracing.receiver import Receiver, Span, TraceTree, receiving
from tests.webhooks.desk import SEALING_KEY, Desk
from tests.webhooks.receiver import Received
from tests.webhooks.receiver import Receiver as Hooks
from tests.webhooks.receiver import receiving as receiving_hooks

LOANS, LANE, WEBHOOKS = "loans", "lane", "webhooks"
ATTEMPT = "attempt_delivery"
STEPS = {
    "open_operation": 1,
    "authorize_partner": 1,
    "check_credit_line": 1,
    "calculate_fee": 1,
    "reserve_limit": 1,
    "submit_transaction": 2,
    "confirm_transaction": 2,
    "record_borrow": 1,
    "activate_loan": 1,
    ATTEMPT: 1,
}
ENDS = {"RunWorkflow:BorrowWorkflow", "POST /v1/loans", "leg settle", "RunWorkflow:DeliverWebhookWorkflow"}
"""The last spans that each process tells of a borrow."""
EXPORTED_WITHIN = 20
"""Spans leave in batches, every five seconds."""


@pytest_asyncio.fixture(scope="module")
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


@pytest_asyncio.fixture(scope="module")
async def hooks() -> AsyncIterator[Hooks]:
    """The partner's own receiver of webhooks."""
    async with receiving_hooks([new_secret()]) as hooks:
        yield hooks


@pytest_asyncio.fixture(scope="module")
async def running(site: Site, receiver: Receiver, hooks: Hooks) -> AsyncIterator[Running]:
    settings = {"OTLP_ENDPOINT": receiver.endpoint, "TRACE_PERCENT": "100", "SEALING_KEY": SEALING_KEY}
    async with open_running(site, **settings) as running:
        await running.processes.start(LOANS, role="loans")
        await running.processes.start(LANE, role="lane")
        await running.processes.start(WEBHOOKS, role="webhooks")
        await start_and_fund(running, API)
        engine = running.engine
        desk = Desk(engine.parts.database, engine.temporal, engine.settings, engine.partner.id)
        await desk.endpoint(hooks.url, secret=hooks.secrets[0])
        yield running


async def test_a_borrow_is_one_trace(running: Running, receiver: Receiver, hooks: Hooks) -> None:
    """Each span has the parent that called it, in the process that did the work, and takes time where time passed."""
    answer = await running.engine.borrow(await running.engine.new_borrower())
    tree = await whole_trace(running, receiver, answer.json()["operation_id"])
    told_as_one_tree(tree)
    the_webhook_belongs_to(tree, message_of(hooks, answer.json()["operation_id"]))
    assert steps_of(tree, "RunActivity") == STEPS
    assert {span.service for span in tree.named("INSERT")} == {"api", "worker-loans", "worker-webhooks"}


async def test_workers_that_die_in_the_middle_leave_one_trace(
    running: Running, receiver: Receiver, hooks: Hooks
) -> None:
    """What the dead worker had begun and not told is told by the one that goes on, under the same request; so is the webhook."""
    borrower = await running.engine.new_borrower()
    async with running.mining_by_hand():
        operation_id = (await running.engine.borrow(borrower)).json()["operation_id"]
        await running.reaches(operation_id, "borrow", "BROADCAST")
        await until(lambda: waits(receiver, operation_id), EXPORTED_WITHIN)
        for name in (LOANS, WEBHOOKS):
            await running.processes.kill(name)
            await running.processes.start(name)
    tree = await whole_trace(running, receiver, operation_id)
    told_as_one_tree(tree)
    the_webhook_belongs_to(tree, message_of(hooks, operation_id))
    assert set(steps_of(tree, "RunActivity")) == set(STEPS)


async def test_a_caller_s_trace_is_continued(running: Running, receiver: Receiver) -> None:
    """A partner that traces finds the borrow under its own span."""
    borrower = await running.engine.new_borrower()
    theirs = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"traceparent": f"00-{theirs}-00f067aa0ba902b7-01"}
    answer = await running.engine.borrow(borrower, headers=headers)
    tree = await whole_trace(running, receiver, answer.json()["operation_id"])
    assert tree.one("POST /v1/loans").parent_id == "00f067aa0ba902b7"
    assert {span.trace_id for span in tree.spans} == {theirs}


async def test_no_span_holds_a_secret(running: Running, receiver: Receiver) -> None:
    """Neither the key, nor the wallet of a query, nor the values of statements are in any attribute."""
    borrower = await running.engine.new_borrower()
    answer = await running.engine.borrow(borrower)
    headers = running.engine.partner.headers
    await running.engine.api.get("/v1/grants", params={"cursor": borrower.user.address}, headers=headers)
    await whole_trace(running, receiver, answer.json()["operation_id"])
    told = " ".join(value for span in receiver.spans for value in span.attributes.values())
    assert running.engine.partner.issued.key not in told
    assert borrower.user.address not in told


async def whole_trace(running: Running, receiver: Receiver, operation_id: str) -> TraceTree:
    await running.finishes(operation_id)
    async with running.engine.transaction() as session:
        trace_id = (await session.get_one(Operation, operation_id)).trace_id or ""

    async def told() -> bool:
        names = {span.name for span in receiver.trace(trace_id).spans}
        return names >= ENDS

    await until(told, EXPORTED_WITHIN)
    return receiver.trace(trace_id)


async def waits(receiver: Receiver, operation_id: str) -> bool:
    """Whether the head's spans of this operation have left its worker."""
    return any(span.name == "RunActivity:reserve_limit" and operation_id in str(span) for span in receiver.spans)


def told_as_one_tree(tree: TraceTree) -> None:
    request, workflow = tree.one("POST /v1/loans"), tree.one("RunWorkflow:BorrowWorkflow")
    legs = [tree.one("leg borrow"), tree.one("leg settle")]
    assert [span.name for span in tree.ancestors(workflow)] == [
        "StartUpdateWithStartWorkflow:BorrowWorkflow",
        "POST /v1/loans",
    ]
    assert {leg.parent_id for leg in legs} == {request.id}
    assert [span.service for span in (request, workflow, *legs)] == [
        "api",
        "worker-loans",
        "worker-lane",
        "worker-lane",
    ]
    for span in (each for each in activities(tree) if not each.name.endswith(ATTEMPT)):
        assert [each.name for each in tree.ancestors(span)][1:] == [
            "RunWorkflow:BorrowWorkflow",
            "StartUpdateWithStartWorkflow:BorrowWorkflow",
            "POST /v1/loans",
        ]
    for span in (*tree.named("eth_call eth_estimateGas"), *tree.named("UPDATE")):
        assert next(tree.ancestors(span)).name.startswith(("RunActivity:", "POST "))
    assert tree.orphans() == []
    told = Counter(span.id for span in tree.spans)
    twice = [(span.name, span.nanoseconds) for span in tree.spans if told[span.id] > 1]
    assert twice == [], "spans were told twice"
    timed = [request, workflow, *legs, *activities(tree)]
    assert all(span.nanoseconds > 0 for span in timed)


def message_of(hooks: Hooks, operation_id: str) -> Received:
    (message,) = [each for each in hooks.received if each.verified and each.event["operation_id"] == operation_id]
    return message


def the_webhook_belongs_to(tree: TraceTree, message: Received) -> None:
    """The request that the partner got is the child of the attempt that made it, which is under the partner's own request."""
    attempt, workflow = tree.one(f"RunActivity:{ATTEMPT}"), tree.one("RunWorkflow:DeliverWebhookWorkflow")
    assert message.headers["traceparent"] == f"00-{attempt.trace_id}-{attempt.id}-01"
    assert message.event["trace_id"] == attempt.trace_id
    assert [span.name for span in tree.ancestors(attempt)] == [
        f"StartActivity:{ATTEMPT}",
        "RunWorkflow:DeliverWebhookWorkflow",
        "StartWorkflow:DeliverWebhookWorkflow",
        "POST /v1/loans",
    ]
    assert {span.service for span in (attempt, *tree.ancestors(attempt))} == {"worker-webhooks", "api"}
    assert all(span.nanoseconds > 0 for span in (attempt, workflow))


def activities(tree: TraceTree) -> list[Span]:
    return [span for span in tree.spans if span.name.startswith("RunActivity:")]


def steps_of(tree: TraceTree, what: str) -> dict[str, int]:
    return dict(Counter(span.name.partition(":")[2] for span in tree.spans if span.name.startswith(f"{what}:")))
