"""What the API answers. Amounts are strings of USDC base units, times RFC 3339 in UTC, ids opaque strings."""

from api.answers.chain import (
    CreditLineAnswer,
    CreditLinesAnswer,
    CreditLineSummary,
    CreditProfileAnswer,
    PositionAnswer,
    RepaymentPlanAnswer,
)
from api.answers.common import Amount, Answer, NextCursor
from api.answers.grants import GrantAnswer, GrantsAnswer, TypedDataAnswer, TypedDomain, TypedField, TypedMessage
from api.answers.health import HealthAnswer, ReadinessAnswer
from api.answers.loans import (
    InstallmentAnswer,
    InstallmentState,
    LoanAnswer,
    LoansAnswer,
    LoanSummary,
    PayoffAnswer,
    RepaymentAnswer,
    RepaymentsAnswer,
)
from api.answers.me import LimitAnswer, LimitsAnswer, MeAnswer, OwnKeyAnswer, RefusedAnswer, RepaidAnswer, StatsAnswer
from api.answers.money import AnswerDecision, BorrowAnswer, QuoteAnswer, RepayAnswer
from api.answers.operations import OperationAnswer, OperationsAnswer, OperationSummary, OutcomeAnswer, TimelineEntry
from api.answers.preflight import PreflightAnswer

__all__ = [
    "Amount",
    "Answer",
    "AnswerDecision",
    "BorrowAnswer",
    "CreditLineAnswer",
    "CreditLineSummary",
    "CreditLinesAnswer",
    "CreditProfileAnswer",
    "GrantAnswer",
    "GrantsAnswer",
    "HealthAnswer",
    "InstallmentAnswer",
    "InstallmentState",
    "LimitAnswer",
    "LimitsAnswer",
    "LoanAnswer",
    "LoanSummary",
    "LoansAnswer",
    "MeAnswer",
    "NextCursor",
    "OperationAnswer",
    "OperationSummary",
    "OperationsAnswer",
    "OutcomeAnswer",
    "OwnKeyAnswer",
    "PayoffAnswer",
    "PositionAnswer",
    "PreflightAnswer",
    "QuoteAnswer",
    "ReadinessAnswer",
    "RefusedAnswer",
    "RepaidAnswer",
    "RepayAnswer",
    "RepaymentAnswer",
    "RepaymentPlanAnswer",
    "RepaymentsAnswer",
    "StatsAnswer",
    "TimelineEntry",
    "TypedDataAnswer",
    "TypedDomain",
    "TypedField",
    "TypedMessage",
]
