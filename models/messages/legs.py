"""Payloads of the legs: what is to be called, and what became of it. Amounts are base units."""

from typing import Annotated, Literal

from pydantic import Field

from models.messages.common import Address, Message
from models.statuses import WITHOUT_EFFECT_STATES, TransactionState


class BorrowCall(Message):
    """``SolvencyVault.borrowUSDC``; the vault pays the platform wallet."""

    call: Literal["borrow"] = "borrow"
    position_id: int
    amount: int
    loan_duration: int
    number_of_installments: int


class RepayCall(Message):
    """``SolvencyVault.repayLoan`` from the platform wallet; the submission lowers ``amount`` to what is owed then."""

    call: Literal["repay"] = "repay"
    position_id: int
    amount: int


class TransferCall(Message):
    """``USDC.transfer`` from the platform wallet."""

    call: Literal["transfer"] = "transfer"
    recipient: Address
    amount: int


class CollectCall(Message):
    """``USDC.transferFrom`` into the platform wallet."""

    call: Literal["collect"] = "collect"
    payer: Address
    amount: int


class ApproveCall(Message):
    """``USDC.approve`` for the vault, always a bounded amount."""

    call: Literal["approve"] = "approve"
    amount: int


LegCall = Annotated[BorrowCall | RepayCall | TransferCall | CollectCall | ApproveCall, Field(discriminator="call")]


class SubmitTransaction(Message):
    """Asks for one generation of a leg. Repeating it with the same operation, leg and generation changes nothing."""

    operation_id: str
    leg: str
    generation: int = 1
    call: LegCall
    instead_of: str | None = None
    """A leg that is abandoned in the same transaction, so that it can never be sent beside this one."""
    instead_of_generation: int = 0
    """The newest generation of that leg which the caller knows to be without effect; a newer one stops this leg."""
    at_least_block: int = 0
    """Where the operation's last leg was mined: a node that is not there yet cannot say what is owed."""


class ConfirmTransaction(Message):
    operation_id: str
    leg: str
    generation: int = 1
    patience: int
    """Seconds until the answer may be that the leg still has no outcome."""
    held_is_known: bool = False
    """Whether HELD was reported before, so that only a change from it is news."""


class LegOutcome(Message):
    """One generation of a leg as it stands now. ``patience_ended`` says that it has no outcome yet."""

    state: TransactionState
    generation: int
    amount: int
    tx_hash: str | None = None
    block_number: int | None = None
    reason: str | None = None
    patience_ended: bool = False

    @property
    def succeeded(self) -> bool:
        return self.state is TransactionState.FINAL_OK

    @property
    def without_effect(self) -> bool:
        return self.state in WITHOUT_EFFECT_STATES
