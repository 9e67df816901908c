"""Follows what happens to positions on chain without the engine, from the vault's events (money.md section 6)."""

from collections.abc import Mapping, Sequence

import structlog
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from temporalio import activity

from activities.heartbeats import with_heartbeats
from activities.outside_book import PositionKey, record_movement, record_own
from activities.outside_events import FOLLOWED, DebtMoved, debt_moved
from chain.engine_chain import EngineChain
from chain.scan import Cursor, begin_cursor, canonical, move_cursor, next_window, read_cursor, read_logs
from chain.types import Log
from models.errors import EngineError
from models.messages.outside import Followed
from models.statuses import IncidentKind
from models.tables.incident_book import open_incident
from models.tables.loans import SolvencyPosition
from models.tables.session import Transaction
from models.tables.transactions import ChainAttempt, ChainTransaction

CHUNK = 1_000
OVERLAP = 32
"""Blocks that are read again with each new one: a position may have become known, and a node may have lagged."""


class OutsideActivities:
    def __init__(self, transaction: Transaction, chain: EngineChain) -> None:
        self._transaction = transaction
        self._chain = chain

    @activity.defn
    async def follow_positions(self) -> Followed:
        """Applies the vault's events of one chunk of final blocks, with heartbeats."""
        return await with_heartbeats(self.follow())

    async def follow(self) -> Followed:
        """One chunk, in its order on chain. It may be repeated, and end, at any point.

        Each event is one transaction, and the cursor moves after the last, so that no transaction holds the locks of two
        partners.
        """
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
        """Each event of a position that is known, in turn; says how many were movements outside the engine, and new."""
        chain, ours = self._chain, await self._ours(logs)
        events = [(log, event) for log in logs if (event := debt_moved(log)) is not None]
        known = await self._known({event.position_id for _, event in events})
        applied = 0
        for log, event in sorted(events, key=lambda each: (each[0].block_number, each[0].log_index)):
            if event.position_id not in known:
                continue
            key = PositionKey(chain.chain_id, chain.vault_address, event.position_id)
            try:
                applied += await self._apply_one(key, log, event, ours.get(log.tx_hash))
            except (EngineError, IntegrityError) as broken:
                known.remove(event.position_id)
                await self._report(log, event, broken)
        return applied

    async def _apply_one(self, key: PositionKey, log: Log, event: DebtMoved, operation_id: str | None) -> bool:
        async with self._transaction() as session:
            if operation_id is None:
                movement = await record_movement(session, key, log, event)
            else:
                movement = await record_own(session, key, log, event, operation_id)
            return movement is not None

    async def _report(self, log: Log, event: DebtMoved, broken: Exception) -> None:
        """What the rows do not allow concerns this position alone: a person must look, and the others are followed."""
        detail = f"{event.kind} in transaction {log.tx_hash} could not be applied: {broken}"
        async with self._transaction() as session:
            subject, rows = f"position {event.position_id}", [f"solvency_positions {event.position_id}"]
            await open_incident(session, IncidentKind.INVARIANT_BROKEN, subject, detail, rows)
        structlog.get_logger().error("not_followed", position_id=event.position_id, error=repr(broken))

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
