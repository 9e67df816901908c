"""USDC that comes in by itself: every final transfer to the wallet becomes a row and a liability (money.md section 6)."""

from collections.abc import Collection, Sequence

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from chain.contracts.usdc import TRANSFER_EVENT, Transfer, decode_transfer
from chain.election import Office
from chain.legs import address_topic
from chain.scan import Cursor, Window, begin_cursor, canonical, move_cursor, next_window, read_cursor, read_logs
from chain.types import Log
from models import accounts
from models.statuses import InboundState, IncidentKind, LedgerKind
from models.tables import book
from models.tables.book import Entry
from models.tables.incident_book import open_incident
from models.tables.transactions import ChainAttempt, InboundTransfer


class InboundScan:
    """Reads the chain from a stored cursor on; rows, ledger and cursor move in one transaction."""

    def __init__(self, office: Office) -> None:
        self._term = office.term
        self._node = office.node
        self._config = office.config
        self._log = office.log

    async def scan(self) -> bool:
        """One chunk of blocks. Says whether there is more to scan at once."""
        config = self._config
        head = await self._node.head()
        final = await config.finality.newest_block(self._node, head)
        cursor = await self._cursor(head.number)
        window = next_window(cursor, final, chunk=config.inbound_chunk, overlap=config.inbound_overlap)
        if window is None:
            return False
        logs = await canonical(self._node, await self._transfers(window), window.end)
        if logs is None:
            return False
        async with self._term.transaction() as session:
            await self._record(session, logs)
            await move_cursor(session, config.chain_id, config.wallet, window.end)
        return window.more

    async def _cursor(self, head: int) -> Cursor:
        """The first scan of all starts at the head, where no block is configured."""
        config = self._config
        async with self._term.transaction() as session:
            cursor = await read_cursor(session, config.chain_id, config.wallet)
            if cursor is not None:
                return cursor
            first = head if config.inbound_from_block is None else config.inbound_from_block
            return await begin_cursor(session, config.chain_id, config.wallet, first)

    async def _transfers(self, window: Window) -> list[Log]:
        topics = [TRANSFER_EVENT.topic0, None, address_topic(self._config.wallet)]
        return await read_logs(self._node, self._config.usdc, topics, window.start, window.end)

    async def _record(self, session: AsyncSession, logs: Sequence[Log]) -> None:
        known = await self._ours_or_moved(session, {log.tx_hash for log in logs}, logs)
        for log in logs:
            transfer = decode_transfer(log)
            if transfer is not None and transfer.amount > 0 and log.tx_hash not in known:
                await self._record_one(session, log, transfer)

    async def _ours_or_moved(self, session: AsyncSession, hashes: Collection[str], logs: Sequence[Log]) -> set[str]:
        """Transactions that are a leg's, and ones whose transfer was recorded in a block that has left the chain since.

        The second kind cannot be while FINAL means final. It is never credited twice; a person must look.
        """
        ours = set((await session.scalars(select(ChainAttempt.hash).where(ChainAttempt.hash.in_(hashes)))).all())
        recorded = select(InboundTransfer.tx_hash, InboundTransfer.block_hash).where(
            InboundTransfer.chain_id == self._config.chain_id, InboundTransfer.tx_hash.in_(hashes)
        )
        block_of = {log.tx_hash: log.block_hash for log in logs}
        rows = (await session.execute(recorded)).all()
        moved = {row.tx_hash for row in rows if block_of[row.tx_hash] != row.block_hash}
        for tx_hash in sorted(moved):
            await self._report_moved(session, tx_hash)
        return ours | moved

    async def _report_moved(self, session: AsyncSession, tx_hash: str) -> None:
        detail = "the block of this inbound transfer, which was final, has left the chain; it is not credited again"
        await open_incident(
            session, IncidentKind.FINAL_TRANSFER_MOVED, tx_hash, detail, [f"inbound_transfers {tx_hash}"]
        )
        self._log.error("final_transfer_moved", hash=tx_hash)

    async def _record_one(self, session: AsyncSession, log: Log, transfer: Transfer) -> None:
        treasury = transfer.sender in self._config.treasury
        row = insert(InboundTransfer).values(
            chain_id=self._config.chain_id,
            tx_hash=log.tx_hash,
            log_index=log.log_index,
            sender=transfer.sender,
            amount=transfer.amount,
            block_number=log.block_number,
            block_hash=log.block_hash,
            state=InboundState.TREASURY if treasury else InboundState.UNCLAIMED,
        )
        row_id = await session.scalar(row.on_conflict_do_nothing().returning(InboundTransfer.id))
        if row_id is None:
            return
        entry = Entry(
            kind=LedgerKind.TREASURY if treasury else LedgerKind.INBOUND,
            debit=accounts.PLATFORM_WALLET,
            credit=accounts.FLOAT if treasury else accounts.UNCLAIMED_INBOUND,
            amount=transfer.amount,
            counterparty=transfer.sender,
            inbound_id=row_id,
        )
        await book.record(session, entry)
        self._log.info("usdc_came_in", hash=log.tx_hash, amount=transfer.amount, treasury=treasury)
