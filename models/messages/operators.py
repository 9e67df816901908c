"""What operators ask for: each command names who gives it and why, and is recorded (money.md section 2)."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from models.messages.common import Address, Message
from models.statuses import OperatorActionKind

Said = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]


class OperatorCommand(Message):
    """The base of every command of an operator."""

    operator: Said
    reason: Said


class HoldResolution(StrEnum):
    """How a leg leaves HELD.

    RESUME: back to BROADCAST, to be watched and sent again. ACCEPT: its final receipt counts as it stands, if it shows
    what the leg's rows are written from.
    """

    RESUME = "resume"
    ACCEPT = "accept"


class CancelEffect(StrEnum):
    """What became of the wish that a leg shall not have its effect.

    ABANDONED: it had no nonce and never will. ASKED: the lane replaces it at its nonce, and its final receipt says which
    won. TOO_LATE: it is mined, done or HELD. NOTHING: there is no such leg, or none that could still have an effect.
    """

    ABANDONED = "abandoned"
    ASKED = "asked"
    TOO_LATE = "too_late"
    NOTHING = "nothing"


class ResolveHold(OperatorCommand):
    """``evidence_tx_hash`` names a final transaction of the signer at the leg's nonce that is none of the leg's attempts."""

    leg: str
    generation: int | None = None
    """The newest where it is None."""
    resolution: HoldResolution
    evidence_tx_hash: str | None = None


class SignerCommand(OperatorCommand):
    """Pauses or resumes a signer."""

    chain_id: int
    address: Address


class PauseSigner(SignerCommand):
    do: Literal["pause-signer"] = "pause-signer"


class ResumeSigner(SignerCommand):
    """``despite_held``: although a leg of this signer is HELD, so that what comes after it is sent beside it."""

    do: Literal["resume-signer"] = "resume-signer"
    despite_held: bool = False


class ResolveSystemHold(ResolveHold):
    """A hold of a leg that no workflow drives, such as an allowance."""

    do: Literal["resolve-hold"] = "resolve-hold"
    operation_id: str


class CloseIncident(OperatorCommand):
    """A person has seen to it, or knows that it is none: what nothing in the engine would ever close."""

    do: Literal["close-incident"] = "close-incident"
    incident_id: str


Order = PauseSigner | ResumeSigner | ResolveSystemHold | CloseIncident
"""What ``OperateWorkflow`` carries out; ``do`` tells them apart."""


class CarryOut(Message):
    """``action_id`` is the id of the record, so that an order that is repeated is recorded once."""

    action_id: str
    order: Order


class ActionTaken(Message):
    """What an operator does, to be recorded before it is done or with it. ``subject`` is what it is done to."""

    id: str
    kind: OperatorActionKind
    operator: str
    reason: str
    operation_id: str | None = None
    subject: str
    details: dict[str, str] = Field(default_factory=dict)


def hold_action(action_id: str, operation_id: str, command: ResolveHold) -> ActionTaken:
    return ActionTaken(
        id=action_id,
        kind=OperatorActionKind.RESOLVE_HOLD,
        operator=command.operator,
        reason=command.reason,
        operation_id=operation_id,
        subject=command.leg,
        details={
            "resolution": command.resolution,
            "generation": str(command.generation or "newest"),
            "evidence_tx_hash": command.evidence_tx_hash or "none",
        },
    )


class CancelLeg(Message):
    operation_id: str
    leg: str
    reason: str


class CancelAnswer(Message):
    effect: CancelEffect


class LeadOutOfHold(Message):
    operation_id: str
    command: ResolveHold


class OperatorAnswer(Message):
    """What an operator reads when a command was carried out."""

    said: str


class WaitsFor(Message):
    """What an operation waits for a person to see or do, if anything. ``commands`` are those that are possible now."""

    reason: str | None
    commands: tuple[str, ...]
