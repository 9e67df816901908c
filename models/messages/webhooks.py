"""Payloads of ``DeliverWebhookWorkflow`` and ``ServiceLoansWorkflow``. No secret and no URL is ever among them."""

from enum import StrEnum

from models.messages.common import Message


class Delivery(Message):
    """One event for one endpoint; ``round`` is 1, or counts its redeliveries."""

    event_id: str
    endpoint_id: str
    round: int = 1
    once: bool = False
    """A try that is not repeated, as of a ping."""

    @property
    def workflow_id(self) -> str:
        """``deliver:{event}:{endpoint}``; from the second round on with its number."""
        first = f"deliver:{self.event_id}:{self.endpoint_id}"
        return first if self.round == 1 else f"{first}:{self.round}"

    @property
    def round_before(self) -> "Delivery | None":
        return None if self.round == 1 else self.model_copy(update={"round": self.round - 1})


class AttemptDelivery(Message):
    """``again_in``: seconds until the next try, if this one fails; None where it is the last one."""

    delivery: Delivery
    number: int
    again_in: int | None = None


class Verdict(StrEnum):
    DELIVERED = "DELIVERED"
    AGAIN = "AGAIN"
    FAILED = "FAILED"
    """It was the last try."""
    STOPPED = "STOPPED"
    """The endpoint is disabled or deleted, or another round has taken over."""


class Attempted(Message):
    verdict: Verdict


class Delivered(Message):
    """How a delivery ended, after so many tries."""

    verdict: Verdict
    attempts: int


class Serviced(Message):
    """What one look at the installments did; ``more``: there are loans left to look at."""

    loans: int = 0
    due: int = 0
    missed: int = 0
    more: bool = False
