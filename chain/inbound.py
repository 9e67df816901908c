"""USDC that comes in by itself: every final transfer to the wallet becomes a row and a liability (money.md section 6)."""

from collections.abc import Collection, Sequence

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from chain.contracts.usdc import TRANSFER_EVENT, Transfer, decode_transfer
from chain.election import Office
from chain.legs import address_topic
from chain.types import BlockNumber, Log
from models import accounts
from models.statuses import InboundState, LedgerKind
from models.tables import book
from models.tables.book import Entry
from models.tables.transactions import ChainAttempt, ChainCursor, InboundTransfer


class InboundScan:
    """Reads the chain from a stored cursor on; rows, ledger and cursor move in one transaction."""

    def __init__(self, office: Office) -> None:
        self._term = office.term
        self._node = office.node
        self._config = office.config
        self._log = office.log

    async def scan(self) -> bool:
        """One chunk of blocks. Says whether there is more to scan at once."""
        head = await self._node.head()
        final = await self._config.finality.newest_block(self._node, head)
        first, scanned = await self._cursor(head.number)
        if scanned >= final:
            return False
        start = max(first, scanned + 1 - self._config.inbound_overlap)
        end = min(final, start + self._config.inbound_chunk - 1)
        logs = await self._canonical(await self._transfers(start, end), end)
        if logs is None:
            return False
        async with self._term.transaction() as session:
            await self._record(session, logs)
            await session.execute(update(ChainCursor).where(*self._ours()).values(block_number=end))
        return end < final

    async def _cursor(self, head: int) -> tuple[int, int]:
        """The first block of the scan and the last one that was scanned. The first scan of all starts at the head."""
        query = select(ChainCursor.first_block, ChainCursor.block_number).where(*self._ours())
        async with self._term.transaction() as session:
            row = (await session.execute(query)).one_or_none()
            if row is not None:
                return row.first_block, row.block_number
            configured = self._config.inbound_from_block
            first = head if configured is None else configured
            session.add(
                ChainCursor(
                    chain_id=self._config.chain_id,
                    address=self._config.wallet,
                    first_block=first,
                    block_number=first - 1,
                )
            )
        return first, first - 1

    async def _transfers(self, start: int, end: int) -> list[Log]:
        topics = [TRANSFER_EVENT.topic0, None, address_topic(self._config.wallet)]
        return await self._node.logs(self._config.usdc, topics, start, end)

    async def _canonical(self, logs: Sequence[Log], end: int) -> Sequence[Log] | None:
        """The logs, if the chain has their blocks, and the last one scanned; None where it must be read again."""
        numbers = sorted({*(log.block_number for log in logs), end})
        headers = await self._node.blocks([BlockNumber(number) for number in numbers])
        hashes = {header.number: header.hash for header in headers if header is not None}
        there = end in hashes and all(hashes.get(log.block_number) == log.block_hash for log in logs)
        return logs if there else None

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
        if moved:
            self._log.error("final_transfer_moved", hashes=sorted(moved))
        return ours | moved

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

    def _ours(self) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
        return ChainCursor.chain_id == self._config.chain_id, ChainCursor.address == self._config.wallet
