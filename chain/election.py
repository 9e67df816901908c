"""Who may give out a signer's nonces: the one database session that holds the signer's advisory lock.

The holder does all its writing on that very session. So when PostgreSQL ends the session, because its process died or
because a candidate found it silent, a holder that wakes up again can write nothing, and sends nothing either, since what
is sent is stored first. A stopped process keeps its connection and its lock, which is why silence is enough to end it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import BigInteger, func, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession
from structlog.typing import FilteringBoundLogger

from chain.lane_config import LaneConfig, LaneNode
from models.tables.transactions import ChainSigner

_TRY_LOCK = text("SELECT pg_try_advisory_lock(hashtextextended(:name, 0))")
_HOLDER = text(
    """
    SELECT locks.pid, signers.lane_beat_at
    FROM pg_locks AS locks
    LEFT JOIN chain_signers AS signers ON signers.chain_id = :chain_id AND signers.address = :address
    WHERE locks.locktype = 'advisory' AND locks.granted AND locks.objsubid = 1
      AND locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND (locks.classid::bigint << 32 | locks.objid::bigint) = hashtextextended(:name, 0)
    """
)
_BOUND_WAITS = text(
    "SELECT set_config('lock_timeout', :lock, false), set_config('statement_timeout', :statement, false)"
)


class TermOver(Exception):
    """The session that held the lock is gone, and the right to write with it."""


class Term:
    """One holding of the lock. Its transactions run one at a time, all on the session that holds the lock."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
        self._turn = asyncio.Lock()
        self._over = False

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """Commits at its end. Raises TermOver where the session is gone; then it is not known whether it committed.

        SQLAlchemy would silently open another session after a loss, one without the lock: hence the check before each.
        """
        async with self._turn:
            if self._over or self._connection.invalidated:
                raise TermOver
            try:
                async with AsyncSession(self._connection, expire_on_commit=False) as session, session.begin():
                    yield session
            except asyncio.CancelledError:
                self._over = True
                raise
            except DBAPIError as error:
                if not error.connection_invalidated:
                    raise
                self._over = True
                raise TermOver from error


@dataclass(frozen=True)
class Office:
    """What the parts of a lane share for the length of one term."""

    term: Term
    node: LaneNode
    config: LaneConfig
    log: FilteringBoundLogger


@asynccontextmanager
async def elected(
    engine: AsyncEngine, config: LaneConfig, stopping: asyncio.Event, log: FilteringBoundLogger
) -> AsyncIterator[Term | None]:
    """Waits for the lock and yields the term; None where the wait was stopped. Ends by closing the session."""
    async with engine.connect() as connection:
        try:
            await _bound_waits(connection, config.silence_limit)
            won = await _wait_for_lock(connection, config, stopping, log)
            yield Term(connection) if won else None
        finally:
            # Back in the pool, the session would keep the lock.
            await connection.invalidate()


async def take_office(office: Office) -> None:
    """Writes whose the term is. The first term of all also writes the signer's first nonce, as the chain knows it."""
    term, config = office.term, office.config
    ours = (ChainSigner.chain_id == config.chain_id, ChainSigner.address == config.wallet)
    holder = {"lane_backend_pid": func.pg_backend_pid(), "lane_beat_at": func.clock_timestamp()}
    async with term.transaction() as session:
        known = await session.scalar(update(ChainSigner).where(*ours).values(holder).returning(ChainSigner.address))
    if known is not None:
        return
    nonce = await office.node.nonce(config.wallet, "latest")
    async with term.transaction() as session:
        session.add(
            ChainSigner(
                chain_id=config.chain_id,
                address=config.wallet,
                first_nonce=nonce,
                next_nonce=nonce,
                lane_backend_pid=await session.scalar(select(func.pg_backend_pid())),
                lane_beat_at=await session.scalar(select(func.clock_timestamp())),
            )
        )


@dataclass(frozen=True, slots=True)
class Standing:
    """What the locked row of the signer says."""

    next_nonce: int
    paused: bool


async def lock_signer(session: AsyncSession, config: LaneConfig) -> Standing:
    """Before anything new is signed for: the row must name this very session, or the term is over. Raises TermOver."""
    query = select(
        ChainSigner.next_nonce,
        ChainSigner.paused_at,
        ChainSigner.lane_backend_pid,
        func.pg_backend_pid(type_=BigInteger).label("own_pid"),
    ).where(ChainSigner.chain_id == config.chain_id, ChainSigner.address == config.wallet)
    # FOR NO KEY UPDATE lets submissions go on, whose foreign key needs the row to stay.
    row = (await session.execute(query.with_for_update(key_share=True))).one()
    if row.lane_backend_pid != row.own_pid:
        raise TermOver
    return Standing(row.next_nonce, row.paused_at is not None)


async def beat(office: Office) -> None:
    """Shows that the holder is alive. Raises TermOver where the row names another session."""
    config = office.config
    statement = (
        update(ChainSigner)
        .where(
            ChainSigner.chain_id == config.chain_id,
            ChainSigner.address == config.wallet,
            ChainSigner.lane_backend_pid == func.pg_backend_pid(),
        )
        .values(lane_beat_at=func.clock_timestamp())
        .returning(ChainSigner.address)
    )
    async with office.term.transaction() as session:
        if await session.scalar(statement) is None:
            raise TermOver


async def _bound_waits(connection: AsyncConnection, silence_limit: timedelta) -> None:
    """No single statement may last as long as the silence for which a holder is ended."""
    limit = int(silence_limit.total_seconds() * 1000)
    async with connection.begin():
        await connection.execute(_BOUND_WAITS, {"lock": f"{limit // 4}ms", "statement": f"{limit // 2}ms"})


async def _wait_for_lock(
    connection: AsyncConnection, config: LaneConfig, stopping: asyncio.Event, log: FilteringBoundLogger
) -> bool:
    """Ends a holder that is seen not to beat for the silence limit, by this process's own clock."""
    clock = asyncio.get_running_loop().time
    seen: tuple[int, datetime | None] | None = None
    since = clock()
    while not stopping.is_set():
        async with connection.begin():
            if await connection.scalar(_TRY_LOCK, {"name": config.lock_name}):
                return True
            holder = await _holder(connection, config)
        if holder != seen:
            seen, since = holder, clock()
        elif holder is not None and clock() - since > config.silence_limit.total_seconds():
            log.warning("silent_lane_ended", lane=config.lock_name, backend_pid=holder[0], last_beat=holder[1])
            async with connection.begin():
                await connection.execute(select(func.pg_terminate_backend(holder[0])))
        await _pause(stopping, config.beat)
    return False


async def _holder(connection: AsyncConnection, config: LaneConfig) -> tuple[int, datetime | None] | None:
    values = {"name": config.lock_name, "chain_id": config.chain_id, "address": config.wallet}
    row = (await connection.execute(_HOLDER, values)).one_or_none()
    return None if row is None else (row.pid, row.lane_beat_at)


async def _pause(stopping: asyncio.Event, duration: timedelta) -> None:
    try:
        async with asyncio.timeout(duration.total_seconds()):
            await stopping.wait()
    except TimeoutError:
        return
