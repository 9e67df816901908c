"""What the lane remembers of its own alarms, while several of its loops raise them."""

import asyncio

import structlog

from chain.alarms import Alarms
from chain.election import Office, Term
from models.statuses import IncidentKind
from tests.chain.lane.desk import Desk


async def test_alarms_that_are_raised_at_once_are_both_remembered(desk: Desk) -> None:
    """The first of all that two loops raise at the same moment are closed when they have passed."""
    async with desk.database.connect() as connection:
        office = Office(Term(connection), desk.world.client, desk.config, structlog.get_logger())
        alarms = Alarms(office)
        low, dear = IncidentKind.GAS_LOW, IncidentKind.FEE_CAP_REACHED
        await asyncio.gather(*(alarms.open(kind, "lane", "a test") for kind in (low, dear)))
        assert await desk.incidents() == {(low, "lane"), (dear, "lane")}
        for kind in (low, dear):
            await alarms.close(kind, ["lane"])
    assert await desk.incidents() == set()
