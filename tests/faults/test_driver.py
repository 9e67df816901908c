"""The driver's own verdict can fail: what was lost, told otherwise or never paid out is named."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest_asyncio
from sqlalchemy import update

from models.tables.operations import Event, Operation
from tests.faults.asking import Request, Told
from tests.faults.driver import Driven, driven
from tests.faults.processes import Site
from tests.faults.scenes import PRINCIPAL


@pytest_asyncio.fixture(scope="module")
async def engine(site: Site) -> AsyncIterator[Driven]:
    async with driven(site, 1, houses=1, lines=3, CONFIRMATIONS="1") as engine:
        yield engine


async def test_each_loss_is_named(engine: Driven) -> None:
    """After a sound run nothing is wrong; then each forged loss is found, and by its name."""
    (house,) = engine.scenes.houses
    await engine.scenes.borrows(house)
    assert await engine.comes_to_rest() == []
    request, told = engine.partners.told[0]
    await _unsent(engine)
    await _terminal_event_gone(engine, request)
    await _another_outcome(engine, request)
    found = await engine._lost()
    assert [breach.partition(request.operation_id)[2] for breach in found[1:]] == [
        " ended as {'status': 'FAILED'}",
        " has 0 terminal events",
    ]
    assert found[0].endswith("was asked for and is lost")
    engine.partners.told[:] = [(request, replace(told, terms={"quote": None}))]
    (otherwise,) = await engine._told_otherwise()
    assert otherwise.startswith(f"{request.operation_id} was told")


async def _unsent(engine: Driven) -> None:
    """A request that a partner believes decided, and that the engine has no row of."""
    (house,) = engine.scenes.houses
    request = Request.borrow(house.account, house.free[-1], PRINCIPAL, "never-sent")
    engine.partners.told.append((request, Told(202, None, request.operation_id, {})))


async def _terminal_event_gone(engine: Driven, request: Request) -> None:
    async with engine.running.engine.transaction() as session:
        mine = update(Event).where(Event.operation_id == request.operation_id)
        await session.execute(mine.values(type="loan.delayed"))


async def _another_outcome(engine: Driven, request: Request) -> None:
    async with engine.running.engine.transaction() as session:
        mine = update(Operation).where(Operation.id == request.operation_id)
        await session.execute(mine.values(outcome={"status": "FAILED"}))
