"""An operation as its partner sees it: where it stands, what was promised, how it ended, and each leg on the chain."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from api.answers import OperationAnswer, OperationSummary, OutcomeAnswer, QuoteAnswer, TimelineEntry
from api.idempotency import decision_of
from api.problems import Problem, problem_of
from models.errors import OperationNotFound, RefusalPayload
from models.messages.borrow import BorrowDecision, BorrowTerms
from models.messages.common import Outcome
from models.messages.repay import RepayDecision, RepayTerms
from models.statuses import OperationState
from models.tables.operations import Operation
from models.tables.transactions import ChainAttempt, ChainTransaction

Leg = tuple[ChainTransaction, str | None]
_NO_TRACE = "0" * 32


async def find_operation(session: AsyncSession, partner_id: str, operation_id: str) -> Operation:
    """Raises OperationNotFound, also for another partner's."""
    asked = select(Operation).where(Operation.id == operation_id, Operation.partner_id == partner_id)
    operation = await session.scalar(asked)
    if operation is None:
        raise OperationNotFound(operation_id)
    return operation


async def legs_of(session: AsyncSession, operation: Operation) -> Sequence[Leg]:
    """Each generation of each leg, in the order they were asked for, with the hash of its newest attempt that was sent."""
    newest = (
        select(ChainAttempt.hash)
        .where(ChainAttempt.transaction_id == ChainTransaction.id, ChainAttempt.sent_at.is_not(None))
        .order_by(ChainAttempt.sent_at.desc())
        .limit(1)
        .scalar_subquery()
    )
    asked = (
        select(ChainTransaction, func.coalesce(ChainTransaction.result_tx_hash, newest))
        .where(ChainTransaction.operation_id == operation.id)
        .order_by(ChainTransaction.id)
    )
    return [(transaction, tx_hash) for transaction, tx_hash in await session.execute(asked)]


def operation_answer(operation: Operation, legs: Sequence[Leg], problem_base: str) -> OperationAnswer:
    return OperationAnswer(
        **_fields(operation, problem_base),
        step=_step(operation, legs),
        timeline=[_entry(transaction, tx_hash) for transaction, tx_hash in legs],
    )


def operation_summary(operation: Operation, problem_base: str) -> OperationSummary:
    return OperationSummary(**_fields(operation, problem_base))


def _fields(operation: Operation, problem_base: str) -> dict[str, Any]:
    borrow, repay = _terms(operation)
    outcome = None if operation.outcome is None else Outcome.model_validate(operation.outcome)
    return {
        "operation_id": operation.id,
        "kind": operation.kind,
        "state": operation.state,
        "decision": operation.decision,
        "loan_id": repay.loan_id if repay is not None else operation.loan_id,
        "partner_loan_id": operation.partner_loan_id,
        "repayment_id": None if repay is None else repay.repayment_id,
        "quote": None if borrow is None else QuoteAnswer.of(borrow.quote),
        "amount": None if repay is None or repay.amount is None else str(repay.amount),
        "outcome": None if outcome is None else OutcomeAnswer(status=outcome.status),
        "problem": _problem(operation, outcome, problem_base),
        "received_at": operation.received_at,
        "decided_at": operation.decided_at,
        "done_at": operation.done_at,
    }


def _terms(operation: Operation) -> tuple[BorrowTerms | None, RepayTerms | None]:
    decision = decision_of(operation)
    borrow = decision.terms if isinstance(decision, BorrowDecision) else None
    repay = decision.terms if isinstance(decision, RepayDecision) else None
    return borrow, repay


def _step(operation: Operation, legs: Sequence[Leg]) -> str:
    """Where the operation is, in one word; a leg's name once one was asked for."""
    if operation.state in (OperationState.DONE, OperationState.RECEIVED, OperationState.NOT_STARTED):
        return operation.state.lower()
    if operation.review_reason is not None:
        return "under_review"
    if operation.decision is None:
        return "deciding"
    newest: ChainTransaction | None = legs[-1][0] if legs else None
    return "accepted" if newest is None else newest.leg


def _problem(operation: Operation, outcome: Outcome | None, base: str) -> Problem | None:
    payload = None if outcome is None else outcome.problem
    if payload is None and operation.refusal is not None:
        payload = RefusalPayload.model_validate(operation.refusal)
    return None if payload is None else problem_of(payload, base, operation.trace_id or _NO_TRACE, operation.id)


def _entry(transaction: ChainTransaction, tx_hash: str | None) -> TimelineEntry:
    return TimelineEntry(
        leg=transaction.leg,
        generation=transaction.generation,
        state=transaction.state,
        amount=str(transaction.amount),
        tx_hash=tx_hash,
        block_number=transaction.result_block,
        reason=transaction.reason,
        queued_at=transaction.queued_at,
        prepared_at=transaction.prepared_at,
        broadcast_at=transaction.broadcast_at,
        mined_at=transaction.mined_at,
        final_at=transaction.final_at,
    )
