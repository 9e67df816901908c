"""Payloads of ``RepayWorkflow``. Amounts are base units."""

from models.messages.common import Address, DecisionBase, LegBegun, Message, Outcome, Pace
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


class ReadDebt(Message):
    position_id: int


class Debt(Message):
    """What the chain says is owed at ``block_number``: principal and interest to that block's second."""

    outstanding: int
    principal: int
    block_number: int


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
    """USDC that is now in the platform wallet and owed to the partner; ``payer`` is whom an excess goes back to."""

    amount: int
    payer: Address


class RepaymentOperation(Message):
    operation_id: str
    repayment_id: str


def accepted(terms: RepayTerms) -> RepayDecision:
    return RepayDecision(kind=DecisionKind.ACCEPTED, loan_id=terms.loan_id, terms=terms)
