"""Reading logs from a stored cursor on, in chunks that overlap: what every scan of the chain has in common."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from eth_typing import ChecksumAddress
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from chain.errors import RpcError
from chain.types import Block, BlockNumber, BlockRef, Log
from models.tables.transactions import ChainCursor


class BlockNode(Protocol):
    async def blocks(self, numbers: Sequence[BlockNumber]) -> list[Block | None]: ...


class LogNode(Protocol):
    async def logs(
        self,
        address: ChecksumAddress | Sequence[ChecksumAddress],
        topics: Sequence[str | Sequence[str] | None],
        from_block: BlockRef,
        to_block: BlockRef,
    ) -> list[Log]: ...


@dataclass(frozen=True, slots=True)
class Cursor:
    """All blocks from ``first`` to ``scanned`` were read; none where ``scanned`` is below ``first``."""

    first: int
    scanned: int


@dataclass(frozen=True, slots=True)
class Window:
    """The blocks to read now, both ends included. ``more``: others are final already."""

    start: int
    end: int
    more: bool


async def read_cursor(session: AsyncSession, chain_id: int, address: str) -> Cursor | None:
    row = await session.get(ChainCursor, (chain_id, address))
    return None if row is None else Cursor(row.first_block, row.block_number)


async def begin_cursor(session: AsyncSession, chain_id: int, address: str, first: int) -> Cursor:
    session.add(ChainCursor(chain_id=chain_id, address=address, first_block=first, block_number=first - 1))
    await session.flush()
    return Cursor(first, first - 1)


async def move_cursor(session: AsyncSession, chain_id: int, address: str, scanned: int) -> None:
    """Never backwards: a scan that woke up late has nothing to say about what another one has read since."""
    ours = (ChainCursor.chain_id == chain_id, ChainCursor.address == address, ChainCursor.block_number < scanned)
    await session.execute(update(ChainCursor).where(*ours).values(block_number=scanned))


def next_window(cursor: Cursor, final: int, *, chunk: int, overlap: int) -> Window | None:
    """None where every final block was read. The last ``overlap`` blocks are read again with what is new.

    A node behind a load balancer may have answered for blocks that it did not have yet.
    """
    if cursor.scanned >= final:
        return None
    start = max(cursor.first, cursor.scanned + 1 - overlap)
    end = min(final, start + chunk - 1)
    return Window(start, end, more=end < final)


async def read_logs(
    node: LogNode, address: ChecksumAddress, topics: Sequence[str | Sequence[str] | None], first: int, last: int
) -> list[Log]:
    """The logs of these blocks, both ends included. What a node refuses as a whole it is asked for in halves.

    Many nodes list only so many logs at once, and anybody may make more of them: dust must not end a scan for good.
    """
    try:
        return await node.logs(address, topics, first, last)
    except RpcError:
        if first >= last:
            raise
    middle = (first + last) // 2
    lower = await read_logs(node, address, topics, first, middle)
    return lower + await read_logs(node, address, topics, middle + 1, last)


async def canonical(node: BlockNode, logs: Sequence[Log], end: int) -> Sequence[Log] | None:
    """The logs, if the chain has their blocks, and the last one scanned; None where they must be read again."""
    numbers = sorted({*(log.block_number for log in logs), end})
    headers = await node.blocks([BlockNumber(number) for number in numbers])
    hashes = {header.number: header.hash for header in headers if header is not None}
    there = end in hashes and all(hashes.get(log.block_number) == log.block_hash for log in logs)
    return logs if there else None
