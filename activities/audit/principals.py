"""Invariant 4: what each position owes on chain is what its loans owe, and what was borrowed outside the engine.

The rows are of now and the chain is of block B. So what legs did up to B counts although it is not recorded, and what is
recorded and happened after B does not count. A position that somebody else moved, after the block up to which such
movements were read, is left for the next audit: that concerns this position alone.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
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
_SHOWN = (TransactionState.MINED, TransactionState.HELD, TransactionState.FINAL_OK)
"""States in which a leg's row holds the logs of its receipt."""


@dataclass
class Books:
    """What the database says of positions, brought to block B as far as rows can tell.

    ``in_flight`` are transactions of ours that were mined up to B, as their USDC shows, and whose receipts no row has yet.
    """

    owed: dict[int, int]
    outside_read_up_to: int | None
    in_flight: dict[int, list[TxHash]] = field(default_factory=lambda: defaultdict(list))


async def read_books(session: AsyncSession, chain: EngineChain, evidence: Evidence) -> Books:
    cursor = select(ChainCursor.block_number).where(
        ChainCursor.chain_id == chain.chain_id, ChainCursor.address == chain.vault_address
    )
    books = Books(await _recorded(session, chain), await session.scalar(cursor))
    for position, later in await _outside_later(session, chain, evidence):
        books.owed[position] -= int(later)
    for position, change in await _by_legs(session, chain, evidence):
        books.owed[position] += change
    for position, tx_hash in await _in_flight(session, chain):
        if tx_hash in evidence.movements:
            books.in_flight[position].append(tx_hash)
    return books


async def check_principals(transaction: Transaction, chain: EngineChain, evidence: Evidence, books: Books) -> Finding:
    """Asks the chain about positions that differ, before it says that they do."""
    finding = Finding(4, "each position owes on chain what its loans owe, movements outside the engine included")
    owed = {position: amount for position, amount in books.owed.items() if position in evidence.principals}
    differing = [position for position in owed if owed[position] != evidence.principals[position]]
    for position in differing:
        owed[position] += await _unrecorded(chain, position, books.in_flight.get(position, ()))
    differing = [position for position in differing if owed[position] != evidence.principals[position]]
    moving = await _moved_by_others(transaction, chain, evidence, books, differing)
    for position in differing:
        if position in moving:
            finding.notes.append(f"position {position} was moved outside the engine, which was not read yet")
            continue
        detail = f"position {position} owes {evidence.principals[position]} on chain, and {owed[position]} by the rows"
        finding.broken(f"position {position}", detail, f"solvency_positions {position}")
    at_rest = owed.keys() - moving
    on_chain = sum(evidence.principals[position] for position in at_rest)
    finding.compare(f"principal of {len(at_rest)} positions", sum(owed[position] for position in at_rest), on_chain)
    return finding


async def _recorded(session: AsyncSession, chain: EngineChain) -> dict[int, int]:
    loans = (
        select(Loan.position_id, func.sum(Loan.outstanding).label("owed"))
        .where(Loan.chain_id == chain.chain_id, Loan.vault_address == chain.vault_address)
        .group_by(Loan.position_id)
        .subquery()
    )
    query = (
        select(SolvencyPosition.position_id, SolvencyPosition.outside_debt + func.coalesce(loans.c.owed, 0))
        .outerjoin(loans, loans.c.position_id == SolvencyPosition.position_id)
        .where(SolvencyPosition.chain_id == chain.chain_id, SolvencyPosition.vault_address == chain.vault_address)
    )
    return {position: int(owed) for position, owed in await session.execute(query)}


async def _outside_later(session: AsyncSession, chain: EngineChain, evidence: Evidence) -> Iterable[tuple[int, int]]:
    query = (
        select(OutsideMovement.position_id, func.sum(OutsideMovement.principal))
        .where(
            OutsideMovement.chain_id == chain.chain_id,
            OutsideMovement.vault_address == chain.vault_address,
            OutsideMovement.block_number > evidence.block.number,
        )
        .group_by(OutsideMovement.position_id)
    )
    return [(position, int(principal)) for position, principal in await session.execute(query)]


async def _by_legs(session: AsyncSession, chain: EngineChain, evidence: Evidence) -> list[tuple[int, int]]:
    """By how much legs changed a position up to B that is not recorded, or after B that is."""
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
    changes = []
    for block, logs, is_recorded in await session.execute(query):
        if is_recorded != (block is not None and block <= evidence.block.number):
            sign = -1 if is_recorded else 1
            changes += [(position, sign * change) for position, change in _changes(chain, map(_log, logs or []))]
    return changes


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


async def _in_flight(session: AsyncSession, chain: EngineChain) -> list[tuple[int, TxHash]]:
    query = (
        select(ChainTransaction.call["position_id"].astext, ChainAttempt.hash)
        .join(ChainAttempt, ChainAttempt.transaction_id == ChainTransaction.id)
        .where(*_to_vault(chain), ChainTransaction.state.in_(IN_FLIGHT_STATES), ChainTransaction.result_block.is_(None))
    )
    return [(int(position), TxHash(tx_hash)) for position, tx_hash in await session.execute(query)]


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
    moved = await _moved_since(chain, read_up_to + 1, positions)
    async with transaction() as session:
        ours = set(await session.scalars(select(ChainAttempt.hash).where(ChainAttempt.hash.in_(moved))))
    return {position for tx_hash, positions in moved.items() if tx_hash not in ours for position in positions}


async def _moved_since(chain: EngineChain, first: int, positions: Sequence[int]) -> Mapping[str, set[int]]:
    """Which positions each transaction changed, from a block up to the head."""
    moved: defaultdict[str, set[int]] = defaultdict(set)
    head = (await chain.client.head()).number
    for start in range(first, head + 1, LOG_CHUNK):
        end = min(head, start + LOG_CHUNK - 1)
        for place in range(0, len(positions), _POSITIONS_PER_REQUEST):
            some = positions[place : place + _POSITIONS_PER_REQUEST]
            topics = [_MOVES_PRINCIPAL, [f"0x{position:064x}" for position in some]]
            for log in await chain.client.logs(chain.vault_address, topics, start, end):
                moved[log.tx_hash].add(int(log.topics[1], 16))
    return moved


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
