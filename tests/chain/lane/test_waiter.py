"""Waiting for legs."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest
import pytest_asyncio
from sqlalchemy import text, update

from chain.broken import LegUnknown
from chain.waiter import LegWaiter
from models.statuses import TransactionState
from models.tables.session import open_database
from models.tables.transactions import ChainTransaction
from tests.chain.lane.desk import Desk

PATIENCE = 20
NEVER = timedelta(hours=1)


@pytest_asyncio.fixture
async def waiter(desk: Desk) -> AsyncIterator[LegWaiter]:
    """A waiter that hears of legs by notification alone."""
    await desk.lane_known()
    async with LegWaiter(desk.transaction, desk.database.url, safety_poll=NEVER) as waiter:
        yield waiter


async def test_many_waits_end_with_their_legs(desk: Desk, waiter: LegWaiter) -> None:
    """Each wait ends with the outcome of its own leg, told by a notification."""
    operation_ids = [await desk.settle() for _ in range(20)]
    waits = asyncio.gather(*(waiter.wait(each, "settle", 1, timeout_seconds=PATIENCE) for each in operation_ids))
    async with desk.running():
        outcomes = await waits
    assert {outcome.state for outcome in outcomes} == {TransactionState.FINAL_OK}
    assert len({outcome.tx_hash for outcome in outcomes}) == 20


async def test_a_leg_that_ended_before_is_told_at_once(desk: Desk, waiter: LegWaiter) -> None:
    """Nobody is told again of a leg that is final already, so a new wait looks for itself."""
    operation_id = await desk.settle()
    await _set(desk, TransactionState.ABANDONED)
    outcome = await waiter.wait(operation_id, "settle", 1, timeout_seconds=PATIENCE)
    assert (outcome.state, outcome.patience_ended) == (TransactionState.ABANDONED, False)


async def test_patience_ends(desk: Desk, waiter: LegWaiter) -> None:
    """At the timeout the answer is the leg as it stands."""
    operation_id = await desk.settle()
    outcome = await waiter.wait(operation_id, "settle", 1, timeout_seconds=0)
    assert (outcome.state, outcome.patience_ended) == (TransactionState.QUEUED, True)


async def test_a_leg_that_is_not_there_is_an_error(waiter: LegWaiter) -> None:
    """Absent is not unknown: a leg without a row was never submitted."""
    with pytest.raises(LegUnknown):
        await waiter.wait("borrow:p:k", "settle", 1, timeout_seconds=0)


async def test_held_is_news_once(desk: Desk, waiter: LegWaiter) -> None:
    """A held leg ends a wait, but not the wait of one that knows it; the end of the hold ends both."""
    operation_id = await desk.settle()
    knows = asyncio.create_task(waiter.wait(operation_id, "settle", 1, timeout_seconds=PATIENCE, held_is_known=True))
    await _set(desk, TransactionState.HELD)
    outcome = await waiter.wait(operation_id, "settle", 1, timeout_seconds=PATIENCE)
    assert (outcome.state, outcome.reason) == (TransactionState.HELD, "a test")
    assert not knows.done()
    still = await waiter.wait(operation_id, "settle", 1, timeout_seconds=0, held_is_known=True)
    assert (still.state, still.patience_ended) == (TransactionState.HELD, True)
    await _set(desk, TransactionState.ABANDONED)
    assert (await knows).state is TransactionState.ABANDONED


async def test_a_lost_connection_loses_no_leg(desk: Desk, waiter: LegWaiter) -> None:
    """What happened while nobody listened is found when listening starts again."""
    operation_id = await desk.settle()
    wait = asyncio.create_task(waiter.wait(operation_id, "settle", 1, timeout_seconds=PATIENCE))
    await asyncio.sleep(0)
    outside = open_database(desk.database.url.render_as_string(hide_password=False), pool_size=1)
    await _end_other_sessions(replace(desk, database=outside))
    await _set(replace(desk, database=outside), TransactionState.ABANDONED)
    await outside.dispose()
    assert (await wait).state is TransactionState.ABANDONED


async def test_an_unheard_leg_is_found_by_looking(desk: Desk) -> None:
    """Every so often all waited legs are read, so a notification that is lost costs only time."""
    await desk.lane_known()
    operation_id = await desk.settle()
    async with LegWaiter(desk.transaction, desk.database.url, safety_poll=timedelta(milliseconds=50)) as waiter:
        wait = asyncio.create_task(waiter.wait(operation_id, "settle", 1, timeout_seconds=PATIENCE))
        async with desk.transaction() as session:
            await session.execute(text("SET LOCAL session_replication_role = replica"))  # no triggers
            await session.execute(update(ChainTransaction).values(state=TransactionState.ABANDONED))
        assert (await wait).state is TransactionState.ABANDONED


async def _set(desk: Desk, state: TransactionState) -> None:
    nonce = 0 if state is TransactionState.HELD else None
    async with desk.transaction() as session:
        await session.execute(update(ChainTransaction).values(state=state, held_reason="a test", nonce=nonce))


async def _end_other_sessions(desk: Desk) -> None:
    """Ends every session of this database but one's own, as a restart of PostgreSQL does."""
    others = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    async with desk.transaction() as session:
        await session.execute(text(others))
