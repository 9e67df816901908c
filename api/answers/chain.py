"""What the chain says of credit lines and positions."""

from datetime import datetime

from pydantic import Field

from api.answers.common import Amount, Answer


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
