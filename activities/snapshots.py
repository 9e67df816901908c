"""What an event tells, from the rows: the full state of a loan or repayment at that moment (models/events)."""

from models.errors import RefusalPayload
from models.events.payloads import LoanSnapshot, RejectedBorrow, RejectedRepayment, RepaymentSnapshot
from models.messages.borrow import BorrowRequest
from models.messages.repay import RepayRequest
from models.tables.loans import Loan, Repayment
from models.tables.operations import Operation


def loan_snapshot(
    loan: Loan, problem: RefusalPayload | None = None, repayment: Repayment | None = None
) -> LoanSnapshot:
    """``repayment`` is the one that brought the debt to zero."""
    return LoanSnapshot(
        loan_id=loan.id,
        partner_loan_id=loan.partner_loan_id,
        status=loan.status,
        user_wallet=loan.user_wallet,
        oaid_token_id=str(loan.oaid_token_id),
        position_id=str(loan.position_id),
        principal=str(loan.principal),
        fee=str(loan.fee),
        payout=str(loan.payout),
        outstanding=str(loan.outstanding),
        written_off=str(loan.written_off),
        settlement_address=loan.settlement_address,
        loan_duration=loan.loan_duration,
        number_of_installments=loan.number_of_installments,
        metadata=loan.metadata_,
        borrow_tx_hash=loan.borrow_tx_hash,
        settle_tx_hash=loan.settle_tx_hash,
        review_reason=loan.review_reason,
        created_at=loan.created_at,
        activated_at=loan.activated_at,
        closed_at=loan.closed_at,
        problem=problem,
        repayment_id=None if repayment is None else repayment.id,
    )


def rejected_borrow(operation: Operation, problem: RefusalPayload) -> RejectedBorrow:
    """A refused borrow has no loan row; the request says what was asked for."""
    asked = BorrowRequest.model_validate(operation.request)
    return RejectedBorrow(
        partner_loan_id=asked.partner_loan_id,
        user_wallet=asked.user_wallet,
        oaid_token_id=str(asked.oaid_token_id),
        amount=str(asked.amount),
        loan_duration=asked.loan_duration,
        number_of_installments=asked.number_of_installments,
        metadata=(operation.request or {}).get("metadata") or {},
        problem=problem,
    )


def repayment_snapshot(repayment: Repayment, loan: Loan, problem: RefusalPayload | None = None) -> RepaymentSnapshot:
    return RepaymentSnapshot(
        repayment_id=repayment.id,
        loan_id=loan.id,
        partner_loan_id=loan.partner_loan_id,
        status=repayment.state,
        mode=repayment.mode,
        payoff=repayment.payoff,
        requested=_amount(repayment.requested),
        collected=str(repayment.collected),
        principal=str(repayment.principal),
        interest=str(repayment.interest),
        residue_paid_by_platform=str(repayment.residue),
        refunded=str(repayment.refunded),
        remaining_debt=_amount(repayment.remaining_debt),
        tx_hash=repayment.tx_hash,
        review_reason=repayment.review_reason,
        created_at=repayment.created_at,
        closed_at=repayment.closed_at,
        loan=loan_snapshot(loan),
        problem=problem,
    )


def rejected_repayment(
    operation: Operation, problem: RefusalPayload, repayment: Repayment | None = None
) -> RejectedRepayment:
    """``repayment`` is there where it had been accepted, and its transfer was refused only when it was to be claimed."""
    asked = RepayRequest.model_validate(operation.request)
    return RejectedRepayment(
        partner_loan_id=asked.partner_loan_id,
        loan_id=operation.loan_id,
        repayment_id=None if repayment is None else repayment.id,
        amount=_amount(asked.amount),
        payoff=asked.payoff,
        transfer_tx_hash=asked.transfer_tx_hash,
        problem=problem,
    )


def _amount(amount: int | None) -> str | None:
    return None if amount is None else str(amount)
