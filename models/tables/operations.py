"""Operations: the authority on what was asked, what was decided and how it ended (money.md section 1); and their events."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from models.statuses import (
    EVENTS_WITHOUT_OPERATION,
    INSTALLMENT_EVENTS,
    TERMINAL_EVENTS,
    DecisionKind,
    EventType,
    OperationKind,
    OperationState,
)
from models.tables.base import NULLABLE_JSON, Base, CreatedAt, JsonObject, Words, in_words, sql_words


class Operation(Base):
    """One run of a borrow or repay workflow, written before anything starts; its id is the workflow id.

    ``decision`` is set once, by a compare-and-set on ``decision IS NULL``; ``terms`` or ``refusal`` go with it, and
    ``outcome`` is set when the operation is DONE. SYSTEM operations are the lane's own house-keeping and have no partner.
    """

    __tablename__ = "operations"
    __table_args__ = (
        in_words("kind", OperationKind),
        in_words("state", OperationState),
        in_words("decision", DecisionKind),
        UniqueConstraint("partner_id", "kind", "idempotency_key"),
        CheckConstraint("(kind = 'SYSTEM') = (partner_id IS NULL)", name="partner_unless_system"),
        CheckConstraint("kind = 'SYSTEM' OR fingerprint IS NOT NULL", name="fingerprint_unless_system"),
        CheckConstraint("(decision IS NULL) = (decided_at IS NULL)", name="decided_at_goes_with_decision"),
        CheckConstraint("decision IS DISTINCT FROM 'REFUSED' OR refusal IS NOT NULL", name="refusal_says_why"),
        CheckConstraint("decision IS DISTINCT FROM 'ACCEPTED' OR terms IS NOT NULL", name="acceptance_has_terms"),
        CheckConstraint("state <> 'DONE' OR kind = 'SYSTEM' OR decision IS NOT NULL", name="done_is_decided"),
        CheckConstraint("(state = 'DONE') = (done_at IS NOT NULL)", name="done_at_goes_with_done"),
        Index("ix_operations_open", "state", "received_at", postgresql_where=text("state <> 'DONE'")),
        Index("ix_operations_loan", "loan_id"),
        Index("ix_operations_partner", "partner_id", "kind", "received_at", "id"),
        Index("ix_operations_refused", "partner_id", "decided_at", postgresql_where=text("decision = 'REFUSED'")),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[OperationKind] = mapped_column(Words(OperationKind))
    partner_id: Mapped[str | None] = mapped_column(ForeignKey("partners.id"))
    api_key_id: Mapped[str | None] = mapped_column(ForeignKey("api_keys.id"))
    idempotency_key: Mapped[str]
    fingerprint: Mapped[str | None]
    received_body: Mapped[JsonObject | None] = mapped_column(NULLABLE_JSON)
    request: Mapped[JsonObject | None] = mapped_column(NULLABLE_JSON)
    loan_id: Mapped[str | None]
    partner_loan_id: Mapped[str | None]
    state: Mapped[OperationState] = mapped_column(Words(OperationState))
    decision: Mapped[DecisionKind | None] = mapped_column(Words(DecisionKind))
    refusal: Mapped[JsonObject | None] = mapped_column(NULLABLE_JSON)
    terms: Mapped[JsonObject | None] = mapped_column(NULLABLE_JSON)
    outcome: Mapped[JsonObject | None] = mapped_column(NULLABLE_JSON)
    review_reason: Mapped[str | None]
    trace_id: Mapped[str | None]
    traceparent: Mapped[str | None]
    """The request's span, where it was traced: what the lane, the sweep and webhooks do for it later is told under it."""
    cancel_requested_at: Mapped[datetime | None]
    received_at: Mapped[CreatedAt]
    decided_at: Mapped[datetime | None]
    done_at: Mapped[datetime | None]


class Event(Base):
    """What partners are told: written in the transaction that changes the state it tells of, and delivered from here.

    ``sequence`` is drawn by a trigger under a lock of the partner's, which is held until the commit: so a partner's events
    become visible in its order, and who reads on from the last one that was seen misses none. ``fanned_out_at`` is when it was
    handed to the partner's webhook endpoints. An incident is told to operators alone, and belongs to no partner.
    """

    __tablename__ = "events"
    __table_args__ = (
        in_words("type", EventType),
        Index(
            "uq_events_one_of_a_type", "operation_id", "type", unique=True, postgresql_where=text("installment IS NULL")
        ),
        Index(
            "uq_events_one_per_installment",
            "operation_id",
            "type",
            "installment",
            unique=True,
            postgresql_where=text("installment IS NOT NULL"),
        ),
        Index(
            "uq_events_one_terminal",
            "operation_id",
            unique=True,
            postgresql_where=text(f"type IN ({sql_words(*TERMINAL_EVENTS)})"),
        ),
        Index("ix_events_partner", "partner_id", "sequence"),
        Index("ix_events_loan", "loan_id", "sequence", postgresql_where=text("loan_id IS NOT NULL")),
        Index(
            "ix_events_outbox",
            "sequence",
            postgresql_where=text("fanned_out_at IS NULL AND partner_id IS NOT NULL"),
        ),
        CheckConstraint("(type = 'incident.opened') = (partner_id IS NULL)", name="partner_unless_incident"),
        CheckConstraint(
            f"(type IN ({sql_words(*EVENTS_WITHOUT_OPERATION)})) = (operation_id IS NULL)",
            name="operation_unless_incident",
        ),
        CheckConstraint(
            f"(type IN ({sql_words(*INSTALLMENT_EVENTS)})) = (installment IS NOT NULL)",
            name="installment_where_it_is_told",
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger, Identity(always=True), unique=True)
    partner_id: Mapped[str | None] = mapped_column(ForeignKey("partners.id"))
    operation_id: Mapped[str | None] = mapped_column(ForeignKey("operations.id"))
    loan_id: Mapped[str | None]
    type: Mapped[EventType] = mapped_column(Words(EventType))
    version: Mapped[int] = mapped_column(server_default="1")
    installment: Mapped[int | None]
    trace_id: Mapped[str | None]
    payload: Mapped[JsonObject] = mapped_column(JSONB)
    created_at: Mapped[CreatedAt]
    fanned_out_at: Mapped[datetime | None]
