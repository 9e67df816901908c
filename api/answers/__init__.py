"""What the API answers. Amounts are strings of USDC base units, times RFC 3339 in UTC, ids opaque strings."""

from api.answers.chain import CreditLineAnswer, PositionAnswer, RepaymentPlanAnswer
from api.answers.common import Amount, Answer
from api.answers.grants import GrantAnswer, GrantsAnswer, TypedDataAnswer, TypedDomain, TypedField, TypedMessage
from api.answers.health import HealthAnswer, ReadinessAnswer
from api.answers.loans import LoanAnswer, PayoffAnswer, RepaymentAnswer
from api.answers.money import AnswerDecision, BorrowAnswer, QuoteAnswer, RepayAnswer
from api.answers.operations import OperationAnswer, OutcomeAnswer, TimelineEntry

__all__ = [
    "Amount",
    "Answer",
    "AnswerDecision",
    "BorrowAnswer",
    "CreditLineAnswer",
    "GrantAnswer",
    "GrantsAnswer",
    "HealthAnswer",
    "LoanAnswer",
    "OperationAnswer",
    "OutcomeAnswer",
    "PayoffAnswer",
    "PositionAnswer",
    "QuoteAnswer",
    "ReadinessAnswer",
    "RepayAnswer",
    "RepaymentAnswer",
    "RepaymentPlanAnswer",
    "TimelineEntry",
    "TypedDataAnswer",
    "TypedDomain",
    "TypedField",
    "TypedMessage",
]
