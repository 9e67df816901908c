"""What the chain says of credit lines and positions."""

from datetime import datetime

from pydantic import Field

from api.answers.common import Amount, Answer, NextCursor


class CreditProfileAnswer(Answer):
    """What OAID keeps of a user, all credit lines taken together; the score is OAID's own."""

    credit_score: int = Field(description="0 to 1000", examples=[500])
    active_credit_lines: int
    total_credit_limit: Amount = Field(description="of the active lines")
    total_payments: int
    on_time_payments: int
    late_payments: int
    liquidations: int


class CreditLineSummary(Answer):
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


class CreditLineAnswer(CreditLineSummary):
    """The payments are those of this line, the profile's those of all lines of its user."""

    profile: CreditProfileAnswer
    as_of_block: int
    as_of: datetime


class CreditLinesAnswer(Answer):
    """A wallet without lines has an empty list, and the profile that OAID gives it."""

    user_wallet: str
    profile: CreditProfileAnswer
    credit_lines: list[CreditLineSummary] = Field(description="newest first")
    next_cursor: NextCursor
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
    total_partner_debt: Amount = Field(
        description="of the principal, what loans through the engine owe, whichever partner's"
    )
    outside_debt: Amount | None = Field(
        description="of the principal, what the user borrowed without the engine; null where the engine follows no such position"
    )
    plan: RepaymentPlanAnswer
    as_of_block: int
    as_of: datetime
