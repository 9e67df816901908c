"""Follows what happens to positions on chain without the engine, from the vault's events (money.md section 6)."""

import sys
from collections.abc import Mapping, Sequence

import structlog
from sqlalchemy import func, select
from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from temporalio import activity

from activities.heartbeats import with_heartbeats
from activities.outside_book import Point, PositionKey, record_movement, record_own
from activities.outside_events import FOLLOWED, DebtMoved, debt_moved
from activities.unapplied import Waiting, first_places, forget, keep, place_of, read_waiting, report
from chain.engine_chain import EngineChain
from chain.scan import Cursor, begin_cursor, canonical, move_cursor, next_window, read_cursor, read_logs
from chain.types import Log
from models.errors import EngineError
from models.messages.outside import Followed
from models.tables.loans import OutsideMovement, SolvencyPosition
from models.tables.session import Transaction
from models.tables.transactions import ChainAttempt, ChainTransaction

CHUNK = 1_000
OVERLAP = 32
"""Blocks that are read again with each new one: a position may have become known, and a node may have lagged."""
REFUSED = (EngineError, IntegrityError, DataError)
"""What the rows, or the rules above them, do not allow; anything else is a fault of the moment, and ends the turn."""
NOWHERE: Point = (sys.maxsize, 0)


class OutsideActivities:
    def __init__(self, transaction: Transaction, chain: EngineChain) -> None:
        self._transaction = transaction
        self._chain = chain

    @activity.defn
    async def follow_positions(self) -> Followed:
        """Applies the vault's events of one chunk of final blocks, with heartbeats."""
        return await with_heartbeats(self.follow())

    async def follow(self) -> Followed:
        """What waits from earlier turns, and one chunk, in its order on chain. It may be repeated, and end, at any point.

        Each event is one transaction, and the cursor moves after the last, so that no transaction holds the locks of two
        partners. What the rows refuse is kept before the cursor moves.
        """
        applied = await self._try_again()
        followed = await self._follow_chunk()
        return followed.model_copy(update={"movements": followed.movements + applied})

    async def _follow_chunk(self) -> Followed:
        chain, cursor = self._chain, await self._cursor()
        head = await chain.client.head()
        final = await chain.finality.newest_block(chain.client, head)
        window = None if cursor is None else next_window(cursor, final, chunk=CHUNK, overlap=OVERLAP)
        if window is None:
            return Followed(block_number=final)
        found = await read_logs(chain.client, chain.vault_address, [FOLLOWED], window.start, window.end)
        logs = await canonical(chain.client, found, window.end)
        if logs is None:
            return Followed()
        movements = await self._apply(logs)
        if movements:
            structlog.get_logger().info(
                "moved_outside", movements=movements, from_block=window.start, to_block=window.end
            )
        async with self._transaction() as session:
            await move_cursor(session, chain.chain_id, chain.vault_address, window.end)
        return Followed(block_number=window.end, movements=movements, more=window.more)

    async def _cursor(self) -> Cursor | None:
        """The first scan of all starts where the first position was seen, free of debt; None while there is none."""
        chain = self._chain
        first = select(func.min(SolvencyPosition.seen_at_block)).where(
            SolvencyPosition.chain_id == chain.chain_id, SolvencyPosition.vault_address == chain.vault_address
        )
        async with self._transaction() as session:
            cursor = await read_cursor(session, chain.chain_id, chain.vault_address)
            if cursor is None and (block := await session.scalar(first)) is not None:
                cursor = await begin_cursor(session, chain.chain_id, chain.vault_address, block)
            return cursor

    async def _apply(self, logs: Sequence[Log]) -> int:
        """Each event of a position that is known, in turn; says how many were movements outside the engine, and new.

        Where a position is held up, what comes after that waits behind it: whose debt an event moved depends on what came
        before it. What turns up late and belongs before it is applied.
        """
        chain, ours = self._chain, await self._ours(logs)
        events = [(log, event) for log in logs if (event := debt_moved(log)) is not None]
        known = await self._known({event.position_id for _, event in events})
        held_up = first_places(await self._waiting())
        applied = 0
        for log, event in sorted(events, key=lambda each: place_of(each[0])):
            if event.position_id not in known:
                continue
            key = PositionKey(chain.chain_id, chain.vault_address, event.position_id)
            if place_of(log) >= held_up.get(event.position_id, NOWHERE):
                await self._keep(key, log, event)
                continue
            try:
                applied += await self._apply_one(key, log, event, ours.get(log.tx_hash))
            except REFUSED as broken:
                held_up[event.position_id] = place_of(log)
                await self._keep(key, log, event, broken)
        return applied

    async def _try_again(self) -> int:
        """What waits, position by position: the first that is refused again holds up those behind it."""
        waiting = await self._waiting()
        ours = await self._ours([each.log for each in waiting]) if waiting else {}
        held_up: set[int] = set()
        applied = 0
        for each in waiting:
            if each.key.position_id in held_up:
                continue
            try:
                applied += await self._apply_waiting(each, ours.get(each.log.tx_hash))
            except REFUSED as broken:
                held_up.add(each.key.position_id)
                async with self._transaction() as session:
                    await report(session, each.key, each.log, str(broken))
        return applied

    async def _apply_waiting(self, waiting: Waiting, operation_id: str | None) -> bool:
        """In one transaction with its end as one that waits: an event that is applied waits no more, and the reverse."""
        async with self._transaction() as session:
            movement = await _record(session, waiting.key, waiting.log, waiting.event, operation_id)
            await session.flush()
            await forget(session, waiting)
            return movement is not None

    async def _apply_one(self, key: PositionKey, log: Log, event: DebtMoved, operation_id: str | None) -> bool:
        async with self._transaction() as session:
            return await _record(session, key, log, event, operation_id) is not None

    async def _keep(self, key: PositionKey, log: Log, event: DebtMoved, refused: Exception | None = None) -> None:
        async with self._transaction() as session:
            await keep(session, key, log, event)
            if refused is not None:
                await report(session, key, log, str(refused))
                structlog.get_logger().error("not_followed", position_id=event.position_id, error=repr(refused))

    async def _waiting(self) -> list[Waiting]:
        async with self._transaction() as session:
            return await read_waiting(session, self._chain.chain_id, self._chain.vault_address)

    async def _ours(self, logs: Sequence[Log]) -> Mapping[str, str]:
        """The operation of each transaction that the engine has signed; an attempt is stored before it is sent."""
        query = (
            select(ChainAttempt.hash, ChainTransaction.operation_id)
            .join(ChainTransaction, ChainTransaction.id == ChainAttempt.transaction_id)
            .where(ChainAttempt.hash.in_({log.tx_hash for log in logs}))
        )
        async with self._transaction() as session:
            return {row.hash: row.operation_id for row in await session.execute(query)}

    async def _known(self, position_ids: set[int]) -> set[int]:
        chain = self._chain
        query = select(SolvencyPosition.position_id).where(
            SolvencyPosition.chain_id == chain.chain_id,
            SolvencyPosition.vault_address == chain.vault_address,
            SolvencyPosition.position_id.in_(position_ids),
        )
        async with self._transaction() as session:
            return {int(position_id) for position_id in await session.scalars(query)}


async def _record(
    session: AsyncSession, key: PositionKey, log: Log, event: DebtMoved, operation_id: str | None
) -> OutsideMovement | None:
    """``operation_id`` is whose transaction it was, where it was one of the engine's."""
    if operation_id is None:
        return await record_movement(session, key, log, event)
    return await record_own(session, key, log, event, operation_id)
