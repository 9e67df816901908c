"""Where partners are told of events, what is to be sent there, and each try (api.md, "Events and webhooks")."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, LargeBinary, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import Text

from models.statuses import OPEN_DELIVERIES, DeliveryState, DisabledBecause, EndpointState
from models.tables.base import Base, CreatedAt, Words, in_words, sql_words


class WebhookEndpoint(Base):
    """A URL of a partner's. Secrets are sealed, bound to this row's id; none is left where the endpoint is DELETED.

    ``event_types`` empty means all. ``previous_secret`` signs beside the newer one until it expires. ``failing_since`` is
    the first failure after the last success, and NULL where the last try succeeded.
    """

    __tablename__ = "webhook_endpoints"
    __table_args__ = (
        in_words("state", EndpointState),
        in_words("disabled_because", DisabledBecause),
        CheckConstraint("(state = 'DISABLED') = (disabled_because IS NOT NULL)", name="disabled_says_why"),
        CheckConstraint("(state = 'DELETED') = (secret IS NULL)", name="secret_until_deleted"),
        CheckConstraint(
            "(previous_secret IS NULL) = (previous_secret_expires_at IS NULL)", name="previous_secret_expires"
        ),
        CheckConstraint("previous_secret IS NULL OR secret IS NOT NULL", name="previous_beside_a_secret"),
        Index("ix_webhook_endpoints_partner", "partner_id", "id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    partner_id: Mapped[str] = mapped_column(ForeignKey("partners.id"))
    url: Mapped[str]
    description: Mapped[str | None]
    event_types: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="{}")
    state: Mapped[EndpointState] = mapped_column(Words(EndpointState), server_default=EndpointState.ENABLED)
    disabled_because: Mapped[DisabledBecause | None] = mapped_column(Words(DisabledBecause))
    secret: Mapped[bytes | None] = mapped_column(LargeBinary)
    previous_secret: Mapped[bytes | None] = mapped_column(LargeBinary)
    previous_secret_expires_at: Mapped[datetime | None]
    failing_since: Mapped[datetime | None]
    created_at: Mapped[CreatedAt]
    changed_at: Mapped[CreatedAt]


class WebhookDelivery(Base):
    """One event for one endpoint. ``round`` counts its redeliveries, and is part of its workflow's id from the second on.

    ``look_at`` is when a dispatcher must look at the row: to start its workflow, to see whether that still runs, or to end
    it. It is NULL where nothing is left to do.
    """

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        in_words("state", DeliveryState),
        CheckConstraint(
            f"(state IN ({sql_words(*OPEN_DELIVERIES)})) = (ended_at IS NULL)", name="ended_at_goes_with_its_end"
        ),
        CheckConstraint("round > 0 AND attempts >= 0", name="counts_in_range"),
        CheckConstraint("state <> 'RUNNING' OR look_at IS NOT NULL", name="running_is_looked_at"),
        Index("ix_webhook_deliveries_endpoint", "endpoint_id", "event_id"),
        Index("ix_webhook_deliveries_pending", "endpoint_id", "look_at", postgresql_where=text("state = 'PENDING'")),
        Index(
            "ix_webhook_deliveries_untried",
            "endpoint_id",
            postgresql_where=text("state = 'RUNNING' AND attempts = 0"),
        ),
        Index(
            "ix_webhook_deliveries_look",
            "look_at",
            postgresql_where=text("look_at IS NOT NULL AND state <> 'PENDING'"),
        ),
    )

    event_id: Mapped[str] = mapped_column(ForeignKey("events.id"), primary_key=True)
    endpoint_id: Mapped[str] = mapped_column(ForeignKey("webhook_endpoints.id"), primary_key=True)
    state: Mapped[DeliveryState] = mapped_column(Words(DeliveryState), server_default=DeliveryState.PENDING)
    round: Mapped[int] = mapped_column(server_default="1")
    attempts: Mapped[int] = mapped_column(server_default="0")
    """In this round."""
    next_attempt_at: Mapped[datetime | None]
    look_at: Mapped[datetime | None] = mapped_column(server_default=text("now()"))
    created_at: Mapped[CreatedAt]
    ended_at: Mapped[datetime | None]


class WebhookAttempt(Base):
    """One request that was made, or refused to be made, and what came of it; ``status`` is NULL where no answer came."""

    __tablename__ = "webhook_attempts"
    __table_args__ = (
        ForeignKeyConstraint(
            ["event_id", "endpoint_id"], ["webhook_deliveries.event_id", "webhook_deliveries.endpoint_id"]
        ),
        CheckConstraint("status IS NOT NULL OR error IS NOT NULL", name="says_what_came_of_it"),
        Index("ix_webhook_attempts_endpoint", "endpoint_id", "id"),
        Index("ix_webhook_attempts_event", "event_id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    event_id: Mapped[str]
    endpoint_id: Mapped[str]
    round: Mapped[int]
    number: Mapped[int]
    at: Mapped[CreatedAt]
    latency_ms: Mapped[int]
    status: Mapped[int | None]
    answer: Mapped[str | None]
    """The first bytes of its body."""
    error: Mapped[str | None]
