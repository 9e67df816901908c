"""Who administers the engine, and every change that they made, with who, when, before and after (api.md)."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from models.statuses import AdminActionKind, SettlementChangeState
from models.tables.base import NULLABLE_JSON, Base, CreatedAt, JsonObject, Words, in_words


class Administrator(Base):
    """A person, since a second one must approve what one alone may not do."""

    __tablename__ = "administrators"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[CreatedAt]
    disabled_at: Mapped[datetime | None]


class AdminKey(Base):
    """An administrator's API key: only the hash of its secret, and a prefix to show."""

    __tablename__ = "admin_keys"

    id: Mapped[str] = mapped_column(primary_key=True)
    administrator_id: Mapped[str] = mapped_column(ForeignKey("administrators.id"), index=True)
    prefix: Mapped[str]
    secret_hash: Mapped[str] = mapped_column(unique=True)
    issued_by: Mapped[str | None] = mapped_column(ForeignKey("administrators.id"))
    """Whoever issued a key has seen it; None: it was issued by command."""
    created_at: Mapped[CreatedAt]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    """To the minute or so: it is not written with each request."""


class AdminAction(Base):
    """A change by an administrator, or by a command where ``administrator_id`` is None. Rows are never changed: a trigger refuses it.

    ``before`` and ``after`` hold the fields that changed, and never a secret.
    """

    __tablename__ = "admin_actions"
    __table_args__ = (
        in_words("action", AdminActionKind),
        Index("ix_admin_actions_subject", "subject", "id"),
        Index("ix_admin_actions_partner", "partner_id", "id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    action: Mapped[AdminActionKind] = mapped_column(Words(AdminActionKind))
    administrator_id: Mapped[str | None] = mapped_column(ForeignKey("administrators.id"))
    actor: Mapped[str]
    """The administrator's name at that time, or the command."""
    partner_id: Mapped[str | None] = mapped_column(ForeignKey("partners.id"))
    subject: Mapped[str]
    """The id of what was changed: of a partner, a key, a grant, an administrator."""
    reason: Mapped[str | None]
    before: Mapped[JsonObject | None] = mapped_column(NULLABLE_JSON)
    after: Mapped[JsonObject | None] = mapped_column(NULLABLE_JSON)
    trace_id: Mapped[str | None]
    at: Mapped[CreatedAt]


class SettlementChange(Base):
    """A settlement address that is to be a partner's new one. It waits for a second administrator, and then for ``not_before``."""

    __tablename__ = "settlement_changes"
    __table_args__ = (
        in_words("state", SettlementChangeState),
        CheckConstraint("approved_by <> requested_by", name="two_administrators"),
        CheckConstraint(
            "state NOT IN ('APPLIED', 'APPROVED') OR (approved_by IS NOT NULL AND not_before IS NOT NULL)",
            name="approved_before_it_applies",
        ),
        CheckConstraint("state <> 'APPLIED' OR applied_at >= not_before", name="waits_its_delay"),
        Index(
            "uq_settlement_changes_one_open",
            "partner_id",
            unique=True,
            postgresql_where=text("state IN ('APPROVED', 'REQUESTED')"),
        ),
        Index(
            "uq_settlement_changes_one_open_address",
            "address",
            unique=True,
            postgresql_where=text("state IN ('APPROVED', 'REQUESTED')"),
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    partner_id: Mapped[str] = mapped_column(ForeignKey("partners.id"))
    address: Mapped[str]
    state: Mapped[SettlementChangeState] = mapped_column(Words(SettlementChangeState))
    reason: Mapped[str]
    requested_by: Mapped[str] = mapped_column(ForeignKey("administrators.id"))
    requested_at: Mapped[CreatedAt]
    approved_by: Mapped[str | None] = mapped_column(ForeignKey("administrators.id"))
    approved_at: Mapped[datetime | None]
    not_before: Mapped[datetime | None]
    applied_at: Mapped[datetime | None]
    cancelled_at: Mapped[datetime | None]
