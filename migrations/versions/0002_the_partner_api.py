"""The partner API: administrators and what they changed, settings of partners and keys, the request log by months."""

import sqlalchemy as sa
from alembic import op
from alembic.util import CommandError
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

INCIDENTS = (
    "kind IN ('APPROVAL_REFUSED', 'FEE_CAP_REACHED', 'FINAL_TRANSFER_MOVED', 'GAS_LOW', 'INVARIANT_BROKEN', 'LEG_HELD', "
    "'NONCE_STOLEN', 'RATE_LIMITS_LOCAL', 'REFUND_REFUSED', 'SENDS_REFUSED', 'SURPLUS', 'UPKEEP_FAILED')"
)

NEVER_CHANGED = """
CREATE TRIGGER admin_actions_immutable BEFORE UPDATE OR DELETE ON admin_actions
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER admin_actions_never_truncated BEFORE TRUNCATE ON admin_actions
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""

MONTHS = """
CREATE TABLE request_log_else PARTITION OF request_log DEFAULT;
CREATE FUNCTION request_log_month(day date) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    first timestamptz := date_trunc('month', day)::timestamp AT TIME ZONE 'UTC';
    after timestamptz := (date_trunc('month', day) + interval '1 month')::timestamp AT TIME ZONE 'UTC';
    name text := 'request_log_' || to_char(day, 'YYYY_MM');
    moved text := format('WITH gone AS (DELETE FROM request_log_else WHERE at >= %L AND at < %L RETURNING *) '
        'INSERT INTO %I SELECT * FROM gone', first, after, name);
BEGIN
    IF EXISTS (SELECT FROM pg_inherits WHERE inhrelid = to_regclass(name) AND inhparent = 'request_log'::regclass) THEN
        RETURN name;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE request_log INCLUDING ALL)', name);
    EXECUTE moved;
    LOCK TABLE request_log_else IN ACCESS EXCLUSIVE MODE;
    EXECUTE moved;
    EXECUTE format('ALTER TABLE request_log ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', name, first, after);
    RETURN name;
END $$;
SELECT request_log_month((now() AT TIME ZONE 'UTC')::date);
SELECT request_log_month(((now() AT TIME ZONE 'UTC') + interval '1 month')::date);
"""
"""A call is logged whatever happens, so what finds no month goes to ``request_log_else``, which the upkeep keeps empty.

A month is attached, since that lets rows be inserted meanwhile, while ``PARTITION OF`` locks the whole table. What waits for it in
``request_log_else`` moves first, and what came meanwhile under the lock, which is therefore held for a moment only.
"""

READS = (
    ("ix_loans_partner", "loans", ["partner_id", "created_at", "id"]),
    ("ix_loans_partner_line", "loans", ["partner_id", "oaid_token_id", "created_at", "id"]),
    ("ix_loans_partner_status", "loans", ["partner_id", "status", "created_at", "id"]),
    ("ix_loans_partner_wallet", "loans", ["partner_id", "user_wallet", "created_at", "id"]),
    ("ix_operations_partner", "operations", ["partner_id", "kind", "received_at", "id"]),
    ("ix_repayments_partner", "repayments", ["partner_id", "created_at", "id"]),
)
"""What partners page through, newest first."""


def upgrade() -> None:
    op.drop_constraint(op.f("ck_incidents_kind_is_known"), "incidents", type_="check")
    op.create_check_constraint(op.f("ck_incidents_kind_is_known"), "incidents", INCIDENTS)
    op.create_table(
        "administrators",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_administrators")),
        sa.UniqueConstraint("name", name=op.f("uq_administrators_name")),
    )
    op.create_table(
        "request_log",
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("partner_id", sa.Text(), nullable=True),
        sa.Column("administrator_id", sa.Text(), nullable=True),
        sa.Column("api_key_id", sa.Text(), nullable=True),
        sa.Column("key_prefix", sa.Text(), nullable=True),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("route", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("query", sa.Text(), nullable=True),
        sa.Column("status", sa.BigInteger(), nullable=False),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("duration_us", sa.BigInteger(), nullable=False),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("user_agent", sa.Text(), nullable=True),
        sa.Column("request_body", sa.Text(), nullable=True),
        sa.Column("response_body", sa.Text(), nullable=True),
        sa.Column("idempotency_key", sa.Text(), nullable=True),
        sa.Column("operation_id", sa.Text(), nullable=True),
        sa.Column("loan_id", sa.Text(), nullable=True),
        sa.Column("partner_loan_id", sa.Text(), nullable=True),
        sa.Column("user_wallet", sa.Text(), nullable=True),
        sa.Column("oaid_token_id", sa.Numeric(78, 0), nullable=True),
        sa.Column("trace_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("at", "id", name=op.f("pk_request_log")),
        postgresql_partition_by="RANGE (at)",
    )
    op.create_index(
        "ix_request_log_errors",
        "request_log",
        ["partner_id", "at", "id"],
        unique=False,
        postgresql_where=sa.text("status >= 400"),
    )
    op.create_index("ix_request_log_key", "request_log", ["key_prefix", "at", "id"], unique=False)
    op.create_index("ix_request_log_operation", "request_log", ["operation_id"], unique=False)
    op.create_index("ix_request_log_partner", "request_log", ["partner_id", "at", "id"], unique=False)
    op.create_index("ix_request_log_trace", "request_log", ["trace_id"], unique=False)
    op.create_index(
        "ix_request_log_unauthenticated",
        "request_log",
        ["at", "id"],
        unique=False,
        postgresql_where=sa.text("status = 401"),
    )
    op.create_table(
        "admin_actions",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("administrator_id", sa.Text(), nullable=True),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("partner_id", sa.Text(), nullable=True),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("before", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("after", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("trace_id", sa.Text(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "action IN ('APPLY_SETTLEMENT_ADDRESS', 'APPROVE_SETTLEMENT_ADDRESS', 'CANCEL_SETTLEMENT_ADDRESS', 'CHANGE_KEY', 'CHANGE_PARTNER', 'CREATE_ADMINISTRATOR', 'CREATE_PARTNER', 'DEACTIVATE_PARTNER', 'DISABLE_ADMINISTRATOR', 'IMPORT_PARTNER', 'ISSUE_ADMIN_KEY', 'ISSUE_KEY', 'REACTIVATE_PARTNER', 'RECORD_GRANT', 'REQUEST_SETTLEMENT_ADDRESS', 'REVOKE_ADMIN_KEY', 'REVOKE_GRANT', 'REVOKE_KEY', 'ROTATE_KEY', 'SUSPEND_PARTNER')",
            name=op.f("ck_admin_actions_action_is_known"),
        ),
        sa.ForeignKeyConstraint(
            ["administrator_id"], ["administrators.id"], name=op.f("fk_admin_actions_administrator_id")
        ),
        sa.ForeignKeyConstraint(["partner_id"], ["partners.id"], name=op.f("fk_admin_actions_partner_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_admin_actions")),
    )
    op.create_index("ix_admin_actions_partner", "admin_actions", ["partner_id", "id"], unique=False)
    op.create_index("ix_admin_actions_subject", "admin_actions", ["subject", "id"], unique=False)
    op.create_table(
        "admin_keys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("administrator_id", sa.Text(), nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("secret_hash", sa.Text(), nullable=False),
        sa.Column("issued_by", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["administrator_id"], ["administrators.id"], name=op.f("fk_admin_keys_administrator_id")
        ),
        sa.ForeignKeyConstraint(["issued_by"], ["administrators.id"], name=op.f("fk_admin_keys_issued_by")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_admin_keys")),
        sa.UniqueConstraint("secret_hash", name=op.f("uq_admin_keys_secret_hash")),
    )
    op.create_index(op.f("ix_admin_keys_administrator_id"), "admin_keys", ["administrator_id"], unique=False)
    op.create_table(
        "settlement_changes",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("partner_id", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("approved_by", sa.Text(), nullable=True),
        sa.Column("approved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=True),
        sa.Column("applied_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancelled_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state <> 'APPLIED' OR applied_at >= not_before", name=op.f("ck_settlement_changes_waits_its_delay")
        ),
        sa.CheckConstraint(
            "state IN ('APPLIED', 'APPROVED', 'CANCELLED', 'REQUESTED')",
            name=op.f("ck_settlement_changes_state_is_known"),
        ),
        sa.CheckConstraint(
            "state NOT IN ('APPLIED', 'APPROVED') OR (approved_by IS NOT NULL AND not_before IS NOT NULL)",
            name=op.f("ck_settlement_changes_approved_before_it_applies"),
        ),
        sa.CheckConstraint("approved_by <> requested_by", name=op.f("ck_settlement_changes_two_administrators")),
        sa.ForeignKeyConstraint(["approved_by"], ["administrators.id"], name=op.f("fk_settlement_changes_approved_by")),
        sa.ForeignKeyConstraint(["partner_id"], ["partners.id"], name=op.f("fk_settlement_changes_partner_id")),
        sa.ForeignKeyConstraint(
            ["requested_by"], ["administrators.id"], name=op.f("fk_settlement_changes_requested_by")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_settlement_changes")),
    )
    op.create_index(
        "uq_settlement_changes_one_open",
        "settlement_changes",
        ["partner_id"],
        unique=True,
        postgresql_where=sa.text("state IN ('APPROVED', 'REQUESTED')"),
    )
    op.create_index(
        "uq_settlement_changes_one_open_address",
        "settlement_changes",
        ["address"],
        unique=True,
        postgresql_where=sa.text("state IN ('APPROVED', 'REQUESTED')"),
    )
    op.add_column("api_keys", sa.Column("label", sa.Text(), nullable=True))
    op.add_column(
        "api_keys", sa.Column("allowed_networks", postgresql.ARRAY(sa.Text()), server_default="{}", nullable=False)
    )
    op.add_column("api_keys", sa.Column("signing_secret", sa.LargeBinary(), nullable=True))
    op.add_column("api_keys", sa.Column("must_sign", sa.Boolean(), server_default="false", nullable=False))
    op.add_column("api_keys", sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("operations", sa.Column("traceparent", sa.Text(), nullable=True))
    op.add_column("partners", sa.Column("requests_per_minute", sa.BigInteger(), nullable=True))
    op.add_column("partners", sa.Column("webhook_url", sa.Text(), nullable=True))
    op.add_column("partners", sa.Column("public_key", sa.Text(), nullable=True))
    op.add_column("partners", sa.Column("external_key_prefix", sa.Text(), nullable=True))
    op.add_column(
        "partners", sa.Column("changed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False)
    )
    op.create_check_constraint(op.f("ck_partners_requests_per_minute_positive"), "partners", "requests_per_minute > 0")
    op.create_check_constraint(
        op.f("ck_api_keys_signs_with_a_secret"), "api_keys", "NOT must_sign OR signing_secret IS NOT NULL"
    )
    op.create_table(
        "unapplied_events",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("chain_id", sa.BigInteger(), nullable=False),
        sa.Column("vault_address", sa.Text(), nullable=False),
        sa.Column("position_id", sa.Numeric(78, 0), nullable=False),
        sa.Column("tx_hash", sa.Text(), nullable=False),
        sa.Column("log_index", sa.BigInteger(), nullable=False),
        sa.Column("block_number", sa.BigInteger(), nullable=False),
        sa.Column("block_hash", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("topics", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("kept_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "kind IN ('BORROW', 'DEFAULT', 'LIQUIDATION', 'REPAYMENT')", name=op.f("ck_unapplied_events_kind_is_known")
        ),
        sa.ForeignKeyConstraint(
            ["chain_id", "vault_address", "position_id"],
            ["solvency_positions.chain_id", "solvency_positions.vault_address", "solvency_positions.position_id"],
            name=op.f("fk_unapplied_events_chain_id_vault_address_position_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_unapplied_events")),
        sa.UniqueConstraint(
            "chain_id", "tx_hash", "log_index", name=op.f("uq_unapplied_events_chain_id_tx_hash_log_index")
        ),
    )
    for name, table, columns in READS:
        op.create_index(name, table, columns, unique=False)
    op.create_index(
        "ix_operations_refused",
        "operations",
        ["partner_id", "decided_at"],
        unique=False,
        postgresql_where=sa.text("decision = 'REFUSED'"),
    )
    op.execute(NEVER_CHANGED)
    op.execute(MONTHS)


def downgrade() -> None:
    raise CommandError("the records of money are never dropped by a migration: restore a backup instead")
