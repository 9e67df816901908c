"""Where an operation stands, and each of its legs."""

from datetime import datetime

from pydantic import Field

from api.answers.common import Amount, Answer, NextCursor
from api.answers.money import QuoteAnswer
from api.problems import Problem
from models.statuses import DecisionKind, OperationKind, OperationState, TransactionState


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


class OperationSummary(Answer):
    operation_id: str
    kind: OperationKind
    state: OperationState
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


class OperationAnswer(OperationSummary):
    step: str = Field(description="received, deciding, a leg's name, under_review or done", examples=["settle"])
    timeline: list[TimelineEntry]


class OperationsAnswer(Answer):
    operations: list[OperationSummary]
    next_cursor: NextCursor
