"""What movements outside the engine mean for a loan and its partner's limit (money.md section 6), on rows that are locked.

Amounts are base units. Two things keep a movement from being counted twice. Whose debt it was is decided by its place on
chain alone: the newest borrow before it, whatever the rows say of the loan by then. And what it releases is never more
than the loan still has outstanding, so that a loan which the chain's zero has closed (ADR 0010) releases nothing again.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, and_, exists, func, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from activities.loan_rows import BorrowRows, lock_borrow
from activities.operation_rows import write_event
from activities.outside_events import DebtMoved
from activities.repayment_rows import REPAYABLE, loan_is_taken
from activities.snapshots import loan_snapshot
from chain.types import Log
from models.statuses import EventType, IncidentKind, LoanStatus, OperationState, OutsideKind, ReservationState
from models.tables.incident_book import open_incident
from models.tables.loans import Loan, OutsideMovement, SolvencyPosition
from models.tables.operations import Operation

Point = tuple[int, int]
"""A place on chain: the block's number, and the log's index in it."""


@dataclass(frozen=True, slots=True)
class PositionKey:
    chain_id: int
    vault_address: str
    position_id: int

    def of(self, table: type[Loan | OutsideMovement | SolvencyPosition]) -> ColumnElement[bool]:
        """The rows of a table that are of this position."""
        return and_(
            table.chain_id == self.chain_id,
            table.vault_address == self.vault_address,
            table.position_id == self.position_id,
        )


@dataclass(frozen=True, slots=True)
class Debtor:
    """Whose debt it is: a loan's with the operation that borrowed it, or the user's own."""

    operation_id: str | None = None


async def record_own(
    session: AsyncSession, key: PositionKey, log: Log, event: DebtMoved, operation_id: str
) -> OutsideMovement | None:
    """An event in a transaction of ours: where a loan's debt began, or a repayment that met a debt of the user's own.

    The second is a race that nobody can close: the user repays all and borrows anew while our repayment is on its way.
    """
    if event.kind is OutsideKind.BORROW:
        await _note_borrow(session, log, operation_id)
        return None
    debtor = await _debtor_at(session, key, (log.block_number, log.log_index))
    return await _record_users_own(session, key, log, event) if debtor == Debtor() else None


async def _note_borrow(session: AsyncSession, log: Log, operation_id: str) -> None:
    place = {"borrow_block": log.block_number, "borrow_log_index": log.log_index}
    ours = (Loan.operation_id == operation_id, Loan.borrow_block.is_(None))
    await session.execute(update(Loan).where(*ours).values(place).execution_options(synchronize_session=False))


async def record_movement(
    session: AsyncSession, key: PositionKey, log: Log, event: DebtMoved
) -> OutsideMovement | None:
    """One event, once, with all that it means; None where it was recorded before, or is of a debt that nobody here knows.

    Locks are taken in the one order: operation, partner, position, loan.
    """
    if event.kind is OutsideKind.BORROW:
        return await _record_users_own(session, key, log, event)
    debtor = await _debtor_at(session, key, (log.block_number, log.log_index))
    if debtor is None:
        return None
    if debtor.operation_id is None:
        return await _record_users_own(session, key, log, event)
    return await _record_of_loan(session, debtor.operation_id, log, event)


async def _record_of_loan(
    session: AsyncSession, operation_id: str, log: Log, event: DebtMoved
) -> OutsideMovement | None:
    rows = await lock_borrow(session, operation_id)
    movement = await _new_movement(session, rows.position, log, event, rows.loan.id)
    if movement is not None:
        absorb(rows, movement)
        await session.flush()
        await follow(session, rows.loan)
    return movement


async def _record_users_own(
    session: AsyncSession, key: PositionKey, log: Log, event: DebtMoved
) -> OutsideMovement | None:
    query = select(SolvencyPosition).where(key.of(SolvencyPosition)).with_for_update(key_share=True)
    position = (await session.scalars(query)).one()
    movement = await _new_movement(session, position, log, event, None)
    if movement is not None:
        owed = position.outside_debt + movement.principal
        position.outside_debt = 0 if movement.remaining_debt == 0 else max(0, owed)
    return movement


async def _new_movement(
    session: AsyncSession, position: SolvencyPosition, log: Log, event: DebtMoved, loan_id: str | None
) -> OutsideMovement | None:
    """The position's lock makes the look and the insert one."""
    same_transaction = (OutsideMovement.chain_id == position.chain_id, OutsideMovement.tx_hash == log.tx_hash)
    for known in await session.scalars(select(OutsideMovement).where(*same_transaction)):
        if known.block_hash != log.block_hash:
            await _report_moved(session, log)
            return None
        if known.log_index == log.log_index:
            return None
    movement = OutsideMovement(
        chain_id=position.chain_id,
        vault_address=position.vault_address,
        position_id=position.position_id,
        tx_hash=log.tx_hash,
        log_index=log.log_index,
        block_number=log.block_number,
        block_hash=log.block_hash,
        kind=event.kind,
        principal=event.principal,
        interest=event.interest,
        remaining_debt=event.remaining_debt,
        loan_id=loan_id,
        released=0,
    )
    session.add(movement)
    return movement


async def _report_moved(session: AsyncSession, log: Log) -> None:
    """It cannot be while final means final. What it did is not done twice; a person must look."""
    detail = "the block of this event of the vault, which was final, has left the chain; it is not applied again"
    rows = [f"outside_movements {log.tx_hash}"]
    await open_incident(session, IncidentKind.FINAL_TRANSFER_MOVED, log.tx_hash, detail, rows)


async def _debtor_at(session: AsyncSession, key: PositionKey, point: Point) -> Debtor | None:
    """Whose debt the position has at this point; None where no borrow before it is known.

    The vault lends only to a position without debt, so one borrow accounts for all that is owed until zero.
    """
    loan = await _last_loan(session, key, point)
    own = await _last_outside_borrow(session, key, point)
    if loan is None:
        return None if own is None else Debtor()
    operation_id, place = loan
    return Debtor(operation_id) if own is None or own < place else Debtor()


async def absorb_all(session: AsyncSession, rows: BorrowRows) -> None:
    """What happened to the loan's debt before its borrow was recorded."""
    query = (
        select(OutsideMovement)
        .where(OutsideMovement.loan_id == rows.loan.id)
        .order_by(OutsideMovement.block_number, OutsideMovement.log_index)
    )
    for movement in await session.scalars(query):
        absorb(rows, movement)


def absorb(rows: BorrowRows, movement: OutsideMovement) -> None:
    """The loan owes less by what was repaid on it, and the partner's limit is free by as much; at zero, by all of it.

    What a liquidation did not bring back is written off. What it brought back counts as principal first: its event does not
    tell principal and interest apart. A borrow that is not recorded yet has nothing outstanding: ``absorb_all`` follows.
    """
    if rows.reservation.state is ReservationState.RESERVED:
        return
    loan, repaid = rows.loan, -movement.principal
    movement.released = loan.outstanding if movement.remaining_debt == 0 else min(loan.outstanding, repaid)
    if movement.kind is OutsideKind.LIQUIDATION:
        loan.written_off += max(0, movement.released - repaid)
    loan.outstanding -= movement.released
    rows.partner.outstanding -= movement.released
    rows.position.total_partner_debt -= movement.released


async def debt_ended(session: AsyncSession, loan_id: str | None) -> bool:
    """Whether somebody else has repaid the last of this loan's debt. It stays so: what is owed later is another debt."""
    query = exists().where(
        OutsideMovement.loan_id == loan_id,
        OutsideMovement.kind == OutsideKind.REPAYMENT,
        OutsideMovement.remaining_debt == 0,
    )
    return bool(await session.scalar(select(query)))


async def follow(session: AsyncSession, loan: Loan) -> None:
    """Brings the status to what happened outside, and tells the partner once.

    While the loan's borrow is under way its status belongs to that, and while a repayment of it is in flight the end of the
    debt does: each of them calls this, or looks for itself, when it ends.
    """
    operation = await session.get_one(Operation, loan.operation_id)
    if operation.state is not OperationState.DONE or loan.status not in REPAYABLE:
        return
    happened = await _happened(session, loan.id)
    if happened.liquidated:
        _close(session, operation, loan, LoanStatus.LIQUIDATED, EventType.LOAN_LIQUIDATED)
    elif happened.ended and not await loan_is_taken(session, loan.id):
        _close(session, operation, loan, LoanStatus.REPAID, EventType.LOAN_REPAID)
    elif happened.defaulted and not happened.ended and loan.status is LoanStatus.ACTIVE:
        loan.status = LoanStatus.DEFAULTED
        write_event(session, operation, EventType.LOAN_DEFAULTED, loan_snapshot(loan))


@dataclass(frozen=True, slots=True)
class _Happened:
    defaulted: bool
    liquidated: bool
    ended: bool


async def _happened(session: AsyncSession, loan_id: str) -> _Happened:
    kind, repaid = OutsideMovement.kind, OutsideMovement.kind == OutsideKind.REPAYMENT
    query = select(
        func.coalesce(func.bool_or(kind == OutsideKind.DEFAULT), False),
        func.coalesce(func.bool_or(kind == OutsideKind.LIQUIDATION), False),
        func.coalesce(func.bool_or(and_(repaid, OutsideMovement.remaining_debt == 0)), False),
    ).where(OutsideMovement.loan_id == loan_id)
    return _Happened(*(await session.execute(query)).one())


def _close(session: AsyncSession, operation: Operation, loan: Loan, status: LoanStatus, event: EventType) -> None:
    loan.status, loan.closed_at = status, datetime.now(UTC)
    write_event(session, operation, event, loan_snapshot(loan))


async def _last_loan(session: AsyncSession, key: PositionKey, point: Point) -> tuple[str, Point] | None:
    block, index = Loan.borrow_block, Loan.borrow_log_index
    query = select(Loan.operation_id, block, index).where(key.of(Loan), tuple_(block, index) < point)
    row = (await session.execute(query.order_by(block.desc(), index.desc()).limit(1))).one_or_none()
    return None if row is None or row[1] is None or row[2] is None else (row[0], (row[1], row[2]))


async def _last_outside_borrow(session: AsyncSession, key: PositionKey, point: Point) -> Point | None:
    block, index = OutsideMovement.block_number, OutsideMovement.log_index
    borrows = (key.of(OutsideMovement), OutsideMovement.kind == OutsideKind.BORROW, tuple_(block, index) < point)
    query = select(block, index).where(*borrows).order_by(block.desc(), index.desc()).limit(1)
    row = (await session.execute(query)).one_or_none()
    return None if row is None else (row[0], row[1])
