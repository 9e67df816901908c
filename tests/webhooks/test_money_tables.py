"""Every row of the two tables of money.md tells the partner of its end: once, signed, and by its type.

The whole engine walks each row, and a real receiver verifies what comes by the library of the specification.
"""

from functools import partial

import pytest
from pydantic import SecretStr
from sqlalchemy import func, select

from activities.webhooks.signing import new_secret
from models.statuses import EVENTS_WITHOUT_OPERATION, OPEN_DELIVERIES, TERMINAL_EVENTS, EventType
from models.tables.operations import Event
from models.tables.webhooks import WebhookDelivery
from tests.engine import BuildEngine, Engine, until
from tests.replay.paths import Path
from tests.webhooks.desk import SEALING_KEY, Desk
from tests.webhooks.receiver import Receiver, receiving
from tests.webhooks.rows import BESIDE, BORROW, REPAY, Way
from tests.workflows import rows

WAYS = [
    pytest.param(way, id=f"{row}: {way.name}")
    for table in (BORROW, REPAY, BESIDE)
    for row, ways in table.items()
    for way in ways
]


def test_no_row_is_left_out() -> None:
    """The rows that are walked here are those of the tables, in their order, and none is without a way."""
    assert list(BORROW) == list(rows.BORROW)
    assert list(REPAY) == list(rows.REPAY)
    assert all([*BORROW.values(), *REPAY.values(), *BESIDE.values()])


def test_no_event_of_the_catalogue_is_left_out() -> None:
    """Each type of event that tells of an operation is delivered on one of the ways."""
    told = {kind for table in (BORROW, REPAY, BESIDE) for ways in table.values() for way in ways for kind in way.told}
    assert told == set(EventType) - EVENTS_WITHOUT_OPERATION


@pytest.mark.parametrize("way", WAYS)
async def test_a_row_is_told_once_by_its_type(build_engine: BuildEngine, way: Way) -> None:
    """What is written with the end of an operation arrives at the partner's endpoint, and verifies."""
    secret, settings = new_secret(), {**way.path.settings, "sealing_key": SecretStr(SEALING_KEY)}
    async with (
        receiving([secret], lambda number: 500 if number <= way.failures else 200) as receiver,
        build_engine(**settings) as engine,
    ):
        desk = Desk(engine.parts.database, engine.temporal, engine.settings, engine.partner.id)
        await desk.endpoint(receiver.url, secret=secret)
        async with desk.delivering(), engine.loans():
            operation_id = await walk(engine, way.path)
            await until(partial(all_is_delivered, desk))
    told = told_of(receiver, operation_id)
    assert all(message.verified for message in receiver.received)
    assert sorted(told.values()) in [sorted(map(str, each)) for each in (way.told, (*way.told, *way.perhaps))]
    assert sum(kind in TERMINAL_EVENTS for kind in told.values()) == 1
    ids = {event["id"] for event in receiver.events}
    assert len(receiver.events) == len(ids) + way.failures


async def walk(engine: Engine, path: Path) -> str:
    if not path.lane_runs:
        return await path.walk(engine)
    async with engine.lane():
        await engine.fund_float()
        await until(engine.float_is_booked)
        return await path.walk(engine)


async def all_is_delivered(desk: Desk) -> bool:
    """Nothing that was written is still on its way, so that what has not arrived by now was never told."""
    events = select(func.count()).where(Event.fanned_out_at.is_(None), Event.partner_id.is_not(None))
    deliveries = select(func.count()).where(WebhookDelivery.state.in_(OPEN_DELIVERIES))
    async with desk.transaction() as session:
        return not await session.scalar(events) and not await session.scalar(deliveries)


def told_of(receiver: Receiver, operation_id: str) -> dict[str, str]:
    """The types of an operation's events, by their ids."""
    return {event["id"]: event["type"] for event in receiver.events if event["operation_id"] == operation_id}
