"""What the API answers. Amounts are strings of USDC base units, times RFC 3339 in UTC, ids opaque strings."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from api.problems import Problem
from models.money import Quote
from models.statuses import (
    DecisionKind,
    GrantEvidence,
    LoanStatus,
    OperationKind,
    OperationState,
    RepaymentMode,
    RepaymentState,
    TransactionState,
)

Amount = Annotated[str, Field(pattern=r"^(0|[1-9][0-9]*)$", examples=["5000000000"])]


class Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class AnswerDecision(StrEnum):
    """``pending``: the operation is recorded and started, and decides without being asked again; look at its Location."""

    ACCEPTED = "accepted"
    PENDING = "pending"


class QuoteAnswer(Answer):
    """``principal = fee + payout``."""

    principal: Amount
    fee: Amount
    payout: Amount

    @classmethod
    def of(cls, quote: Quote) -> "QuoteAnswer":
        return cls(principal=str(quote.principal), fee=str(quote.fee), payout=str(quote.payout))


class BorrowAnswer(Answer):
    operation_id: str
    loan_id: str
    decision: AnswerDecision
    quote: QuoteAnswer | None = Field(default=None, description="absent while the decision is pending")


class RepayAnswer(Answer):
    operation_id: str
    decision: AnswerDecision
    loan_id: str | None = Field(default=None, description="absent while the decision is pending")
    repayment_id: str | None = Field(default=None, description="absent while the decision is pending")
    amount: Amount | None = Field(default=None, description="what is collected; absent where a transfer decides it")


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


class TimelineEntry(Answer):
    """One on-chain effect of the operation; ``tx_hash`` is that of the newest attempt until one is mined."""

    leg: str
    generation: int
    state: TransactionState
    amount: Amount
    tx_hash: str | None
    block_number: int | None
    reason: str | None = Field(description="why it was refused, in the contract's own words")
    queued_at: datetime
    prepared_at: datetime | None
    broadcast_at: datetime | None
    mined_at: datetime | None
    final_at: datetime | None


class OutcomeAnswer(Answer):
    status: str = Field(
        description="the loan's or repayment's status at the end, or REFUSED where there is none", examples=["ACTIVE"]
    )


class OperationAnswer(Answer):
    operation_id: str
    kind: OperationKind
    state: OperationState
    step: str = Field(description="received, deciding, a leg's name, under_review or done", examples=["settle"])
    decision: DecisionKind | None
    loan_id: str | None
    partner_loan_id: str | None
    repayment_id: str | None
    quote: QuoteAnswer | None = Field(description="of an accepted borrow")
    amount: Amount | None = Field(description="of an accepted repayment, where it is known")
    outcome: OutcomeAnswer | None = Field(description="absent until the operation is DONE")
    problem: Problem | None = Field(description="why it was refused, or did not succeed")
    received_at: datetime
    decided_at: datetime | None
    done_at: datetime | None
    timeline: list[TimelineEntry]


class TypedField(Answer):
    name: str
    type: str


class TypedDomain(Answer):
    chain_id: int = Field(alias="chainId")
    verifying_contract: str = Field(alias="verifyingContract")


class TypedMessage(Answer):
    """Numbers are strings, since many wallets read JSON numbers as doubles."""

    partner_id: str = Field(alias="partnerId")
    oaid_token_id: str = Field(alias="oaidTokenId")
    user_wallet: str = Field(alias="userWallet")
    max_amount: str = Field(alias="maxAmount")
    expires_at: str = Field(alias="expiresAt", description="seconds since 1970")
    nonce: str = Field(description="goes into POST /v1/grants")


class TypedDataAnswer(Answer):
    """Goes to ``eth_signTypedData_v4`` as it is (EIP-712)."""

    types: dict[str, list[TypedField]]
    primary_type: str = Field(alias="primaryType")
    domain: TypedDomain
    message: TypedMessage


class GrantAnswer(Answer):
    grant_id: str
    oaid_token_id: str
    position_id: str
    user_wallet: str
    max_amount: Amount
    expires_at: datetime
    evidence: GrantEvidence
    nonce: str | None
    created_at: datetime
    revoked_at: datetime | None


class GrantsAnswer(Answer):
    grants: list[GrantAnswer]
    next_cursor: str | None = Field(description="send it as ?cursor= for the next page; null at the end")


class CreditLineAnswer(Answer):
    oaid_token_id: str
    user_wallet: str
    position_id: str
    collateral_token: str
    collateral_amount: Amount = Field(description="in units of its own token")
    credit_limit: Amount
    credit_used: Amount
    available_credit: Amount
    active: bool
    liquidated: bool
    issued_at: datetime
    total_payments: int
    on_time_payments: int
    late_payments: int
    total_amount_repaid: Amount
    as_of_block: int
    as_of: datetime


class RepaymentPlanAnswer(Answer):
    """While ``active``, the position cannot carry another loan."""

    active: bool
    defaulted: bool
    loan_duration: int
    number_of_installments: int
    installments_paid: int
    missed_payments: int
    next_payment_due: datetime | None


class PositionAnswer(Answer):
    position_id: str
    user_wallet: str
    oaid_token_id: str | None
    collateral_token: str
    collateral_amount: Amount = Field(description="in units of its own token")
    collateral_value: Amount
    token_type: int = Field(description="0: real-world asset, 1: private asset")
    active: bool
    principal: Amount
    outstanding: Amount = Field(description="principal and interest")
    max_borrow: Amount | None = Field(description="what the collateral still carries")
    health_factor_bps: str | None = Field(description="collateral against debt in basis points; null without debt")
    plan: RepaymentPlanAnswer
    as_of_block: int
    as_of: datetime


class HealthAnswer(Answer):
    status: str = Field(examples=["ok"])


class ReadinessAnswer(HealthAnswer):
    checks: dict[str, str] = Field(examples=[{"postgresql": "ok", "temporal": "ok", "rpc": "ok"}])
