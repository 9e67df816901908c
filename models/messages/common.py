"""Payloads that several workflows share. Fields are only ever added, with defaults: old histories must still replay."""

from enum import StrEnum
from typing import Annotated

from eth_typing import ChecksumAddress
from eth_utils.address import to_checksum_address
from pydantic import AfterValidator, BaseModel, ConfigDict

from models.errors import RefusalPayload
from models.statuses import DecisionKind


class Message(BaseModel):
    """The base of every workflow and activity payload."""

    model_config = ConfigDict(frozen=True)


def _checksummed(value: str) -> ChecksumAddress:
    return to_checksum_address(value)


Address = Annotated[ChecksumAddress, AfterValidator(_checksummed)]
"""A 20-byte EVM address, always in its checksummed spelling."""


class OperationInput(Message):
    """All that starts a workflow: everything else is in the operation's row."""

    operation_id: str
    traceparent: str | None = None


class Pace(Message):
    """How long an operation waits for things, in seconds; part of its terms, so that a run never depends on settings."""

    leg_patience: int
    """Until a leg without an outcome is shown to operators."""
    settle_retry: int
    """Between two looks at a settlement that does not go through."""
    settle_blocked: int
    """How long the transfer must be refused, while one to a probe address passes, before the borrow is undone."""
    settle_deadline: int
    """Until an operator decides about a settlement that can neither succeed nor be ruled out."""
    proof_wait: int
    """How long a transfer that a partner names may take to become final."""


class Outcome(Message):
    """How an operation ended: the loan's or repayment's status, and the problem where it did not succeed."""

    status: str
    loan_id: str | None = None
    problem: RefusalPayload | None = None


class Done(Message):
    """The answer of a step that has nothing to tell but that it is done."""


class LegBegun(Message):
    """The newest generation of a leg that an earlier run of the same operation has begun."""

    leg: str
    generation: int


class ReadDebt(Message):
    """``at_least_block``: a node that is not there yet cannot answer."""

    position_id: int
    at_least_block: int = 0
    operation_id: str | None = None
    """Whose loan's debt is asked for. What the user has borrowed on the position since that debt ended is not of it."""


class Debt(Message):
    """What the chain says is owed at ``block_number``, in base units: principal, and interest to that block's second."""

    outstanding: int
    principal: int
    block_number: int
    liquidated: bool = False
    """The position was liquidated: then nothing owed need not mean that all was repaid."""


class ReadResidue(Message):
    operation_id: str
    position_id: int
    at_least_block: int = 0


class Residue(Message):
    """What is left after an operation's own repayments. ``ours``: it is the rest of this loan's debt and nothing else."""

    debt: Debt
    ours: bool


class Refuse(Message):
    """Ends an operation with a problem: undecided, it is refused; accepted, it did not succeed."""

    operation_id: str
    refusal: RefusalPayload


class UnderReview(Message):
    """Tells operators and the partner that an operation waits for a person, and why."""

    operation_id: str
    reason: str


class DecisionBase(Message):
    kind: DecisionKind
    loan_id: str | None = None
    refusal: RefusalPayload | None = None

    @property
    def refused(self) -> bool:
        return self.kind is DecisionKind.REFUSED


class OperatorChoice(StrEnum):
    """What an operator may decide about a leg that did not succeed."""

    RETRY = "retry"
    UNWIND = "unwind"
