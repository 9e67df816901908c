"""Payloads of ``SweepWorkflow``."""

from models.messages.common import Message


class SweepReport(Message):
    """What one sweep did. ``reopened`` and ``given_up`` name operations, at most the first hundred of each."""

    open: int = 0
    """Open operations that were looked at."""
    reopened: tuple[str, ...] = ()
    given_up: tuple[str, ...] = ()
    unknown: int = 0
    """Operations of which Temporal did not say whether their workflow runs; the next sweep asks again."""
