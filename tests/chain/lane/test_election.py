"""The right to write ends with the session that held the lock."""

import asyncio

import pytest
import structlog
from sqlalchemy import func, select, text, update

from chain.alarms import Alarms
from chain.allowance import AllowanceKeeper
from chain.attempts import AttemptSigner
from chain.election import Office, TermOver, beat, elected, take_office
from chain.fees import FeeReader
from chain.gas import GasGuard
from chain.preparing import Preparer
from chain.sending import Outbox
from models.statuses import TransactionState
from models.tables.transactions import ChainSigner
from tests.chain.lane.desk import Desk, eventually


async def test_a_term_never_goes_on_in_another_session(desk: Desk) -> None:
    """Once its session is gone a term writes nothing more, though the pool would gladly open another session."""
    log = structlog.get_logger()
    async with elected(desk.database, desk.config, asyncio.Event(), log) as term:
        assert term is not None
        async with term.transaction() as session:
            pid = await session.scalar(select(func.pg_backend_pid()))
        async with desk.transaction() as session:
            await session.execute(select(func.pg_terminate_backend(pid)))
        for _ in range(3):
            with pytest.raises(TermOver):
                async with term.transaction() as session:
                    await session.execute(select(1))


async def test_an_interrupted_transaction_ends_the_term(desk: Desk) -> None:
    """A transaction that was cancelled leaves its session in a state that nobody knows, so the term is over."""
    log = structlog.get_logger()
    async with elected(desk.database, desk.config, asyncio.Event(), log) as term:
        assert term is not None

        async def sleep_inside() -> None:
            async with term.transaction() as session:
                await session.execute(select(func.pg_sleep(20)))

        sleeping = asyncio.create_task(sleep_inside())
        await asyncio.wait({sleeping}, timeout=0.2)
        sleeping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sleeping
        with pytest.raises(TermOver):
            async with term.transaction():
                pass


async def test_no_nonce_is_taken_in_somebody_elses_term(desk: Desk) -> None:
    """Where the signer's row names another session, neither a nonce nor a beat is written."""
    log = structlog.get_logger()
    await desk.lane_known()
    async with elected(desk.database, desk.config, asyncio.Event(), log) as term:
        assert term is not None
        office = Office(term, desk.world.client, desk.config, log)
        await take_office(office)
        operation_id = await desk.settle()
        async with desk.transaction() as session:
            await session.execute(update(ChainSigner).values(lane_backend_pid=1))
        alarms = Alarms(office)
        guard = GasGuard(desk.config, FeeReader(office.node, desk.config), alarms)
        signer = AttemptSigner(desk.signer, desk.config.chain_id)
        preparer = Preparer(office, signer, Outbox(office, alarms), AllowanceKeeper(office, alarms), guard)
        with pytest.raises(TermOver):
            await preparer.prepare_batch()
        with pytest.raises(TermOver):
            await beat(office)
    assert (await desk.row(operation_id)).state is TransactionState.QUEUED
    assert (await desk.signer_row()).next_nonce == 0


async def test_the_lock_is_free_once_a_term_has_ended(desk: Desk) -> None:
    """A session that went back into the pool with its lock would keep every other lane out."""
    async with elected(desk.database, desk.config, asyncio.Event(), structlog.get_logger()) as term:
        assert term is not None
        assert await _locks(desk) == 1
    await eventually(lambda: _is_free(desk))


async def _locks(desk: Desk) -> int:
    held = text(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    async with desk.transaction() as session:
        return int(await session.scalar(held) or 0)


async def _is_free(desk: Desk) -> bool:
    return await _locks(desk) == 0
