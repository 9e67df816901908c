"""What a request that moves money is answered."""

from enum import StrEnum

from pydantic import Field

from api.answers.common import Amount, Answer
from models.money import Quote


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
