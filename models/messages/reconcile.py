"""Payloads of ``ReconcileWorkflow``. Amounts are base units."""

from datetime import datetime

from models.messages.common import Message
from models.statuses import IncidentKind


class Look(Message):
    """Asks for an audit at a block after ``later_than``, of what happened ``since`` a block; of all, where that is None."""

    later_than: int = -1
    since: int | None = None


class SeenBreach(Message):
    """``subject`` stays the same as long as it is the same breach."""

    kind: IncidentKind
    subject: str
    detail: str
    rows: tuple[str, ...]
    pauses_signer: bool


class Seen(Message):
    """What one audit, begun at a moment of the database's clock, found at one block: the first hundred breaches, and ``left_out`` more."""

    block: int
    begun_at: datetime | None = None
    """None in a history that is older than this field."""
    breaches: tuple[SeenBreach, ...] = ()
    left_out: int = 0
    surplus: int = 0
    surplus_booked: int = 0


class Conclude(Message):
    """Two audits at two blocks; one where it found nothing. What both found is a fact. ``since`` as in what was asked."""

    last: Seen
    before: Seen | None = None
    since: int | None = None


class Reconciliation(Message):
    """What was concluded: how many breaches are confirmed, and how many of them are news."""

    block: int
    breaches: int = 0
    opened: int = 0
    booked: int = 0
    """Surplus that went to suspense."""
    paused: bool = False
    """Whether the signer was paused by this."""
    sound_up_to: int | None = None
    """The block up to which the audit found nothing: the next run begins there. None where it found something."""
