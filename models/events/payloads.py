"""What events tell: the full state of a loan, repayment or installment at that moment, as versioned models.

Amounts are strings of USDC base units, times RFC 3339 in UTC, ids opaque strings. Fields are only ever added; a change that
a receiver could stumble over is a new version, by the side of the old one.
"""

from datetime import datetime
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from models.errors import RefusalPayload
from models.statuses import LoanStatus, RepaymentMode, RepaymentState

Amount = Annotated[str, Field(pattern=r"^(0|[1-9][0-9]*)$", examples=["5000000000"])]

LOAN_EXAMPLE: dict[str, JsonValue] = {
    "loan_id": "loan_01JV9Y6E0SVH1Q5C3M2N8P4R7T",
    "partner_loan_id": "loan-2026-000042",
    "status": "ACTIVE",
    "user_wallet": "0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
    "oaid_token_id": "1",
    "position_id": "1",
    "principal": "5000000000",
    "fee": "25000000",
    "payout": "4975000000",
    "outstanding": "5000000000",
    "written_off": "0",
    "settlement_address": "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC",
    "loan_duration": 2592000,
    "number_of_installments": 1,
    "metadata": {"channel": "mobile"},
    "borrow_tx_hash": "0x" + "ab" * 32,
    "settle_tx_hash": "0x" + "cd" * 32,
    "review_reason": None,
    "created_at": "2026-01-01T00:00:00Z",
    "activated_at": "2026-01-01T00:00:12Z",
    "closed_at": None,
}
PROBLEM_EXAMPLE: dict[str, JsonValue] = {
    "code": "insufficient_credit",
    "status": 422,
    "title": "The credit line does not have enough credit",
    "detail": "The credit line has 1000 USDC left; 5000 USDC were asked for.",
    "figures": {"available": "1000000000", "requested": "5000000000"},
}


class EventData(BaseModel):
    """The base of every payload. ``version`` is that of the model, and stands in the event beside its type."""

    model_config = ConfigDict(frozen=True)
    version: ClassVar[int] = 1

    @property
    def about_loan(self) -> str | None:
        """The loan that the event is about, by which events are found; None where there is none."""
        return None


class LoanSnapshot(EventData):
    """A loan as it is. ``outstanding`` is principal; interest is asked of the payoff."""

    model_config = ConfigDict(frozen=True, json_schema_extra={"examples": [LOAN_EXAMPLE]})

    loan_id: str
    partner_loan_id: str
    status: LoanStatus
    user_wallet: str
    oaid_token_id: str
    position_id: str
    principal: Amount
    fee: Amount
    payout: Amount
    outstanding: Amount
    written_off: Amount
    settlement_address: str
    loan_duration: int = Field(description="seconds")
    number_of_installments: int
    metadata: dict[str, Any]
    borrow_tx_hash: str | None = None
    settle_tx_hash: str | None = None
    review_reason: str | None = Field(default=None, description="what waits for an operator, while it is UNDER_REVIEW")
    created_at: datetime
    activated_at: datetime | None = None
    closed_at: datetime | None = None
    problem: RefusalPayload | None = Field(default=None, description="why the borrow came to nothing")
    repayment_id: str | None = Field(
        default=None, description="the repayment that brought the debt to zero, if one did"
    )

    @property
    def about_loan(self) -> str:
        return self.loan_id


class RejectedBorrow(EventData):
    """A borrow that was refused: there is no loan, nothing was reserved, and the request says what was asked for."""

    partner_loan_id: str
    user_wallet: str
    oaid_token_id: str
    amount: Amount
    loan_duration: int = Field(description="seconds")
    number_of_installments: int
    metadata: dict[str, Any]
    problem: RefusalPayload


class RepaymentSnapshot(EventData):
    """A repayment as it is, with its loan. ``collected`` is what came in; the other amounts say what became of it."""

    repayment_id: str
    loan_id: str
    partner_loan_id: str
    status: RepaymentState
    mode: RepaymentMode
    payoff: bool
    requested: Amount | None = Field(default=None, description="absent for a payoff by a transfer, which decides it")
    collected: Amount
    principal: Amount
    interest: Amount
    residue_paid_by_platform: Amount
    refunded: Amount
    remaining_debt: Amount | None = Field(
        default=None, description="principal and interest on chain, once it was applied"
    )
    tx_hash: str | None = None
    review_reason: str | None = None
    created_at: datetime
    closed_at: datetime | None = None
    loan: LoanSnapshot
    problem: RefusalPayload | None = None

    @property
    def about_loan(self) -> str:
        return self.loan_id


class RejectedRepayment(EventData):
    """A repayment that was refused. A transfer that it named stays claimable."""

    partner_loan_id: str
    loan_id: str | None = None
    repayment_id: str | None = Field(default=None, description="where it had been accepted before")
    amount: Amount | None = None
    payoff: bool
    transfer_tx_hash: str | None = None
    problem: RefusalPayload

    @property
    def about_loan(self) -> str | None:
        return self.loan_id


class InstallmentSnapshot(EventData):
    """An installment by the chain's plan: every repayment counts as one, whatever its size, and moves the next one on."""

    installment: int = Field(description="the first is 1")
    due_at: datetime
    installments_paid: int
    missed_payments: int = Field(description="as the operator of the vault has marked them on chain")
    debt: Amount = Field(description="principal and interest on chain, all of it")
    block_number: int
    loan: LoanSnapshot

    @property
    def about_loan(self) -> str:
        return self.loan.loan_id


class Ping(EventData):
    """A try of an endpoint, to it alone."""

    endpoint_id: str
