"""A borrow's rows as it goes its way: opened, refused, recorded, activated, or reversed. Each step may be repeated."""

from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncSession
from temporalio import activity

from activities import limit_book
from activities.leg_rows import final_leg, post_final_legs
from activities.limits import stored_decision
from activities.loan_rows import lock_borrow
from activities.operation_rows import (
    finish,
    legs_begun,
    lock_operation,
    open_received,
    outcome_of,
    refuse,
    stored_outcome,
    write_event,
)
from activities.outside_book import absorb_all, follow
from activities.snapshots import loan_snapshot, rejected_borrow
from models import accounts
from models.errors import InvariantBroken, NotStarted
from models.messages.borrow import BorrowDecision, BorrowRequest, OpenedBorrow, ReverseLoan
from models.messages.common import Done, OperationInput, Outcome, Refuse
from models.statuses import (
    DecisionKind,
    EventType,
    LedgerKind,
    LegName,
    LoanStatus,
    OperationState,
    ReservationState,
)
from models.tables import book
from models.tables.operations import Operation
from models.tables.session import Transaction


class LoanActivities:
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    @activity.defn
    async def open_operation(self, asked: OperationInput) -> OpenedBorrow:
        """The first step of every run: what the row says already, so that a later run goes on where the last one ended."""
        async with self._transaction() as session:
            operation = await lock_operation(session, asked.operation_id)
            open_received(operation)
            if operation.partner_id is None or operation.loan_id is None:
                raise InvariantBroken(f"operation {operation.id} is no borrow")
            return OpenedBorrow(
                state=operation.state,
                partner_id=operation.partner_id,
                loan_id=operation.loan_id,
                request=BorrowRequest.model_validate(operation.request),
                decision=_decision(operation),
                outcome=outcome_of(operation),
                begun=tuple(await legs_begun(session, operation)),
                review_reason=operation.review_reason,
            )

    @activity.defn
    async def refuse_borrow(self, asked: Refuse) -> BorrowDecision:
        """Decides against the borrow; there is no loan row. The stored decision wins where there is one."""
        async with self._transaction() as session:
            operation = await lock_operation(session, asked.operation_id)
            if operation.decision is not None:
                return stored_decision(operation)
            refuse(operation, asked.refusal)
            write_event(session, operation, EventType.LOAN_REJECTED, rejected_borrow(operation, asked.refusal))
            return BorrowDecision(kind=DecisionKind.REFUSED, refusal=asked.refusal)

    @activity.defn
    async def record_borrow(self, asked: OperationInput) -> Done:
        """The borrow is final on chain: the reservation is drawn, and the principal is money in flight."""
        async with self._transaction() as session:
            rows = await lock_borrow(session, asked.operation_id)
            if rows.reservation.state is not ReservationState.RESERVED:
                return Done()
            leg = await final_leg(session, asked.operation_id, LegName.BORROW)
            await limit_book.draw(session, rows.partner, rows.reservation)
            rows.position.total_partner_debt += rows.loan.principal
            rows.loan.outstanding = rows.loan.principal
            rows.loan.status, rows.loan.review_reason = LoanStatus.SETTLING, None
            rows.operation.review_reason = None
            rows.loan.borrow_tx_hash = leg.result_tx_hash
            await book.post(session, asked.operation_id, leg.leg, leg.generation)
            await absorb_all(session, rows)
            return Done()

    @activity.defn
    async def activate_loan(self, asked: OperationInput) -> Outcome:
        """The payout is final on chain: the loan is ACTIVE, the fee is earned, and the partner is told."""
        async with self._transaction() as session:
            rows = await lock_borrow(session, asked.operation_id)
            if (outcome := stored_outcome(rows.operation)) is not None:
                return outcome
            leg = await final_leg(session, asked.operation_id, LegName.SETTLE)
            await book.post(session, asked.operation_id, leg.leg, leg.generation)
            rows.loan.status, rows.loan.review_reason = LoanStatus.ACTIVE, None
            rows.loan.settle_tx_hash = leg.result_tx_hash
            rows.loan.activated_at = datetime.now(UTC)
            write_event(session, rows.operation, EventType.LOAN_BORROWED, loan_snapshot(rows.loan))
            outcome = finish(rows.operation, Outcome(status=LoanStatus.ACTIVE, loan_id=rows.loan.id))
            await follow(session, rows.loan)
            return outcome

    @activity.defn
    async def move_to_suspense(self, asked: OperationInput) -> Done:
        """USDC that can neither be paid out nor given back to the pool is shown for what it is."""
        async with self._transaction() as session:
            await lock_operation(session, asked.operation_id)
            await _strand(session, asked.operation_id)
            return Done()

    @activity.defn
    async def reverse_loan(self, asked: ReverseLoan) -> Outcome:
        """The borrow was undone on chain down to zero debt: the limits are free again and the partner is told."""
        if asked.debt.outstanding > 0:
            raise InvariantBroken(f"{asked.operation_id} still owes {asked.debt.outstanding} on chain")
        async with self._transaction() as session:
            rows = await lock_borrow(session, asked.operation_id)
            if (outcome := stored_outcome(rows.operation)) is not None:
                return outcome
            await _post_unwind(session, asked.operation_id)
            await limit_book.release_drawn(session, rows.partner, rows.reservation, rows.loan.outstanding)
            rows.position.total_partner_debt -= rows.loan.outstanding
            rows.loan.outstanding = 0
            rows.loan.status, rows.loan.review_reason = LoanStatus.REVERSED, None
            rows.loan.closed_at = datetime.now(UTC)
            write_event(session, rows.operation, EventType.LOAN_REVERSED, loan_snapshot(rows.loan, asked.refusal))
            outcome = Outcome(status=LoanStatus.REVERSED, loan_id=rows.loan.id, problem=asked.refusal)
            return finish(rows.operation, outcome)


async def _post_unwind(session: AsyncSession, operation_id: str) -> None:
    """What the unwind did not need, since somebody else had repaid a part or all, is nobody's: it goes to suspense."""
    await book.void(session, operation_id, LegName.SETTLE)
    await post_final_legs(session, operation_id)
    await _strand(session, operation_id)


async def _strand(session: AsyncSession, operation_id: str) -> None:
    stranded = await book.balance(session, accounts.IN_FLIGHT, operation_id)
    if stranded > 0:
        await book.record(session, _to_suspense(operation_id, stranded))


def _decision(operation: Operation) -> BorrowDecision | None:
    if operation.state is OperationState.NOT_STARTED:
        return BorrowDecision(kind=DecisionKind.REFUSED, refusal=NotStarted().payload())
    return None if operation.decision is None else stored_decision(operation)


def _to_suspense(operation_id: str, amount: int) -> book.Entry:
    return book.Entry(
        kind=LedgerKind.SUSPENSE,
        debit=accounts.IN_FLIGHT,
        credit=accounts.SUSPENSE,
        amount=amount,
        operation_id=operation_id,
    )
