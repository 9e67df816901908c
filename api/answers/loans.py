"""A loan, its repayments and what is owed."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import Field

from api.answers.common import Amount, Answer, NextCursor
from models.statuses import LoanStatus, RepaymentMode, RepaymentState


class InstallmentState(StrEnum):
    """PAID: covered. MISSED: it fell due first. UPCOMING: neither. ENDED: the loan ended before it fell due, uncovered."""

    PAID = "PAID"
    MISSED = "MISSED"
    UPCOMING = "UPCOMING"
    ENDED = "ENDED"


class RepaymentAnswer(Answer):
    repayment_id: str
    operation_id: str
    state: RepaymentState
    mode: RepaymentMode
    payoff: bool
    requested: Amount | None
    collected: Amount
    principal: Amount
    interest: Amount
    residue: Amount = Field(description="what the platform added so that a payoff reached zero")
    refunded: Amount
    remaining_debt: Amount | None
    tx_hash: str | None
    created_at: datetime
    closed_at: datetime | None


class LoanSummary(Answer):
    loan_id: str
    partner_loan_id: str
    operation_id: str
    status: LoanStatus
    oaid_token_id: str
    position_id: str
    user_wallet: str
    settlement_address: str
    principal: Amount
    fee: Amount
    payout: Amount
    outstanding: Amount = Field(description="principal still owed; interest is in the payoff")
    written_off: Amount = Field(description="principal that a liquidation did not bring back")
    loan_duration: int
    number_of_installments: int
    metadata: dict[str, Any]
    borrow_tx_hash: str | None
    settle_tx_hash: str | None
    review_reason: str | None
    created_at: datetime
    activated_at: datetime | None
    closed_at: datetime | None


class InstallmentAnswer(Answer):
    """A part of the principal; the interest of each second is in the payoff, not here.

    Repaid principal covers the oldest instalments first, whoever repaid it. The vault itself counts every repayment as one
    instalment whatever its size: its own count is in the plan of GET /v1/positions/{position_id}.
    """

    number: int = Field(ge=1, examples=[1])
    due_at: datetime | None = Field(description="null until the borrow is on chain")
    amount: Amount = Field(description="principal / number_of_installments, rounded down; the last one takes the rest")
    paid: Amount = Field(description="how much of it is covered by principal repaid so far")
    state: InstallmentState


class LoanAnswer(LoanSummary):
    schedule: list[InstallmentAnswer] = Field(description="empty where the loan came to nothing")
    repayments: list[RepaymentAnswer] = Field(description="oldest first")


class LoansAnswer(Answer):
    loans: list[LoanSummary]
    next_cursor: NextCursor


class RepaymentsAnswer(Answer):
    repayments: list[RepaymentAnswer]
    next_cursor: NextCursor


class PayoffAnswer(Answer):
    """What the chain says is owed at ``as_of_block``. Interest is simple and by the second."""

    loan_id: str
    outstanding: Amount = Field(description="principal and interest: what a payoff collects")
    principal: Amount
    interest: Amount
    accrual_per_second: str = Field(
        description="interest of each further second, a decimal number of base units", examples=["0.792744799594"]
    )
    as_of_block: int
    as_of: datetime
    valid_until: datetime = Field(
        description="a payoff of `outstanding` that is mined by then ends at zero: the platform adds what accrues until then"
    )
