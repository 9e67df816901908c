"""Payloads of ``RepayWorkflow``. Amounts are base units."""

from models.messages.common import Address, Debt, DecisionBase, LegBegun, Message, Outcome, Pace
from models.statuses import DecisionKind, OperationState, RepaymentMode


class RepayRequest(Message):
    """What the partner asked for: an amount, or a payoff; with a transfer of its own, or by pull."""

    partner_loan_id: str
    amount: int | None = None
    payoff: bool = False
    transfer_tx_hash: str | None = None
    transfer_log_index: int | None = None

    @property
    def mode(self) -> RepaymentMode:
        return RepaymentMode.PULL if self.transfer_tx_hash is None else RepaymentMode.PROOF


class RepayTerms(Message):
    """What was accepted. ``amount`` is what will be collected; a payoff by proof learns it from the transfer."""

    repayment_id: str
    loan_id: str
    position_id: int
    payoff: bool
    mode: RepaymentMode
    amount: int | None
    payer: Address | None
    transfer_tx_hash: str | None = None
    transfer_log_index: int | None = None
    vault_address: Address
    residue_cap: int
    pace: Pace


class RepayDecision(DecisionBase):
    terms: RepayTerms | None = None


class OpenedRepayment(Message):
    state: OperationState
    partner_id: str
    request: RepayRequest
    decision: RepayDecision | None = None
    outcome: Outcome | None = None
    begun: tuple[LegBegun, ...] = ()
    review_reason: str | None = None
    """Why an earlier run has asked for a person's attention, where nothing has answered it yet."""


class AuthorizeRepayment(Message):
    operation_id: str


class Authorized(Message):
    partner_id: str


class FindLoan(Message):
    operation_id: str
    request: RepayRequest


class LoanFound(Message):
    loan_id: str
    position_id: int
    user_wallet: Address
    settlement_address: Address


class CheckFunding(Message):
    """Asks whether the repayment is funded: by allowance and balance (pull), or by the transfer that is named (proof)."""

    operation_id: str
    request: RepayRequest
    loan: LoanFound


class Funding(Message):
    """``amount`` is what will be collected where it is known now; ``payer`` is whom an excess goes back to."""

    amount: int | None
    payer: Address | None


class AcceptRepayment(Message):
    operation_id: str
    request: RepayRequest
    loan: LoanFound
    funding: Funding


class AwaitTransfer(Message):
    """Waits until the transfer that a partner named is final, for at most ``patience`` seconds."""

    operation_id: str
    tx_hash: str
    patience: int


class TransferArrival(Message):
    arrived: bool


class ClaimTransfer(Message):
    operation_id: str
    terms: RepayTerms


class Collected(Message):
    """USDC that is now in the platform wallet and owed to the partner; ``payer`` is whom an excess goes back to.

    ``covers_debt``: it was at least the whole debt when it was collected, so the platform adds what accrues until a
    payoff lands. A payoff that was funded short is a partial repayment.
    """

    amount: int
    payer: Address
    covers_debt: bool


class Uncollected(Message):
    """How a repayment ended that collected nothing; or, where a late attempt did collect, what there is to go on with."""

    outcome: Outcome | None = None
    collected: Collected | None = None


class ApplyRepayment(Message):
    """``debt`` is what the chain says after the last leg: the loan is REPAID where it is zero."""

    operation_id: str
    debt: Debt


class RepaymentOperation(Message):
    operation_id: str
    repayment_id: str


def accepted(terms: RepayTerms) -> RepayDecision:
    return RepayDecision(kind=DecisionKind.ACCEPTED, loan_id=terms.loan_id, terms=terms)
