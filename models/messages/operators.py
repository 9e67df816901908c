"""What operators ask for: each command names who gives it and why, and is recorded (money.md section 2)."""

from enum import StrEnum
from typing import Annotated

from pydantic import StringConstraints

from models.messages.common import Address, Message

Said = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]


class OperatorCommand(Message):
    """The base of every command of an operator."""

    operator: Said
    reason: Said


class HoldResolution(StrEnum):
    """How a leg leaves HELD.

    RESUME: back to BROADCAST, to be watched and sent again. ACCEPT: its final receipt counts as it stands.
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
