"""What a person must know and what a person did: incidents, and the actions of operators with who and why."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from models.statuses import IncidentKind, OperatorActionKind
from models.tables.base import Base, CreatedAt, JsonObject, Words, in_words


class Incident(Base):
    """Something that a person must look at. One of a kind about one subject is open at a time; ``rows`` names the rows at fault."""

    __tablename__ = "incidents"
    __table_args__ = (
        in_words("kind", IncidentKind),
        Index("uq_incidents_one_open", "kind", "subject", unique=True, postgresql_where=text("closed_at IS NULL")),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[IncidentKind] = mapped_column(Words(IncidentKind))
    subject: Mapped[str]
    detail: Mapped[str]
    rows: Mapped[list[str]] = mapped_column(JSONB, server_default=text("'[]'::jsonb"))
    opened_at: Mapped[CreatedAt]
    seen_at: Mapped[CreatedAt]
    closed_at: Mapped[datetime | None]


class OperatorAction(Base):
    """What an operator did. Rows are never changed: a trigger refuses UPDATE, DELETE and TRUNCATE.

    ``subject`` is the leg or the signer that was acted upon; ``details`` what else was asked for.
    """

    __tablename__ = "operator_actions"
    __table_args__ = (in_words("action", OperatorActionKind), Index("ix_operator_actions_operation", "operation_id"))

    id: Mapped[str] = mapped_column(primary_key=True)
    action: Mapped[OperatorActionKind] = mapped_column(Words(OperatorActionKind))
    operator: Mapped[str]
    reason: Mapped[str]
    operation_id: Mapped[str | None] = mapped_column(ForeignKey("operations.id"))
    subject: Mapped[str]
    details: Mapped[JsonObject] = mapped_column(JSONB, server_default=text("'{}'::jsonb"))
    at: Mapped[CreatedAt]
