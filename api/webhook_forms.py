"""What requests about events and webhook endpoints may hold, and what is answered."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, ClassVar, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from activities.webhooks.urls import MAX_LENGTH
from api.answers import Answer
from api.bodies import example
from api.changes import Changes
from api.fields import MomentIn
from models.events.catalog import Envelope
from models.statuses import DeliveryState, DisabledBecause, EndpointState, EventType

SUBSCRIBABLE = tuple(sorted(set(EventType) - {EventType.INCIDENT_OPENED, EventType.PING}))
_EXAMPLE_URL = "https://hooks.acme.example/loan-engine"
EVENT_ID = r"^evt_[0-9A-Z]{26}$"
ENDPOINT_ID = r"^we_[0-9A-Z]{26}$"


def _subscribable(value: str) -> EventType:
    if value in SUBSCRIBABLE:
        return EventType(value)
    raise PydanticCustomError(
        "event_type", "Must be a type of the catalog, such as {example}.", {"example": SUBSCRIBABLE[0]}
    )


EventTypeIn = Annotated[
    str,
    AfterValidator(_subscribable),
    WithJsonSchema({"type": "string", "enum": list(SUBSCRIBABLE), "examples": ["loan.borrowed"]}),
]
EventTypesIn = Annotated[
    list[EventTypeIn], Field(max_length=len(SUBSCRIBABLE), description="what is sent there; empty: everything")
]
UrlIn = Annotated[
    str,
    StringConstraints(min_length=1, max_length=MAX_LENGTH),
    Field(description="https, a public host name, no redirects", examples=[_EXAMPLE_URL]),
]
DescriptionIn = Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]


class EndpointBody(BaseModel):
    """A new endpoint. Its secret is in the answer, and never shown again."""

    model_config = example(url=_EXAMPLE_URL, event_types=["loan.borrowed", "repayment.applied"])

    url: UrlIn
    event_types: EventTypesIn = []
    description: DescriptionIn | None = None


class EndpointChangeBody(Changes):
    """What is given changes; it counts from the next try on, also of what is under way."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        json_schema_extra={"examples": [{"event_types": []}], "minProperties": 1},
    )
    _NEVER_NULL: ClassVar[frozenset[str]] = frozenset({"url", "event_types"})

    url: UrlIn | None = None
    event_types: EventTypesIn | None = None
    description: DescriptionIn | None = None

    @model_validator(mode="after")
    def _something_changes(self) -> Self:
        if self.model_fields_set.isdisjoint({"url", "event_types", "description"}):
            raise PydanticCustomError("nothing", "Give at least one of url, event_types and description.")
        return self


class RedeliverBody(BaseModel):
    """Everything that happened from ``from`` on and before ``to``, at most so many at once; ask again while ``more``."""

    model_config = example(**{"from": "2026-01-01T00:00:00Z", "to": "2026-01-04T00:00:00Z"})

    from_: MomentIn = Field(alias="from")
    to: MomentIn
    delivered_too: bool = Field(default=False, description="also what the endpoint has taken before")


class EndpointAnswer(Answer):
    endpoint_id: str
    url: str
    description: str | None
    event_types: Sequence[str] = Field(description="empty: everything")
    state: EndpointState
    disabled_because: DisabledBecause | None
    failing_since: datetime | None = Field(description="the first failure after the last success")
    previous_secret_expires_at: datetime | None = Field(description="until then the secret before this one signs, too")
    created_at: datetime
    changed_at: datetime


class EndpointWithSecretAnswer(EndpointAnswer):
    secret: str = Field(
        pattern="^whsec_[A-Za-z0-9+/]+=*$",
        description="store it: it is shown once",
        examples=["whsec_" + "A" * 43 + "="],
    )


class EndpointsAnswer(Answer):
    endpoints: list[EndpointAnswer]


class PingAnswer(Answer):
    event_id: str = Field(description="the ping's; its try is among the endpoint's attempts")


class RedeliveryAnswer(Answer):
    deliveries: int = Field(description="how many messages will be sent again")
    more: bool = Field(default=False, description="there are more in this time: ask again")


class AttemptAnswer(Answer):
    event_id: str
    round: int = Field(description="1, and one more for each redelivery")
    number: int = Field(description="of the try, in this round")
    at: datetime
    latency_ms: int
    status: int | None = Field(description="null where no answer came")
    answer: str | None = Field(description="the first bytes of its body")
    error: str | None


class AttemptsAnswer(Answer):
    attempts: list[AttemptAnswer]
    next_cursor: str | None = Field(description="send it as ?cursor= for the next page; null at the end")


class DeliveryAnswer(Answer):
    endpoint_id: str
    state: DeliveryState
    round: int
    attempts: int
    next_attempt_at: datetime | None


class EventAnswer(Envelope):
    """An event as it is sent, and what became of it at each endpoint."""

    deliveries: list[DeliveryAnswer]


class EventsAnswer(Answer):
    events: list[Envelope]
    next_cursor: str | None = Field(
        description="send it as ?cursor= for what came after, now or later: what is read in this order misses nothing"
    )
