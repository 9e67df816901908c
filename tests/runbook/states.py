"""What the tests of the runbook's entries share: one engine for a file, its figures, and what its alerts would see."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

from httpx import Response
from prometheus_client import CollectorRegistry, generate_latest
from sqlalchemy import func, select, update

from metrics.rows import SOURCES, LoanCounts
from metrics.samples import LatestSamples, Sample
from metrics.signers import read_signers
from models.statuses import LegName
from models.tables.operations import Event, Operation
from models.tables.operators import Incident
from models.tables.transactions import ChainTransaction
from tests.chain.world import USD
from tests.engine import Engine, until
from tests.metrics.scraping import Scrape, parsed
from tests.operating import variables
from tests.workflows.moments import leg_is
from tests.workflows.test_runs_again import hold_after
from wiring import Parts

HOUR_AND_MORE = timedelta(minutes=61)


@asynccontextmanager
async def at_work(engine: Engine) -> AsyncIterator[Engine]:
    """Both roles run, for a partner of the test's own."""
    engine.partner = await engine.new_partner()
    async with engine.lane(), engine.loans():
        yield engine


async def figures(engine: Engine) -> Scrape:
    """What a worker would tell of the rows now."""
    market = await engine.client.market(engine.chain.wallet)
    async with engine.transaction() as session:
        samples: list[Sample] = []
        for source in (*SOURCES, LoanCounts().read):
            samples += await source(session)
        samples += await read_signers(session, engine.chain.wallet, market)
    registry = CollectorRegistry()
    LatestSamples(registry, stale_after=60).put(samples)
    return parsed(generate_latest(registry).decode())


async def figure(engine: Engine, name: str, **labels: str) -> float:
    found = (await figures(engine)).get(name, **labels)
    assert found is not None, name
    return float(found)


async def waits_for_allowance(engine: Engine) -> Response:
    """The answer to a repayment that is collected, and goes on when a lane has given the vault its allowance."""
    borrower = await engine.new_borrower()
    async with engine.lane():
        await engine.active_loan(borrower)
        hold_after(engine, LegName.COLLECT)
        answer = await engine.repay(borrower, {"amount": str(1_000 * USD)})
        operation_id = answer.json()["operation_id"]
        await until(partial(leg_is, engine, operation_id, ("collect", 1, "FINAL_OK")))
    engine.release_submissions()
    await until(partial(leg_is, engine, operation_id, ("repay", 1, "QUEUED")))
    return answer


async def waits_for_an_hour(engine: Engine, operation_id: str) -> None:
    """As if its partner had been told of the delay so long ago."""
    told = update(Event).where(Event.operation_id == operation_id, Event.type.endswith(".delayed"))
    async with engine.transaction() as session:
        await session.execute(told.values(created_at=func.now() - HOUR_AND_MORE))


async def stands_still(engine: Engine, operation_id: str) -> None:
    """As if nothing of it had moved for so long."""
    then = func.now() - HOUR_AND_MORE
    operation = update(Operation).where(Operation.id == operation_id).values(received_at=then, decided_at=then)
    legs = update(ChainTransaction).where(ChainTransaction.operation_id == operation_id).values(queued_at=then)
    async with engine.transaction() as session:
        await session.execute(operation)
        await session.execute(legs)


async def open_kinds(engine: Engine) -> list[str]:
    query = select(Incident.kind).where(Incident.closed_at.is_(None)).order_by(Incident.opened_at)
    async with engine.transaction() as session:
        return [str(kind) for kind in await session.scalars(query)]


async def stands(engine: Engine, kind: str) -> None:
    async def is_open() -> bool:
        return kind in await open_kinds(engine)

    await until(is_open)


async def is_over(engine: Engine, kind: str) -> None:
    async def is_closed() -> bool:
        return kind not in await open_kinds(engine)

    await until(is_closed)


def told(engine: Engine, **settings: Any) -> Engine:
    """The same engine, as processes that are told otherwise would see it."""
    changed = engine.settings.model_copy(update=settings)
    return replace(engine, settings=changed, parts=Parts(changed, engine.parts.database, engine.chain))


def environment(engine: Engine, **more: str) -> dict[str, str]:
    """What the engine's processes and Temporal's own program read."""
    settings = engine.settings
    return {
        **variables(settings),
        "ENGINE_SIGNER_KEY_FILE": str(engine.signer_file),
        "TEMPORAL_ADDRESS": settings.temporal_address,
        "TEMPORAL_NAMESPACE": settings.temporal_namespace,
        **more,
    }
