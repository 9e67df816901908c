"""Whoever stops a leg and is answered has stopped it: the lane waits for a change that is being committed."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta

from sqlalchemy import Update, text, update

from chain.client import ChainClient
from models.statuses import PartnerStatus, TransactionState
from models.tables.partners import Partner
from models.tables.transactions import ChainSigner
from tests.chain.lane.desk import Desk, eventually
from tests.chain.lane.interrupted import Interrupted

NEVER, SOON = timedelta(minutes=1), timedelta(milliseconds=100)
NO_BEAT = NEVER
"""A beat would wait for the signer's row in the place of what is tried here."""
_WAITING = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")


async def test_a_pause_that_is_being_written_is_waited_for(desk: Desk) -> None:
    """A pause that is committed while a leg is about to get its nonce comes first: the leg gets none."""
    await desk.lane_known()
    operation_id = await desk.settle()
    async with written_meanwhile(desk, update(ChainSigner).values(paused_at=datetime.now(UTC)), operation_id, "settle"):
        pass
    assert (await desk.row(operation_id)).state is TransactionState.QUEUED
    assert await desk.attempts() == []


async def test_a_suspension_that_is_being_written_is_waited_for(desk: Desk) -> None:
    """A suspension that is committed while a borrow is about to get its nonce comes first: the borrow is abandoned."""
    await desk.lane_known()
    operation_id = await desk.operation()
    await desk.queue(desk.borrow(operation_id))
    suspension = update(Partner).values(status=PartnerStatus.SUSPENDED)
    async with written_meanwhile(desk, suspension, operation_id, "borrow"):
        await desk.until(operation_id, "borrow", TransactionState.ABANDONED)
    assert await desk.attempts() == []


async def test_a_pause_while_a_bump_is_signed_stops_it(desk: Desk, manual_mining: ChainClient) -> None:
    """A signer that is paused while a replacement is being signed signs for nothing: it is neither stored nor sent."""
    await desk.lane_known()
    operation_id = await desk.settle()
    async with desk.running(desk.lane(bump_after=NEVER)):
        await desk.until(operation_id, "settle", TransactionState.BROADCAST)
    async with desk.running(desk.lane(signer=Interrupted(desk.signer, desk.pause), bump_after=SOON)):
        await eventually(lambda: _is_paused(desk))
    assert len(await desk.attempts()) == 1
    await desk.resume()
    async with desk.running():
        await manual_mining.rpc.call("evm_mine")
        await desk.until(operation_id, "settle", TransactionState.FINAL_OK)


async def _is_paused(desk: Desk) -> bool:
    return (await desk.signer_row()).paused_at is not None


@asynccontextmanager
async def written_meanwhile(desk: Desk, change: Update, operation_id: str, leg: str) -> AsyncIterator[None]:
    """A lane in whose first signature a change is written, and committed once the lane waits for it, or has gone on."""
    async with AsyncExitStack() as unfinished:

        async def write() -> None:
            session = await unfinished.enter_async_context(desk.transaction())
            await session.execute(change)

        async def waits_or_went_on() -> bool:
            async with desk.transaction() as session:
                waiting = await session.scalar(_WAITING)
            return bool(waiting) or (await desk.row(operation_id, leg)).state is not TransactionState.QUEUED

        async with desk.running(desk.lane(signer=Interrupted(desk.signer, write), beat=NO_BEAT)):
            await eventually(waits_or_went_on)
            await unfinished.aclose()
            yield
