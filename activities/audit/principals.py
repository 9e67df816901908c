"""Invariant 4: what each position owes on chain is what its loans owe, and what was borrowed outside the engine.

The rows are of now and the chain is of block B. So what legs did up to B counts although it is not recorded, and what is
recorded and happened after B does not. A position that somebody else moved, after the block up to which such
movements were read, is left for the next audit, for a while: that concerns this position alone.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, exists, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from activities.audit.evidence import LOG_CHUNK, Evidence
from activities.audit.findings import Finding
from chain.contracts.vault_events import (
    LIQUIDATION_SETTLED_EVENT,
    LOAN_REPAID_EVENT,
    PRIVATE_ASSET_LIQUIDATION_SETTLED_EVENT,
    USDC_BORROWED_EVENT,
    decode_loan_repaid,
    decode_usdc_borrowed,
)
from chain.engine_chain import EngineChain
from chain.scan import read_logs
from chain.types import BlockHash, BlockNumber, Log, TxHash
from models.statuses import IN_FLIGHT_STATES, OperationState, ReservationState, TransactionState
from models.tables.loans import Loan, OutsideMovement, Reservation, SolvencyPosition
from models.tables.operations import Operation
from models.tables.session import Transaction
from models.tables.transactions import ChainAttempt, ChainCursor, ChainTransaction

_MOVES_PRINCIPAL = [
    event.topic0
    for event in (
        USDC_BORROWED_EVENT,
        LOAN_REPAID_EVENT,
        LIQUIDATION_SETTLED_EVENT,
        PRIVATE_ASSET_LIQUIDATION_SETTLED_EVENT,
    )
]
_POSITIONS_PER_REQUEST = 100
READ_WITHIN = timedelta(minutes=10)
"""Who reads movements outside the engine comes every few seconds. One that waits longer is drift: nobody reads any more."""
_SHOWN = (TransactionState.MINED, TransactionState.HELD, TransactionState.FINAL_OK)
"""States in which a leg's row holds the logs of its receipt."""


@dataclass
class Books:
    """What the database says of positions. ``loans`` and ``own`` are what partners' loans and the user's own debt owe.

    ``by_legs`` is by how much legs changed a position up to B and it is not recorded, or after B and it is. ``in_flight`` are
    transactions of ours that were mined up to B, as their USDC shows, and whose receipts no row has yet. ``moving`` are
    positions that others moved after B, or whose movement waits for the record of the borrow that it belongs to.
    """

    loans: dict[int, int]
    own: dict[int, int]
    by_legs: defaultdict[int, int]
    in_flight: dict[int, list[TxHash]]
    moving: set[int]
    outside_read_up_to: int | None

    def owed(self, position: int) -> int:
        """Never less than nothing: what ended a debt is recorded with all that was owed, be it paid by a leg of ours."""
        return self.own[position] + max(0, self.loans[position] + self.by_legs[position])


async def read_books(session: AsyncSession, chain: EngineChain, evidence: Evidence) -> Books:
    cursor = select(ChainCursor.block_number).where(
        ChainCursor.chain_id == chain.chain_id, ChainCursor.address == chain.vault_address
    )
    loans, own = await _recorded(session, chain)
    return Books(
        loans=loans,
        own=own,
        by_legs=await _by_legs(session, chain, evidence),
        in_flight=await _in_flight(session, chain, evidence),
        moving=await _moving(session, chain, evidence),
        outside_read_up_to=await session.scalar(cursor),
    )


async def check_principals(transaction: Transaction, chain: EngineChain, evidence: Evidence, books: Books) -> Finding:
    """Asks the chain about positions that differ, before it says that they do."""
    finding = Finding(4, "each position owes on chain what its loans owe, movements outside the engine included")
    known = [position for position in books.loans if position in evidence.principals]
    for position in _differing(known, evidence, books):
        books.by_legs[position] += await _unrecorded(chain, position, books.in_flight.get(position, ()))
    differing = _differing(known, evidence, books)
    moving = books.moving | await _moved_by_others(transaction, chain, evidence, books, differing)
    for position in differing:
        if position in moving:
            finding.notes.append(f"position {position} was moved outside the engine a moment ago")
            continue
        detail = (
            f"position {position} owes {evidence.principals[position]} on chain, "
            f"and {books.owed(position)} by the rows, {books.own[position]} of it the user's own"
        )
        finding.broken(f"position {position}", detail, f"solvency_positions {position}")
    compared = [position for position in known if position not in moving]
    on_chain = sum(evidence.principals[position] for position in compared)
    finding.compare(f"principal of {len(compared)} positions", sum(map(books.owed, compared)), on_chain)
    return finding


def _differing(positions: Iterable[int], evidence: Evidence, books: Books) -> list[int]:
    return [position for position in positions if books.owed(position) != evidence.principals[position]]


async def _recorded(session: AsyncSession, chain: EngineChain) -> tuple[dict[int, int], dict[int, int]]:
    loans = (
        select(Loan.position_id, func.sum(Loan.outstanding).label("owed"))
        .where(Loan.chain_id == chain.chain_id, Loan.vault_address == chain.vault_address)
        .group_by(Loan.position_id)
        .subquery()
    )
    query = (
        select(SolvencyPosition.position_id, func.coalesce(loans.c.owed, 0), SolvencyPosition.outside_debt)
        .outerjoin(loans, loans.c.position_id == SolvencyPosition.position_id)
        .where(SolvencyPosition.chain_id == chain.chain_id, SolvencyPosition.vault_address == chain.vault_address)
    )
    rows = (await session.execute(query)).all()
    return {row[0]: int(row[1]) for row in rows}, {row[0]: row[2] for row in rows}


async def _moving(session: AsyncSession, chain: EngineChain, evidence: Evidence) -> set[int]:
    waiting = (
        select(Loan.id)
        .join(Reservation, Reservation.operation_id == Loan.operation_id)
        .where(Reservation.state == ReservationState.RESERVED)
    )
    query = select(OutsideMovement.position_id).where(
        OutsideMovement.chain_id == chain.chain_id,
        OutsideMovement.vault_address == chain.vault_address,
        or_(OutsideMovement.block_number > evidence.block.number, OutsideMovement.loan_id.in_(waiting)),
    )
    return set(await session.scalars(query))


async def _by_legs(session: AsyncSession, chain: EngineChain, evidence: Evidence) -> defaultdict[int, int]:
    recorded = _is_recorded()
    query = (
        select(ChainTransaction.result_block, ChainTransaction.logs, recorded)
        .join(Operation, Operation.id == ChainTransaction.operation_id)
        .where(
            *_to_vault(chain),
            ChainTransaction.state.in_(_SHOWN),
            or_(~recorded, ChainTransaction.result_block > evidence.block.number),
        )
    )
    by_legs: defaultdict[int, int] = defaultdict(int)
    for block, logs, is_recorded in await session.execute(query):
        if is_recorded != (block is not None and block <= evidence.block.number):
            for position, change in _changes(chain, map(_log, logs or [])):
                by_legs[position] += -change if is_recorded else change
    return by_legs


def _is_recorded() -> ColumnElement[bool]:
    """A borrow is recorded when its reservation is drawn, a repayment with the end of its operation."""
    drawn = exists().where(
        Reservation.operation_id == ChainTransaction.operation_id, Reservation.state != ReservationState.RESERVED
    )
    borrows = ChainTransaction.call["call"].astext == "borrow"
    return or_(borrows & drawn, ~borrows & (Operation.state == OperationState.DONE))


def _to_vault(chain: EngineChain) -> tuple[ColumnElement[bool], ...]:
    return (
        ChainTransaction.chain_id == chain.chain_id,
        ChainTransaction.signer == chain.wallet,
        ChainTransaction.call["call"].astext.in_(["borrow", "repay"]),
    )


async def _in_flight(session: AsyncSession, chain: EngineChain, evidence: Evidence) -> dict[int, list[TxHash]]:
    query = (
        select(ChainTransaction.call["position_id"].astext, ChainAttempt.hash)
        .join(ChainAttempt, ChainAttempt.transaction_id == ChainTransaction.id)
        .where(*_to_vault(chain), ChainTransaction.state.in_(IN_FLIGHT_STATES), ChainTransaction.result_block.is_(None))
    )
    hashes: defaultdict[int, list[TxHash]] = defaultdict(list)
    for position, tx_hash in await session.execute(query):
        if tx_hash in evidence.movements:
            hashes[int(position)].append(TxHash(tx_hash))
    return hashes


async def _unrecorded(chain: EngineChain, position: int, hashes: Sequence[TxHash]) -> int:
    receipts = await chain.client.receipts(hashes) if hashes else []
    logs = [log for receipt in receipts if receipt is not None for log in receipt.logs]
    return sum(change for changed, change in _changes(chain, logs) if changed == position)


def _changes(chain: EngineChain, logs: Iterable[Log]) -> Iterable[tuple[int, int]]:
    """By how much each log of the vault changed the principal of a position."""
    for log in logs:
        if log.address != chain.vault_address:
            continue
        if (borrowed := decode_usdc_borrowed(log)) is not None:
            yield borrowed.position_id, borrowed.amount
        elif (repaid := decode_loan_repaid(log)) is not None:
            yield repaid.position_id, -repaid.principal


async def _moved_by_others(
    transaction: Transaction, chain: EngineChain, evidence: Evidence, books: Books, positions: Sequence[int]
) -> set[int]:
    """Positions that transactions of others changed where nobody has read them yet; without a reader, after B."""
    if not positions:
        return set()
    read_up_to = evidence.block.number if books.outside_read_up_to is None else books.outside_read_up_to
    logs = await _moved_since(chain, read_up_to + 1, positions)
    async with transaction() as session:
        query = select(ChainAttempt.hash).where(ChainAttempt.hash.in_({log.tx_hash for log in logs}))
        ours = set(await session.scalars(query))
    return await _soon_read(chain, evidence, [log for log in logs if log.tx_hash not in ours])


async def _moved_since(chain: EngineChain, first: int, positions: Sequence[int]) -> Sequence[Log]:
    """What changed these positions, from a block up to the head."""
    logs: list[Log] = []
    head = (await chain.client.head()).number
    for start in range(first, head + 1, LOG_CHUNK):
        end = min(head, start + LOG_CHUNK - 1)
        for place in range(0, len(positions), _POSITIONS_PER_REQUEST):
            some = positions[place : place + _POSITIONS_PER_REQUEST]
            topics = [_MOVES_PRINCIPAL, [f"0x{position:064x}" for position in some]]
            logs += await read_logs(chain.client, chain.vault_address, topics, start, end)
    return logs


async def _soon_read(chain: EngineChain, evidence: Evidence, logs: Sequence[Log]) -> set[int]:
    """The positions that these logs changed, without those that have waited for their reader for too long."""
    oldest: dict[int, BlockNumber] = {}
    for log in sorted(logs, key=lambda each: each.block_number):
        oldest.setdefault(int(log.topics[1], 16), log.block_number)
    headers = await chain.client.blocks(sorted(set(oldest.values())))
    since = {header.number: header.timestamp for header in headers if header is not None}
    longest_ago = evidence.block.timestamp - READ_WITHIN.total_seconds()
    return {position for position, block in oldest.items() if since.get(block, longest_ago) >= longest_ago}


def _log(stored: Mapping[str, Any]) -> Log:
    """A log as a leg's row keeps it; its block and transaction are the leg's and not asked for here."""
    return Log(
        address=stored["address"],
        topics=tuple(stored["topics"]),
        data=stored["data"],
        block_number=BlockNumber(0),
        block_hash=BlockHash(""),
        tx_hash=TxHash(""),
        log_index=stored["log_index"],
    )
