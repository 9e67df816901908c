"""Events and webhooks: events of installments, and partners' endpoints with what was and is to be sent to them."""

import sqlalchemy as sa
from alembic import op
from alembic.util import CommandError
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0003"
branch_labels = None
depends_on = None

EVENTS = (
    "type IN ('incident.opened', 'loan.borrowed', 'loan.defaulted', 'loan.delayed', 'loan.failed', "
    "'loan.installment_due', 'loan.installment_missed', 'loan.liquidated', 'loan.rejected', 'loan.repaid', "
    "'loan.reversed', 'ping', 'repayment.applied', 'repayment.delayed', 'repayment.failed', 'repayment.refunded', "
    "'repayment.rejected')"
)
INCIDENTS = (
    "kind IN ('APPROVAL_REFUSED', 'FEE_CAP_REACHED', 'FINAL_TRANSFER_MOVED', 'GAS_LOW', 'INVARIANT_BROKEN', "
    "'LEG_HELD', 'NONCE_STOLEN', 'RATE_LIMITS_LOCAL', 'REFUND_REFUSED', 'SENDS_REFUSED', 'SURPLUS', "
    "'UPKEEP_FAILED', 'WEBHOOK_ENDPOINT_FAILING')"
)
ADMIN_ACTIONS = (
    "action IN ('APPLY_SETTLEMENT_ADDRESS', 'APPROVE_SETTLEMENT_ADDRESS', 'CANCEL_SETTLEMENT_ADDRESS', "
    "'CHANGE_KEY', 'CHANGE_PARTNER', 'CREATE_ADMINISTRATOR', 'CREATE_PARTNER', 'DEACTIVATE_PARTNER', "
    "'DISABLE_ADMINISTRATOR', 'DISABLE_WEBHOOK_ENDPOINT', 'ENABLE_WEBHOOK_ENDPOINT', 'IMPORT_PARTNER', "
    "'ISSUE_ADMIN_KEY', 'ISSUE_KEY', 'REACTIVATE_PARTNER', 'RECORD_GRANT', 'REDELIVER_EVENTS', "
    "'REQUEST_SETTLEMENT_ADDRESS', 'REVOKE_ADMIN_KEY', 'REVOKE_GRANT', 'REVOKE_KEY', 'ROTATE_KEY', "
    "'SUSPEND_PARTNER')"
)

IN_ORDER = """
CREATE FUNCTION number_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.partner_id IS NOT NULL THEN
        PERFORM pg_advisory_xact_lock(hashtextextended('events of ' || NEW.partner_id, 0));
        NEW.sequence := nextval(pg_get_serial_sequence('events', 'sequence'));
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER events_in_order BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION number_event();
"""
"""The lock is taken last by whoever writes an event, so it waits for commits of the same partner alone. See ADR 0023."""

WAKE_UPS = """
CREATE FUNCTION notify_webhooks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('webhooks', '');
    RETURN NULL;
END $$;
CREATE TRIGGER events_inserted AFTER INSERT ON events
    FOR EACH ROW WHEN (NEW.partner_id IS NOT NULL) EXECUTE FUNCTION notify_webhooks();
CREATE TRIGGER webhook_deliveries_asked AFTER INSERT OR UPDATE OF state ON webhook_deliveries
    FOR EACH ROW WHEN (NEW.state IN ('PENDING', 'STOPPED')) EXECUTE FUNCTION notify_webhooks();
"""
"""The dispatcher is woken by the commit itself."""


def upgrade() -> None:
    _events()
    _words()
    op.add_column("loans", sa.Column("service_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index(
        "ix_loans_service", "loans", ["service_at"], unique=False, postgresql_where=sa.text("status = 'ACTIVE'")
    )
    _endpoints()
    _deliveries()
    _attempts()
    op.execute(IN_ORDER)
    op.execute(WAKE_UPS)


def _events() -> None:
    op.add_column("events", sa.Column("loan_id", sa.Text(), nullable=True))
    op.add_column("events", sa.Column("version", sa.BigInteger(), server_default="1", nullable=False))
    op.add_column("events", sa.Column("installment", sa.BigInteger(), nullable=True))
    op.add_column("events", sa.Column("fanned_out_at", sa.DateTime(timezone=True), nullable=True))
    op.execute("UPDATE events SET loan_id = payload ->> 'loan_id', fanned_out_at = now() WHERE partner_id IS NOT NULL")
    op.drop_constraint(op.f("uq_events_operation_id_type"), "events", type_="unique")
    op.drop_constraint(op.f("ck_events_type_is_known"), "events", type_="check")
    op.create_check_constraint(op.f("ck_events_type_is_known"), "events", EVENTS)
    op.drop_constraint(op.f("ck_events_operation_unless_incident"), "events", type_="check")
    op.create_check_constraint(
        op.f("ck_events_operation_unless_incident"),
        "events",
        "(type IN ('incident.opened', 'ping')) = (operation_id IS NULL)",
    )
    op.create_check_constraint(
        op.f("ck_events_installment_where_it_is_told"),
        "events",
        "(type IN ('loan.installment_due', 'loan.installment_missed')) = (installment IS NOT NULL)",
    )
    op.create_index(
        "uq_events_one_of_a_type",
        "events",
        ["operation_id", "type"],
        unique=True,
        postgresql_where=sa.text("installment IS NULL"),
    )
    op.create_index(
        "uq_events_one_per_installment",
        "events",
        ["operation_id", "type", "installment"],
        unique=True,
        postgresql_where=sa.text("installment IS NOT NULL"),
    )
    op.create_index(
        "ix_events_loan",
        "events",
        ["loan_id", "sequence"],
        unique=False,
        postgresql_where=sa.text("loan_id IS NOT NULL"),
    )
    op.create_index(
        "ix_events_outbox",
        "events",
        ["sequence"],
        unique=False,
        postgresql_where=sa.text("fanned_out_at IS NULL AND partner_id IS NOT NULL"),
    )


def _words() -> None:
    op.drop_constraint(op.f("ck_incidents_kind_is_known"), "incidents", type_="check")
    op.create_check_constraint(op.f("ck_incidents_kind_is_known"), "incidents", INCIDENTS)
    op.drop_constraint(op.f("ck_admin_actions_action_is_known"), "admin_actions", type_="check")
    op.create_check_constraint(op.f("ck_admin_actions_action_is_known"), "admin_actions", ADMIN_ACTIONS)


def _endpoints() -> None:
    op.create_table(
        "webhook_endpoints",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("partner_id", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("event_types", postgresql.ARRAY(sa.Text()), server_default="{}", nullable=False),
        sa.Column("state", sa.Text(), server_default="ENABLED", nullable=False),
        sa.Column("disabled_because", sa.Text(), nullable=True),
        sa.Column("secret", sa.LargeBinary(), nullable=True),
        sa.Column("previous_secret", sa.LargeBinary(), nullable=True),
        sa.Column("previous_secret_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failing_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "state IN ('DELETED', 'DISABLED', 'ENABLED')", name=op.f("ck_webhook_endpoints_state_is_known")
        ),
        sa.CheckConstraint(
            "disabled_because IN ('ADMINISTRATOR', 'FAILING', 'GONE', 'PARTNER')",
            name=op.f("ck_webhook_endpoints_disabled_because_is_known"),
        ),
        sa.CheckConstraint(
            "(state = 'DISABLED') = (disabled_because IS NOT NULL)", name=op.f("ck_webhook_endpoints_disabled_says_why")
        ),
        sa.CheckConstraint(
            "(state = 'DELETED') = (secret IS NULL)", name=op.f("ck_webhook_endpoints_secret_until_deleted")
        ),
        sa.CheckConstraint(
            "(previous_secret IS NULL) = (previous_secret_expires_at IS NULL)",
            name=op.f("ck_webhook_endpoints_previous_secret_expires"),
        ),
        sa.CheckConstraint(
            "previous_secret IS NULL OR secret IS NOT NULL", name=op.f("ck_webhook_endpoints_previous_beside_a_secret")
        ),
        sa.ForeignKeyConstraint(["partner_id"], ["partners.id"], name=op.f("fk_webhook_endpoints_partner_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_endpoints")),
    )
    op.create_index("ix_webhook_endpoints_partner", "webhook_endpoints", ["partner_id", "id"], unique=False)


def _deliveries() -> None:
    op.create_table(
        "webhook_deliveries",
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("endpoint_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="PENDING", nullable=False),
        sa.Column("round", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("attempts", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("look_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('DELIVERED', 'FAILED', 'PENDING', 'RUNNING', 'STOPPED')",
            name=op.f("ck_webhook_deliveries_state_is_known"),
        ),
        sa.CheckConstraint(
            "(state IN ('PENDING', 'RUNNING')) = (ended_at IS NULL)",
            name=op.f("ck_webhook_deliveries_ended_at_goes_with_its_end"),
        ),
        sa.CheckConstraint("round > 0 AND attempts >= 0", name=op.f("ck_webhook_deliveries_counts_in_range")),
        sa.CheckConstraint(
            "state <> 'RUNNING' OR look_at IS NOT NULL", name=op.f("ck_webhook_deliveries_running_is_looked_at")
        ),
        sa.ForeignKeyConstraint(
            ["endpoint_id"], ["webhook_endpoints.id"], name=op.f("fk_webhook_deliveries_endpoint_id")
        ),
        sa.ForeignKeyConstraint(["event_id"], ["events.id"], name=op.f("fk_webhook_deliveries_event_id")),
        sa.PrimaryKeyConstraint("event_id", "endpoint_id", name=op.f("pk_webhook_deliveries")),
    )
    for name, columns, condition in (
        ("endpoint", ["endpoint_id", "event_id"], None),
        ("pending", ["endpoint_id", "look_at"], "state = 'PENDING'"),
        ("untried", ["endpoint_id"], "state = 'RUNNING' AND attempts = 0"),
        ("look", ["look_at"], "look_at IS NOT NULL AND state <> 'PENDING'"),
    ):
        op.create_index(
            f"ix_webhook_deliveries_{name}",
            "webhook_deliveries",
            columns,
            unique=False,
            postgresql_where=None if condition is None else sa.text(condition),
        )


def _attempts() -> None:
    op.create_table(
        "webhook_attempts",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("endpoint_id", sa.Text(), nullable=False),
        sa.Column("round", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("latency_ms", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.BigInteger(), nullable=True),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "status IS NOT NULL OR error IS NOT NULL", name=op.f("ck_webhook_attempts_says_what_came_of_it")
        ),
        sa.ForeignKeyConstraint(
            ["event_id", "endpoint_id"],
            ["webhook_deliveries.event_id", "webhook_deliveries.endpoint_id"],
            name=op.f("fk_webhook_attempts_event_id_endpoint_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_attempts")),
    )
    op.create_index("ix_webhook_attempts_endpoint", "webhook_attempts", ["endpoint_id", "id"], unique=False)
    op.create_index("ix_webhook_attempts_event", "webhook_attempts", ["event_id"], unique=False)


def downgrade() -> None:
    raise CommandError("the records of money are never dropped by a migration: restore a backup instead")
