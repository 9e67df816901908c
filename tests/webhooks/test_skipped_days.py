"""A receiver that is away for days, on a clock that skips them: it loses nothing, and nothing spins meanwhile."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest
from temporalio.testing import TimeSkipper, TimeSkippingConfig

from models.messages.webhooks import Delivered, Verdict
from models.statuses import DeliveryState
from tests.engine import until
from tests.webhooks.desk import Desk
from tests.webhooks.partner import Partner, since_yesterday
from tests.webhooks.receiver import Receiver, receiving
from workflows.options import DELIVERY_SCHEDULE

EVENTS = 4
TRIES = len(DELIVERY_SCHEDULE) + 1


async def _have_tried(desk: Desk, events: Sequence[str], endpoint: str) -> bool:
    found = [await desk.delivery(event, endpoint) for event in events]
    return all(each is not None and each.attempts > 0 for each in found)


async def _all_arrived(receiver: Receiver, events: Sequence[str]) -> bool:
    return {event["id"] for event in receiver.events} >= set(events)


async def _none_runs(desk: Desk) -> bool:
    return await desk.running() == 0


@pytest.mark.timeout(240)
async def test_a_receiver_that_was_down_for_three_days_gets_everything_by_itself(partner: Partner) -> None:
    """Each event is tried nine times in three days; the next try after them finds the receiver back, and no call was needed."""
    skipper = TimeSkipper(partner.desk.temporal)
    desk = replace(partner.desk, temporal=skipper.client)
    async with receiving(behave=lambda _: 503) as receiver, desk.delivering():
        with skipper.with_time_skipping_disabled():
            made = await partner.endpoint(receiver.url)
            receiver.secrets.append(made["secret"])
            events = [await desk.event() for _ in range(EVENTS)]
            await until(partial(_have_tried, desk, events, made["endpoint_id"]))
        handles = [desk.temporal.get_workflow_handle(f"deliver:{event}:{made['endpoint_id']}") for event in events]
        for handle in handles:
            assert await skipper.fast_forward(handle, timedelta(days=3))
        assert len(receiver.received) == EVENTS * (TRIES - 1)
        receiver.behave = lambda _: 200
        for handle in handles:
            await skipper.fast_forward(handle)
            result = await desk.temporal.get_workflow_handle(handle.id, result_type=Delivered).result()
            assert result == Delivered(verdict=Verdict.DELIVERED, attempts=TRIES)
        assert await _all_arrived(receiver, events)
        assert (await desk.endpoint_row(made["endpoint_id"])).failing_since is None


@pytest.mark.timeout(240)
async def test_what_outlasted_its_schedule_comes_by_one_call(partner: Partner) -> None:
    """After the last try a delivery has failed and its workflow has ended; one redelivery brings all of them."""
    skipper = TimeSkipper(partner.desk.temporal, config=TimeSkippingConfig())
    desk = replace(partner.desk, temporal=skipper.client)
    async with receiving(behave=lambda _: 503) as receiver, desk.delivering():
        made = await partner.endpoint(receiver.url)
        receiver.secrets.append(made["secret"])
        events = [await desk.event() for _ in range(EVENTS)]
        for event in events:
            await until(partial(desk.is_in, event, made["endpoint_id"], DeliveryState.FAILED))
        assert len(receiver.received) == EVENTS * TRIES
        await until(partial(_none_runs, desk))
        receiver.behave = lambda _: 200
        sent = await partner.made("POST", f"/webhook-endpoints/{made['endpoint_id']}/redeliver", json=since_yesterday())
        assert sent == {"deliveries": EVENTS, "more": False}
        for event in events:
            await until(partial(desk.is_in, event, made["endpoint_id"], DeliveryState.DELIVERED))
        assert await _all_arrived(receiver, events)
