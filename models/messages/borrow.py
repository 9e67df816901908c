"""Payloads of ``BorrowWorkflow``. Amounts are base units, durations seconds."""

from datetime import datetime
from enum import StrEnum

from models.errors import RefusalPayload
from models.messages.common import Address, Debt, DecisionBase, LegBegun, Message, Outcome, Pace
from models.money import Quote
from models.statuses import DecisionKind, OperationState


class BorrowRequest(Message):
    """What the partner asked for, as stored with the operation."""

    partner_loan_id: str
    oaid_token_id: int
    user_wallet: Address
    amount: int
    loan_duration: int
    number_of_installments: int


class BorrowTerms(Message):
    """The promise made at the reservation: a run at any later time keeps to these terms."""

    loan_id: str
    quote: Quote
    fee_bps: int
    position_id: int
    oaid_token_id: int
    user_wallet: Address
    settlement_address: Address
    vault_address: Address
    loan_duration: int
    number_of_installments: int
    residue_cap: int
    """The most that the platform adds to bring a debt to zero."""
    pace: Pace


class BorrowDecision(DecisionBase):
    terms: BorrowTerms | None = None


class OpenedBorrow(Message):
    """What the operation's row says at the start of a run."""

    state: OperationState
    partner_id: str
    loan_id: str
    request: BorrowRequest
    decision: BorrowDecision | None = None
    outcome: Outcome | None = None
    begun: tuple[LegBegun, ...] = ()
    review_reason: str | None = None
    """Why an earlier run has asked for a person's attention, where nothing has answered it yet."""


class AuthorizeBorrow(Message):
    operation_id: str
    request: BorrowRequest


class Authorization(Message):
    """Who borrows and on what ground. ``position_id`` is what the grant knew; the chain is asked again."""

    partner_id: str
    fee_bps: int
    grant_id: str
    by_administrator: bool
    position_id: int


class CheckCreditLine(Message):
    request: BorrowRequest
    position_id: int
    by_administrator: bool


class CreditLineStanding(Message):
    """A credit line that can carry the borrow, as the chain showed it at ``block_number``."""

    position_id: int
    block_number: int
    collateral_token: Address
    collateral_amount: int
    collateral_value: int
    credit_limit: int


class CalculateFee(Message):
    amount: int
    fee_bps: int


class ReserveLimit(Message):
    operation_id: str
    quote: Quote
    authorization: Authorization
    standing: CreditLineStanding


class AwaitSettlement(Message):
    """Waits until a payout would pass, until it is blocked for good, or until ``deadline``."""

    settlement_address: Address
    amount: int
    pace: Pace
    deadline: datetime


class SettlementVerdict(StrEnum):
    """What is known of a payout that does not go through.

    OPEN: it would pass now. BLOCKED: it was refused for as long as the terms say, while one to a probe address passed.
    UNDECIDED: neither, until the deadline.
    """

    OPEN = "open"
    BLOCKED = "blocked"
    UNDECIDED = "undecided"


class SettlementOutlook(Message):
    verdict: SettlementVerdict
    reason: str = ""


class ReverseLoan(Message):
    """``debt`` is what the chain says after the unwind: only zero reverses a loan."""

    operation_id: str
    refusal: RefusalPayload
    debt: Debt


class LoanOperation(Message):
    operation_id: str
    loan_id: str


def accepted(terms: BorrowTerms) -> BorrowDecision:
    return BorrowDecision(kind=DecisionKind.ACCEPTED, loan_id=terms.loan_id, terms=terms)
