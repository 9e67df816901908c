"""Events of the vault that the rows refused: kept until they apply, in their order on chain (ADR 0016).

A scan reads each block a few times and never again. So what it could not apply, and what came after that on the same
position, must not be left to it. Every function works inside the caller's transaction.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from eth_utils.address import to_checksum_address
from sqlalchemy import ColumnElement, and_, delete, exists, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from activities.outside_book import Point, PositionKey
from activities.outside_events import DebtMoved, debt_moved
from chain.types import BlockHash, BlockNumber, Log, TxHash
from models.errors import InvariantBroken
from models.statuses import IncidentKind
from models.tables.incident_book import close_incident, open_incident
from models.tables.loans import UnappliedEvent


@dataclass(frozen=True, slots=True)
class Waiting:
    """A kept event, and the position whose turn it holds up."""

    id: int
    key: PositionKey
    log: Log

    @property
    def event(self) -> DebtMoved:
        """Read anew, so that a release that reads it better is enough. Raises InvariantBroken where it is none any more."""
        if (event := debt_moved(self.log)) is None:
            raise InvariantBroken(f"log {self.log.log_index} of {self.log.tx_hash} is no event that is followed")
        return event


def place_of(log: Log) -> Point:
    return log.block_number, log.log_index


async def read_waiting(session: AsyncSession, chain_id: int, vault_address: str) -> list[Waiting]:
    """All that waits, each position's in its order on chain."""
    query = (
        select(UnappliedEvent)
        .where(UnappliedEvent.chain_id == chain_id, UnappliedEvent.vault_address == vault_address)
        .order_by(UnappliedEvent.position_id, UnappliedEvent.block_number, UnappliedEvent.log_index)
    )
    return [_waiting(row) for row in await session.scalars(query)]


def first_places(waiting: Iterable[Waiting]) -> dict[int, Point]:
    """Where on chain each position is held up."""
    places: dict[int, Point] = {}
    for each in waiting:
        places.setdefault(each.key.position_id, place_of(each.log))
    return places


async def keep(session: AsyncSession, key: PositionKey, log: Log, event: DebtMoved) -> None:
    """Once, however often it is read."""
    row = insert(UnappliedEvent).values(
        chain_id=key.chain_id,
        vault_address=key.vault_address,
        position_id=key.position_id,
        tx_hash=log.tx_hash,
        log_index=log.log_index,
        block_number=log.block_number,
        block_hash=log.block_hash,
        kind=event.kind,
        topics=list(log.topics),
        data=log.data,
    )
    await session.execute(row.on_conflict_do_nothing(index_elements=["chain_id", "tx_hash", "log_index"]))


async def forget(session: AsyncSession, applied: Waiting) -> None:
    """With the last event of a position its incident is over."""
    await session.execute(delete(UnappliedEvent).where(UnappliedEvent.id == applied.id))
    if not await session.scalar(select(exists().where(_of(applied.key)))):
        await close_incident(session, IncidentKind.INVARIANT_BROKEN, _subject(applied.key))


async def report(session: AsyncSession, key: PositionKey, log: Log, why: str) -> None:
    """What the rows do not allow concerns this position alone: a person must look, and the others are followed."""
    detail = f"log {log.log_index} of transaction {log.tx_hash} could not be applied and is tried again: {why}"
    rows = [f"solvency_positions {key.position_id}", f"unapplied_events {log.tx_hash} {log.log_index}"]
    await open_incident(session, IncidentKind.INVARIANT_BROKEN, _subject(key), detail, rows)


def _subject(key: PositionKey) -> str:
    return f"position {key.position_id}"


def _of(key: PositionKey) -> ColumnElement[bool]:
    return and_(
        UnappliedEvent.chain_id == key.chain_id,
        UnappliedEvent.vault_address == key.vault_address,
        UnappliedEvent.position_id == key.position_id,
    )


def _waiting(row: UnappliedEvent) -> Waiting:
    log = Log(
        address=to_checksum_address(row.vault_address),
        topics=tuple(row.topics),
        data=row.data,
        block_number=BlockNumber(row.block_number),
        block_hash=BlockHash(row.block_hash),
        tx_hash=TxHash(row.tx_hash),
        log_index=row.log_index,
    )
    return Waiting(row.id, PositionKey(row.chain_id, row.vault_address, row.position_id), log)
