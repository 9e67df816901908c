"""An event reaches every endpoint that wants it, signed, once where all goes well and again where it does not."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from sqlalchemy import select
from temporalio.client import WorkflowExecutionStatus

from activities.webhooks.signing import new_secret, seal
from models.statuses import DeliveryState, DisabledBecause, EndpointState, EventType, IncidentKind
from models.tables.operators import Incident
from models.tables.webhook_book import disable, lock_endpoint
from models.tables.webhooks import WebhookDelivery, WebhookEndpoint
from tests.engine import until
from tests.webhooks.desk import SEALER, Desk
from tests.webhooks.receiver import receiving


async def test_an_event_arrives_signed_and_whole(desk: Desk) -> None:
    """The library verifies it, its id is in the header, the trace goes on, and the try is recorded."""
    secret = new_secret()
    async with receiving([secret]) as receiver, desk.delivering():
        endpoint = await desk.endpoint(receiver.url, secret=secret)
        event = await desk.event()
        await until(partial(desk.is_in, event, endpoint, DeliveryState.DELIVERED))
    (message,) = receiver.received
    assert message.verified
    assert message.headers["webhook-id"] == message.event["id"] == event
    assert re.fullmatch(r"00-4bf92f3577b34da6a3ce929d0e0e4736-[0-9a-f]{16}-01", message.headers["traceparent"])
    assert message.event["type"] == "loan.borrowed"
    _, loan = await desk.operation_of(event)
    assert message.event["data"]["loan_id"] == loan.id
    assert message.event["data"]["principal"] == str(loan.principal)
    (attempt,) = await desk.attempts(endpoint)
    assert (attempt.number, attempt.status, attempt.answer, attempt.error) == (1, 200, "thanks", None)


async def test_who_wants_what(desk: Desk) -> None:
    """Each endpoint gets what its filter lets through; a disabled one and another partner's get nothing."""
    async with receiving() as all_of_them, receiving() as repaid, receiving() as off, desk.delivering():
        first = await desk.endpoint(all_of_them.url)
        second = await desk.endpoint(repaid.url, EventType.LOAN_REPAID)
        await desk.endpoint(off.url, state=EndpointState.DISABLED, disabled_because=DisabledBecause.PARTNER)
        borrowed, paid = await desk.event(), await desk.event(EventType.LOAN_REPAID)
        for event, endpoint in ((borrowed, first), (paid, first), (paid, second)):
            await until(partial(desk.is_in, event, endpoint, DeliveryState.DELIVERED))
        assert await desk.delivery(borrowed, second) is None
    assert len(all_of_them.received) == 2
    assert [each.event["id"] for each in repaid.received] == [paid]
    assert off.received == []


async def test_two_dispatchers_start_a_delivery_once(desk: Desk) -> None:
    """However many processes look at the rows, there is one workflow by its id, and one message."""
    async with receiving() as receiver, desk.delivering(), desk.dispatching(), desk.dispatching():
        endpoint = await desk.endpoint(receiver.url)
        events = [await desk.event() for _ in range(20)]
        for event in events:
            await until(partial(desk.is_in, event, endpoint, DeliveryState.DELIVERED))
    assert sorted(each.event["id"] for each in receiver.received) == sorted(events)


async def test_a_failure_is_tried_again_with_the_same_id_and_body(desk: Desk) -> None:
    """After about five seconds; a success afterwards ends the endpoint's failing."""
    async with receiving(behave=lambda number: 500 if number == 1 else 204) as receiver, desk.delivering():
        endpoint = await desk.endpoint(receiver.url)
        event = await desk.event()
        await until(partial(desk.is_in, event, endpoint, DeliveryState.RUNNING))
        await until(partial(receiver.has, 1))
        await until(partial(desk.is_in, event, endpoint, DeliveryState.DELIVERED))
    first, second = receiver.received
    assert first.body == second.body
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    failed, succeeded = await desk.attempts(endpoint)
    assert (failed.number, failed.status, succeeded.number, succeeded.status) == (1, 500, 2, 204)
    assert timedelta(seconds=4) < succeeded.at - failed.at < timedelta(seconds=9)
    assert (await desk.endpoint_row(endpoint)).failing_since is None


async def test_an_answer_of_410_disables_at_once(desk: Desk) -> None:
    """The receiver says that it is gone for good; nobody else need be told, and nothing runs on."""
    async with receiving(behave=lambda _: 410) as receiver, desk.delivering():
        endpoint = await desk.endpoint(receiver.url)
        event = await desk.event()
        await until(partial(desk.is_in, event, endpoint, DeliveryState.STOPPED))
        row = await desk.endpoint_row(endpoint)
        assert (row.state, row.disabled_because) == (EndpointState.DISABLED, DisabledBecause.GONE)
        await until(partial(_nothing_runs, desk))
    assert len(receiver.received) == 1


async def test_five_days_of_failure_disable_and_alert(desk: Desk) -> None:
    """The failure that makes it five days stops all deliveries of the endpoint, ends their workflows and opens an incident."""
    async with receiving(behave=lambda _: 500) as receiver, desk.delivering():
        endpoint = await desk.endpoint(receiver.url)
        waiting = await desk.event()
        await until(partial(receiver.has, 1))
        await until(partial(_has_tried, desk, waiting, endpoint))
        await desk.failing_for(endpoint, timedelta(days=5))
        last = await desk.event()
        for event in (waiting, last):
            await until(partial(desk.is_in, event, endpoint, DeliveryState.STOPPED))
        row = await desk.endpoint_row(endpoint)
        assert (row.state, row.disabled_because) == (EndpointState.DISABLED, DisabledBecause.FAILING)
        await until(partial(_nothing_runs, desk))
    async with desk.transaction() as session:
        incident = (await session.scalars(select(Incident))).one()
    assert (incident.kind, incident.subject) == (IncidentKind.WEBHOOK_ENDPOINT_FAILING, endpoint)


async def test_deliveries_of_a_disabled_endpoint_end(desk: Desk) -> None:
    """Those that wait for hours are ended when their endpoint is disabled, and rows ask for nothing any more."""
    async with receiving(behave=lambda _: 503) as receiver, desk.delivering():
        endpoint = await desk.endpoint(receiver.url)
        events = [await desk.event() for _ in range(3)]
        for event in events:
            await until(partial(_has_tried, desk, event, endpoint))
        assert await desk.running() == 3
        async with desk.transaction() as session:
            await disable(session, await lock_endpoint(session, endpoint), DisabledBecause.PARTNER)
        await until(partial(_nothing_runs, desk))
        for event in events:
            await until(partial(_is_left_alone, desk, event, endpoint))
            handle = desk.temporal.get_workflow_handle(f"deliver:{event}:{endpoint}")
            assert (await handle.describe()).status is WorkflowExecutionStatus.COMPLETED
            assert (await handle.result())["verdict"] == "STOPPED"


async def test_a_workflow_that_a_person_ended_is_made_anew(desk: Desk) -> None:
    """The row says that the event has not arrived, so another round begins, with the same webhook-id."""
    async with receiving(behave=lambda number: 500 if number == 1 else 200) as receiver, desk.delivering():
        endpoint = await desk.endpoint(receiver.url)
        event = await desk.event()
        await until(partial(_has_tried, desk, event, endpoint))
        await desk.temporal.get_workflow_handle(f"deliver:{event}:{endpoint}").terminate("the test says so")
        async with desk.transaction() as session:
            found = await session.get_one(WebhookDelivery, (event, endpoint))
            found.look_at = datetime.now(UTC)
        await until(partial(desk.is_in, event, endpoint, DeliveryState.DELIVERED))
    assert {each.headers["webhook-id"] for each in receiver.received} == {event}
    assert (await _row(desk, event, endpoint)).round == 2


async def test_a_secret_that_rotates_fails_nobody(desk: Desk) -> None:
    """While the old secret signs beside the new one, a receiver that knows either verifies every message."""
    old, new = new_secret(), new_secret()
    async with receiving([old]) as not_yet, receiving([new]) as already, desk.delivering():
        endpoints = [await desk.endpoint(each.url, secret=old) for each in (not_yet, already)]
        for endpoint in endpoints:
            async with desk.transaction() as session:
                row = await session.get_one(WebhookEndpoint, endpoint)
                row.previous_secret, row.secret = row.secret, seal(SEALER, new, endpoint)
                row.previous_secret_expires_at = datetime.now(UTC) + timedelta(hours=1)
        event = await desk.event()
        for endpoint in endpoints:
            await until(partial(desk.is_in, event, endpoint, DeliveryState.DELIVERED))
        assert [each.verified for each in (*not_yet.received, *already.received)] == [True, True]
        assert not_yet.received[0].headers["webhook-signature"].count("v1,") == 2
        async with desk.transaction() as session:
            row = await session.get_one(WebhookEndpoint, endpoints[0])
            row.previous_secret_expires_at = datetime.now(UTC) - timedelta(seconds=1)
        later = await desk.event()
        await until(partial(desk.is_in, later, endpoints[0], DeliveryState.DELIVERED))
    assert not not_yet.received[-1].verified


async def test_no_secret_is_in_a_history(desk: Desk) -> None:
    """Whoever may look at Temporal learns neither a secret nor what was sent."""
    secret = new_secret()
    async with receiving([secret]) as receiver, desk.delivering():
        endpoint = await desk.endpoint(receiver.url, secret=secret)
        event = await desk.event()
        await until(partial(desk.is_in, event, endpoint, DeliveryState.DELIVERED))
        handle = desk.temporal.get_workflow_handle(f"deliver:{event}:{endpoint}")
        await handle.result()
        history = (await handle.fetch_history()).to_json()
    for unseen in (secret, secret.removeprefix("whsec_"), receiver.url, "loan.borrowed"):
        assert unseen not in history


@pytest.mark.timeout(180)
async def test_a_hanging_endpoint_delays_no_other(desk: Desk) -> None:
    """With far more waiting for an endpoint that never answers than it has places, another's events go through."""
    async with receiving(behave=lambda _: None) as hanging, receiving() as quick, desk.delivering():
        stuck = await desk.endpoint(hanging.url, EventType.LOAN_FAILED)
        fine = await desk.endpoint(quick.url, EventType.LOAN_BORROWED)
        for _ in range(150):
            await desk.event(EventType.LOAN_FAILED)
        await until(partial(hanging.has, 10))
        events = await asyncio.gather(*(desk.event() for _ in range(20)))
        for event in events:
            await until(partial(desk.is_in, event, fine, DeliveryState.DELIVERED), seconds=10)
        assert len(hanging.received) <= 20
        assert (await desk.endpoint_row(stuck)).state is EndpointState.ENABLED
        hanging.released.set()


async def _row(desk: Desk, event: str, endpoint: str) -> WebhookDelivery:
    found = await desk.delivery(event, endpoint)
    assert found is not None
    return found


async def _has_tried(desk: Desk, event: str, endpoint: str) -> bool:
    found = await desk.delivery(event, endpoint)
    return found is not None and found.attempts > 0


async def _is_left_alone(desk: Desk, event: str, endpoint: str) -> bool:
    return (await _row(desk, event, endpoint)).look_at is None


async def _nothing_runs(desk: Desk) -> bool:
    return await desk.running() == 0
