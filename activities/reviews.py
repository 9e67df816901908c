"""What waits for a person, and what a person asked for: written to the operation's rows, so that no run forgets it."""

from datetime import UTC, datetime

from sqlalchemy import exists, select
from sqlalchemy.ext.asyncio import AsyncSession
from temporalio import activity

from activities.limit_book import reservation_of
from activities.operation_rows import lock_operation, write_event
from activities.snapshots import loan_snapshot, repayment_snapshot
from models.events.payloads import EventData
from models.messages.common import Done, OperationInput, UnderReview
from models.statuses import EventType, LoanStatus, OperationKind, OperationState, RepaymentState, ReservationState
from models.tables.loans import Loan, Repayment
from models.tables.operations import Event, Operation
from models.tables.session import Transaction


class ReviewActivities:
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    @activity.defn
    async def mark_under_review(self, asked: UnderReview) -> Done:
        """The loan or repayment becomes UNDER_REVIEW with its reason; the first time, the partner is told of the delay."""
        async with self._transaction() as session:
            operation = await lock_operation(session, asked.operation_id)
            if operation.state is OperationState.DONE:
                return Done()
            operation.review_reason = asked.reason
            kind, snapshot = await _mark(session, operation, asked.reason)
            if not await _told(session, operation.id, kind):
                write_event(session, operation, kind, snapshot)
            return Done()

    @activity.defn
    async def end_review(self, asked: OperationInput) -> Done:
        """What was waited for has come: the loan or repayment is again what its rows make of it."""
        async with self._transaction() as session:
            operation = await lock_operation(session, asked.operation_id)
            if operation.state is OperationState.DONE or operation.review_reason is None:
                return Done()
            operation.review_reason = None
            await _unmark(session, operation)
            return Done()

    @activity.defn
    async def request_cancel(self, asked: OperationInput) -> Done:
        """The lane reads this flag in the transaction that would send the operation's first leg, and abandons it."""
        async with self._transaction() as session:
            operation = await lock_operation(session, asked.operation_id)
            operation.cancel_requested_at = operation.cancel_requested_at or datetime.now(UTC)
            return Done()


async def _mark(session: AsyncSession, operation: Operation, reason: str) -> tuple[EventType, EventData]:
    loan = await _lock_loan(session, operation)
    if operation.kind is OperationKind.BORROW:
        loan.status, loan.review_reason = LoanStatus.UNDER_REVIEW, reason
        return EventType.LOAN_DELAYED, loan_snapshot(loan)
    repayment = await _repayment(session, operation)
    repayment.state, repayment.review_reason = RepaymentState.UNDER_REVIEW, reason
    return EventType.REPAYMENT_DELAYED, repayment_snapshot(repayment, loan)


async def _unmark(session: AsyncSession, operation: Operation) -> None:
    loan = await _lock_loan(session, operation)
    if operation.kind is OperationKind.BORROW:
        borrowed = (await reservation_of(session, operation.id)).state is ReservationState.DRAWN
        loan.status = LoanStatus.SETTLING if borrowed else LoanStatus.PENDING
        loan.review_reason = None
        return
    repayment = await _repayment(session, operation)
    repayment.state = RepaymentState.REPAYING if repayment.collected else RepaymentState.COLLECTING
    repayment.review_reason = None


async def _lock_loan(session: AsyncSession, operation: Operation) -> Loan:
    query = select(Loan).where(Loan.id == operation.loan_id).with_for_update(key_share=True)
    return (await session.scalars(query)).one()


async def _repayment(session: AsyncSession, operation: Operation) -> Repayment:
    query = select(Repayment).where(Repayment.operation_id == operation.id)
    return (await session.scalars(query)).one()


async def _told(session: AsyncSession, operation_id: str, kind: EventType) -> bool:
    query = select(exists().where(Event.operation_id == operation_id, Event.type == kind))
    return bool(await session.scalar(query))
