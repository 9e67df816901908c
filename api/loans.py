"""Loans as partners see them. Another partner's loan is not there."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from activities.leg_rows import plan_created
from api.answers import LoanAnswer, LoanSummary, RepaymentAnswer
from api.schedule import schedule_of
from chain.contracts.vault_events import RepaymentPlanCreated
from models.errors import LoanNotFound
from models.statuses import LegName, TransactionState
from models.tables.loans import Loan, Repayment
from models.tables.transactions import ChainTransaction


async def newest_loan(session: AsyncSession, partner_id: str, partner_loan_id: str) -> Loan:
    """The newest loan of this name, since a name is free again after a loan that came to nothing. Raises LoanNotFound."""
    asked = (
        select(Loan)
        .where(Loan.partner_id == partner_id, Loan.partner_loan_id == partner_loan_id)
        .order_by(Loan.created_at.desc(), Loan.id.desc())
        .limit(1)
    )
    loan = await session.scalar(asked)
    if loan is None:
        raise LoanNotFound(partner_loan_id)
    return loan


async def repayments_of(session: AsyncSession, loan: Loan) -> Sequence[Repayment]:
    """Oldest first."""
    asked = select(Repayment).where(Repayment.loan_id == loan.id).order_by(Repayment.created_at, Repayment.id)
    return (await session.scalars(asked)).all()


async def plan_of(session: AsyncSession, loan: Loan) -> RepaymentPlanCreated | None:
    """The plan that the loan's borrow began on chain; None before that is final, or where it came to nothing."""
    if loan.borrow_tx_hash is None:
        return None
    asked = select(ChainTransaction).where(
        ChainTransaction.operation_id == loan.operation_id,
        ChainTransaction.leg == LegName.BORROW,
        ChainTransaction.state == TransactionState.FINAL_OK,
    )
    leg = await session.scalar(asked)
    return None if leg is None else plan_created(leg)


def loan_summary(loan: Loan) -> LoanSummary:
    return LoanSummary(**_fields(loan))


def loan_answer(
    loan: Loan, repayments: Sequence[Repayment], plan: RepaymentPlanCreated | None, now: datetime
) -> LoanAnswer:
    return LoanAnswer(
        **_fields(loan),
        schedule=schedule_of(loan, plan, now),
        repayments=[repayment_answer(repayment) for repayment in repayments],
    )


def _fields(loan: Loan) -> dict[str, Any]:
    return {
        "loan_id": loan.id,
        "partner_loan_id": loan.partner_loan_id,
        "operation_id": loan.operation_id,
        "status": loan.status,
        "oaid_token_id": str(loan.oaid_token_id),
        "position_id": str(loan.position_id),
        "user_wallet": loan.user_wallet,
        "settlement_address": loan.settlement_address,
        "principal": str(loan.principal),
        "fee": str(loan.fee),
        "payout": str(loan.payout),
        "outstanding": str(loan.outstanding),
        "written_off": str(loan.written_off),
        "loan_duration": loan.loan_duration,
        "number_of_installments": loan.number_of_installments,
        "metadata": loan.metadata_,
        "borrow_tx_hash": loan.borrow_tx_hash,
        "settle_tx_hash": loan.settle_tx_hash,
        "review_reason": loan.review_reason,
        "created_at": loan.created_at,
        "activated_at": loan.activated_at,
        "closed_at": loan.closed_at,
    }


def repayment_answer(repayment: Repayment) -> RepaymentAnswer:
    return RepaymentAnswer(
        repayment_id=repayment.id,
        operation_id=repayment.operation_id,
        state=repayment.state,
        mode=repayment.mode,
        payoff=repayment.payoff,
        requested=_amount(repayment.requested),
        collected=str(repayment.collected),
        principal=str(repayment.principal),
        interest=str(repayment.interest),
        residue=str(repayment.residue),
        refunded=str(repayment.refunded),
        remaining_debt=_amount(repayment.remaining_debt),
        tx_hash=repayment.tx_hash,
        created_at=repayment.created_at,
        closed_at=repayment.closed_at,
    )


def _amount(amount: int | None) -> str | None:
    return None if amount is None else str(amount)
