"""A loan, its repayments and what is owed."""

from datetime import datetime
from typing import Any

from pydantic import Field

from api.answers.common import Amount, Answer
from models.statuses import LoanStatus, RepaymentMode, RepaymentState


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


class LoanAnswer(Answer):
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
    repayments: list[RepaymentAnswer]


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
