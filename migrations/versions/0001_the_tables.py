"""The tables."""

import sqlalchemy as sa
from alembic import op
from alembic.util import CommandError
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


NEVER_CHANGED = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% rows are never changed or deleted', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER ledger_transfers_immutable BEFORE UPDATE OR DELETE ON ledger_transfers
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER ledger_transfers_never_truncated BEFORE TRUNCATE ON ledger_transfers
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER operator_actions_immutable BEFORE UPDATE OR DELETE ON operator_actions
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER operator_actions_never_truncated BEFORE TRUNCATE ON operator_actions
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""
"""A trigger binds the owner of the table too, which a REVOKE does not."""

WAKE_UPS = """
CREATE FUNCTION notify_leg() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.state = 'QUEUED' THEN
        PERFORM pg_notify('leg_queued', NEW.chain_id || ':' || NEW.signer);
    ELSE
        PERFORM pg_notify('leg_settled', NEW.id::text);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER chain_transactions_inserted AFTER INSERT ON chain_transactions
    FOR EACH ROW WHEN (NEW.state = 'QUEUED') EXECUTE FUNCTION notify_leg();
CREATE TRIGGER chain_transactions_settled AFTER UPDATE OF state ON chain_transactions
    FOR EACH ROW WHEN (NEW.state LIKE 'FINAL%' OR NEW.state IN ('HELD', 'REFUSED', 'ABANDONED'))
    EXECUTE FUNCTION notify_leg();
"""
"""The lane and the waiting workflows are woken by the commit itself, so no writer can forget to wake them."""


def upgrade() -> None:

    op.create_table(
        "chain_cursors",
        sa.Column("chain_id", sa.BigInteger(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("first_block", sa.BigInteger(), nullable=False),
        sa.Column("block_number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("chain_id", "address", name=op.f("pk_chain_cursors")),
    )
    op.create_table(
        "chain_signers",
        sa.Column("chain_id", sa.BigInteger(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("first_nonce", sa.BigInteger(), nullable=False),
        sa.Column("next_nonce", sa.BigInteger(), nullable=False),
        sa.Column("paused_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("paused_reason", sa.Text(), nullable=True),
        sa.Column("paused_by", sa.Text(), nullable=True),
        sa.Column("lane_backend_pid", sa.BigInteger(), nullable=True),
        sa.Column("lane_beat_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("next_nonce >= first_nonce", name=op.f("ck_chain_signers_nonces_only_grow")),
        sa.PrimaryKeyConstraint("chain_id", "address", name=op.f("pk_chain_signers")),
    )
    op.create_table(
        "incidents",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column(
            "rows", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'::jsonb"), nullable=False
        ),
        sa.Column("opened_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "kind IN ('APPROVAL_REFUSED', 'FEE_CAP_REACHED', 'FINAL_TRANSFER_MOVED', 'GAS_LOW', 'INVARIANT_BROKEN', 'LEG_HELD', 'NONCE_STOLEN', 'REFUND_REFUSED', 'SENDS_REFUSED', 'SURPLUS')",
            name=op.f("ck_incidents_kind_is_known"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_incidents")),
    )
    op.create_index(
        "uq_incidents_one_open",
        "incidents",
        ["kind", "subject"],
        unique=True,
        postgresql_where=sa.text("closed_at IS NULL"),
    )
    op.create_table(
        "ledger_balances",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("posted", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("pending_out", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("account", name=op.f("pk_ledger_balances")),
    )
    op.create_table(
        "partners",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("tier", sa.Text(), nullable=False),
        sa.Column("fee_bps", sa.BigInteger(), nullable=False),
        sa.Column("daily_borrow_limit", sa.BigInteger(), nullable=False),
        sa.Column("total_borrow_limit", sa.BigInteger(), nullable=False),
        sa.Column("outstanding", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("reserved", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("settlement_address", sa.Text(), nullable=False),
        sa.Column("contact_email", sa.Text(), nullable=True),
        sa.Column("kyc_verified", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("contract_signed", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("status IN ('ACTIVE', 'INACTIVE', 'SUSPENDED')", name=op.f("ck_partners_status_is_known")),
        sa.CheckConstraint("tier IN ('BASIC', 'ENTERPRISE', 'PREMIUM')", name=op.f("ck_partners_tier_is_known")),
        sa.CheckConstraint(
            "daily_borrow_limit >= 0 AND total_borrow_limit >= 0", name=op.f("ck_partners_limits_not_negative")
        ),
        sa.CheckConstraint("fee_bps BETWEEN 0 AND 9999", name=op.f("ck_partners_fee_leaves_a_payout")),
        sa.CheckConstraint("outstanding >= 0 AND reserved >= 0", name=op.f("ck_partners_usage_not_negative")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_partners")),
    )
    op.create_table(
        "solvency_positions",
        sa.Column("chain_id", sa.BigInteger(), nullable=False),
        sa.Column("vault_address", sa.Text(), nullable=False),
        sa.Column("position_id", sa.Numeric(78, 0), nullable=False),
        sa.Column("oaid_token_id", sa.Numeric(78, 0), nullable=False),
        sa.Column("user_wallet", sa.Text(), nullable=False),
        sa.Column("collateral_token", sa.Text(), nullable=False),
        sa.Column("collateral_amount", sa.Numeric(78, 0), nullable=False),
        sa.Column("collateral_value", sa.Numeric(78, 0), nullable=False),
        sa.Column("credit_limit", sa.Numeric(78, 0), nullable=False),
        sa.Column("total_partner_debt", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("outside_debt", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("seen_at_block", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "total_partner_debt >= 0 AND outside_debt >= 0", name=op.f("ck_solvency_positions_debt_not_negative")
        ),
        sa.PrimaryKeyConstraint("chain_id", "vault_address", "position_id", name=op.f("pk_solvency_positions")),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("partner_id", sa.Text(), nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("secret_hash", sa.Text(), nullable=False),
        sa.Column("scopes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["partner_id"], ["partners.id"], name=op.f("fk_api_keys_partner_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("secret_hash", name=op.f("uq_api_keys_secret_hash")),
    )
    op.create_index(op.f("ix_api_keys_partner_id"), "api_keys", ["partner_id"], unique=False)
    op.create_table(
        "credit_line_grants",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("partner_id", sa.Text(), nullable=False),
        sa.Column("chain_id", sa.BigInteger(), nullable=False),
        sa.Column("oaid_address", sa.Text(), nullable=False),
        sa.Column("oaid_token_id", sa.Numeric(78, 0), nullable=False),
        sa.Column("position_id", sa.Numeric(78, 0), nullable=False),
        sa.Column("user_wallet", sa.Text(), nullable=False),
        sa.Column("max_amount", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("nonce", sa.Numeric(78, 0), nullable=True),
        sa.Column("evidence_kind", sa.Text(), nullable=False),
        sa.Column("evidence", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "evidence_kind <> 'USER_SIGNATURE' OR nonce IS NOT NULL",
            name=op.f("ck_credit_line_grants_signed_with_a_nonce"),
        ),
        sa.CheckConstraint(
            "evidence_kind IN ('ADMINISTRATOR', 'USER_SIGNATURE')",
            name=op.f("ck_credit_line_grants_evidence_kind_is_known"),
        ),
        sa.CheckConstraint("max_amount > 0", name=op.f("ck_credit_line_grants_max_amount_positive")),
        sa.ForeignKeyConstraint(["partner_id"], ["partners.id"], name=op.f("fk_credit_line_grants_partner_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credit_line_grants")),
        sa.UniqueConstraint(
            "chain_id",
            "oaid_address",
            "user_wallet",
            "nonce",
            name=op.f("uq_credit_line_grants_chain_id_oaid_address_user_wallet_nonce"),
        ),
    )
    op.create_index(
        "ix_credit_line_grants_lookup",
        "credit_line_grants",
        ["partner_id", "oaid_token_id", "user_wallet"],
        unique=False,
    )
    op.create_table(
        "partner_days",
        sa.Column("partner_id", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("borrowed", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("reserved", sa.BigInteger(), server_default="0", nullable=False),
        sa.CheckConstraint("borrowed >= 0 AND reserved >= 0", name=op.f("ck_partner_days_usage_not_negative")),
        sa.ForeignKeyConstraint(["partner_id"], ["partners.id"], name=op.f("fk_partner_days_partner_id")),
        sa.PrimaryKeyConstraint("partner_id", "day", name=op.f("pk_partner_days")),
    )
    op.create_table(
        "settlement_addresses",
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("partner_id", sa.Text(), nullable=False),
        sa.Column("registered_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["partner_id"],
            ["partners.id"],
            name=op.f("fk_settlement_addresses_partner_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("address", name=op.f("pk_settlement_addresses")),
        sa.UniqueConstraint("partner_id", "address", name=op.f("uq_settlement_addresses_partner_id_address")),
    )
    op.create_index(op.f("ix_settlement_addresses_partner_id"), "settlement_addresses", ["partner_id"], unique=False)
    op.create_table(
        "operations",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("partner_id", sa.Text(), nullable=True),
        sa.Column("api_key_id", sa.Text(), nullable=True),
        sa.Column("idempotency_key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=True),
        sa.Column("received_body", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("request", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("loan_id", sa.Text(), nullable=True),
        sa.Column("partner_loan_id", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("decision", sa.Text(), nullable=True),
        sa.Column("refusal", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("terms", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("outcome", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("review_reason", sa.Text(), nullable=True),
        sa.Column("trace_id", sa.Text(), nullable=True),
        sa.Column("cancel_requested_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("received_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(kind = 'SYSTEM') = (partner_id IS NULL)", name=op.f("ck_operations_partner_unless_system")
        ),
        sa.CheckConstraint(
            "(state = 'DONE') = (done_at IS NOT NULL)", name=op.f("ck_operations_done_at_goes_with_done")
        ),
        sa.CheckConstraint("decision IN ('ACCEPTED', 'REFUSED')", name=op.f("ck_operations_decision_is_known")),
        sa.CheckConstraint(
            "decision IS DISTINCT FROM 'ACCEPTED' OR terms IS NOT NULL", name=op.f("ck_operations_acceptance_has_terms")
        ),
        sa.CheckConstraint(
            "decision IS DISTINCT FROM 'REFUSED' OR refusal IS NOT NULL", name=op.f("ck_operations_refusal_says_why")
        ),
        sa.CheckConstraint(
            "kind = 'SYSTEM' OR fingerprint IS NOT NULL", name=op.f("ck_operations_fingerprint_unless_system")
        ),
        sa.CheckConstraint("kind IN ('BORROW', 'REPAY', 'SYSTEM')", name=op.f("ck_operations_kind_is_known")),
        sa.CheckConstraint(
            "state <> 'DONE' OR kind = 'SYSTEM' OR decision IS NOT NULL", name=op.f("ck_operations_done_is_decided")
        ),
        sa.CheckConstraint(
            "state IN ('DONE', 'NOT_STARTED', 'OPEN', 'RECEIVED')", name=op.f("ck_operations_state_is_known")
        ),
        sa.CheckConstraint(
            "(decision IS NULL) = (decided_at IS NULL)", name=op.f("ck_operations_decided_at_goes_with_decision")
        ),
        sa.ForeignKeyConstraint(["api_key_id"], ["api_keys.id"], name=op.f("fk_operations_api_key_id")),
        sa.ForeignKeyConstraint(["partner_id"], ["partners.id"], name=op.f("fk_operations_partner_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_operations")),
        sa.UniqueConstraint(
            "partner_id", "kind", "idempotency_key", name=op.f("uq_operations_partner_id_kind_idempotency_key")
        ),
    )
    op.create_index("ix_operations_loan", "operations", ["loan_id"], unique=False)
    op.create_index(
        "ix_operations_open",
        "operations",
        ["state", "received_at"],
        unique=False,
        postgresql_where=sa.text("state <> 'DONE'"),
    )
    op.create_table(
        "chain_transactions",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operation_id", sa.Text(), nullable=False),
        sa.Column("leg", sa.Text(), nullable=False),
        sa.Column(
            "exclusive_leg",
            sa.Text(),
            sa.Computed("CASE WHEN leg IN ('settle', 'unwind') THEN 'settle|unwind' ELSE leg END", persisted=True),
            nullable=False,
        ),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("chain_id", sa.BigInteger(), nullable=True),
        sa.Column("signer", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("call", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("amount", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("target", sa.Text(), nullable=True),
        sa.Column("calldata", postgresql.BYTEA(), nullable=True),
        sa.Column("value", sa.Numeric(78, 0), server_default="0", nullable=False),
        sa.Column("gas", sa.BigInteger(), nullable=True),
        sa.Column(
            "expected_logs",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'[]'::jsonb"),
            nullable=False,
        ),
        sa.Column("charges_account", sa.Text(), nullable=True),
        sa.Column("spends_allowance", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("nonce", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("held_reason", sa.Text(), nullable=True),
        sa.Column("cancel_reason", sa.Text(), nullable=True),
        sa.Column("result_tx_hash", sa.Text(), nullable=True),
        sa.Column("result_block", sa.BigInteger(), nullable=True),
        sa.Column("result_block_hash", sa.Text(), nullable=True),
        sa.Column("logs", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("gas_used", sa.BigInteger(), nullable=True),
        sa.Column("effective_gas_price", sa.Numeric(78, 0), nullable=True),
        sa.Column("queued_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("prepared_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("broadcast_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("mined_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("final_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(state IN ('ABANDONED', 'QUEUED', 'REFUSED')) = (nonce IS NULL)",
            name=op.f("ck_chain_transactions_nonce_from_prepared_on"),
        ),
        sa.CheckConstraint(
            "state <> 'HELD' OR held_reason IS NOT NULL", name=op.f("ck_chain_transactions_held_says_why")
        ),
        sa.CheckConstraint(
            "state <> 'MINED' OR result_block IS NOT NULL", name=op.f("ck_chain_transactions_mined_in_a_block")
        ),
        sa.CheckConstraint(
            "state = 'ABANDONED' OR (call IS NOT NULL AND chain_id IS NOT NULL AND signer IS NOT NULL)",
            name=op.f("ck_chain_transactions_only_a_tombstone_has_no_call"),
        ),
        sa.CheckConstraint(
            "state IN ('ABANDONED', 'BROADCAST', 'FINAL_CANCELLED', 'FINAL_OK', 'FINAL_REVERTED', 'HELD', 'MINED', 'PREPARED', 'QUEUED', 'REFUSED')",
            name=op.f("ck_chain_transactions_state_is_known"),
        ),
        sa.CheckConstraint(
            "state NOT LIKE 'FINAL%%' OR (result_tx_hash IS NOT NULL AND result_block IS NOT NULL AND logs IS NOT NULL)",
            name=op.f("ck_chain_transactions_final_has_evidence"),
        ),
        sa.CheckConstraint("amount >= 0", name=op.f("ck_chain_transactions_amount_not_negative")),
        sa.CheckConstraint("generation >= 1", name=op.f("ck_chain_transactions_generation_counts_from_one")),
        sa.ForeignKeyConstraint(
            ["chain_id", "signer"],
            ["chain_signers.chain_id", "chain_signers.address"],
            name=op.f("fk_chain_transactions_chain_id_signer"),
        ),
        sa.ForeignKeyConstraint(["operation_id"], ["operations.id"], name=op.f("fk_chain_transactions_operation_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_chain_transactions")),
        sa.UniqueConstraint("chain_id", "signer", "nonce", name=op.f("uq_chain_transactions_chain_id_signer_nonce")),
        sa.UniqueConstraint(
            "operation_id", "leg", "generation", name=op.f("uq_chain_transactions_operation_id_leg_generation")
        ),
    )
    op.create_index(
        "ix_chain_transactions_live",
        "chain_transactions",
        ["chain_id", "signer", "state", "id"],
        unique=False,
        postgresql_where=sa.text("state IN ('BROADCAST', 'HELD', 'MINED', 'PREPARED', 'QUEUED')"),
    )
    op.create_index(
        "uq_chain_transactions_one_live_approve",
        "chain_transactions",
        ["chain_id", "signer"],
        unique=True,
        postgresql_where=sa.text("leg = 'approve' AND state IN ('BROADCAST', 'HELD', 'MINED', 'PREPARED', 'QUEUED')"),
    )
    op.create_index(
        "uq_chain_transactions_one_live_or_ok",
        "chain_transactions",
        ["operation_id", "exclusive_leg"],
        unique=True,
        postgresql_where=sa.text("state IN ('BROADCAST', 'FINAL_OK', 'HELD', 'MINED', 'PREPARED', 'QUEUED')"),
    )
    op.create_table(
        "events",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("partner_id", sa.Text(), nullable=True),
        sa.Column("operation_id", sa.Text(), nullable=True),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("trace_id", sa.Text(), nullable=True),
        sa.Column("payload", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "(type = 'incident.opened') = (operation_id IS NULL)", name=op.f("ck_events_operation_unless_incident")
        ),
        sa.CheckConstraint(
            "(type = 'incident.opened') = (partner_id IS NULL)", name=op.f("ck_events_partner_unless_incident")
        ),
        sa.CheckConstraint(
            "type IN ('incident.opened', 'loan.borrowed', 'loan.defaulted', 'loan.delayed', 'loan.failed', 'loan.liquidated', 'loan.rejected', 'loan.repaid', 'loan.reversed', 'repayment.applied', 'repayment.delayed', 'repayment.failed', 'repayment.refunded', 'repayment.rejected')",
            name=op.f("ck_events_type_is_known"),
        ),
        sa.ForeignKeyConstraint(["operation_id"], ["operations.id"], name=op.f("fk_events_operation_id")),
        sa.ForeignKeyConstraint(["partner_id"], ["partners.id"], name=op.f("fk_events_partner_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
        sa.UniqueConstraint("operation_id", "type", name=op.f("uq_events_operation_id_type")),
        sa.UniqueConstraint("sequence", name=op.f("uq_events_sequence")),
    )
    op.create_index("ix_events_partner", "events", ["partner_id", "sequence"], unique=False)
    op.create_index(
        "uq_events_one_terminal",
        "events",
        ["operation_id"],
        unique=True,
        postgresql_where=sa.text(
            "type IN ('loan.borrowed', 'loan.failed', 'loan.rejected', 'loan.reversed', 'repayment.applied', 'repayment.failed', 'repayment.refunded', 'repayment.rejected')"
        ),
    )
    op.create_table(
        "inbound_transfers",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("chain_id", sa.BigInteger(), nullable=False),
        sa.Column("tx_hash", sa.Text(), nullable=False),
        sa.Column("log_index", sa.BigInteger(), nullable=False),
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("block_number", sa.BigInteger(), nullable=False),
        sa.Column("block_hash", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("claimed_by", sa.Text(), nullable=True),
        sa.Column("refund_operation_id", sa.Text(), nullable=True),
        sa.Column("refund_not_before", sa.DateTime(timezone=True), nullable=True),
        sa.Column("seen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "(state = 'CLAIMED') = (claimed_by IS NOT NULL)", name=op.f("ck_inbound_transfers_claimed_by_an_operation")
        ),
        sa.CheckConstraint(
            "(state IN ('REFUNDED', 'REFUNDING')) = (refund_operation_id IS NOT NULL)",
            name=op.f("ck_inbound_transfers_refunded_by_an_operation"),
        ),
        sa.CheckConstraint(
            "state IN ('CLAIMED', 'REFUNDED', 'REFUNDING', 'TREASURY', 'UNCLAIMED')",
            name=op.f("ck_inbound_transfers_state_is_known"),
        ),
        sa.CheckConstraint("amount > 0", name=op.f("ck_inbound_transfers_amount_positive")),
        sa.ForeignKeyConstraint(["claimed_by"], ["operations.id"], name=op.f("fk_inbound_transfers_claimed_by")),
        sa.ForeignKeyConstraint(
            ["refund_operation_id"], ["operations.id"], name=op.f("fk_inbound_transfers_refund_operation_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_inbound_transfers")),
        sa.UniqueConstraint(
            "chain_id", "tx_hash", "log_index", name=op.f("uq_inbound_transfers_chain_id_tx_hash_log_index")
        ),
        sa.UniqueConstraint("refund_operation_id", name=op.f("uq_inbound_transfers_refund_operation_id")),
    )
    op.create_index(
        "ix_inbound_transfers_waiting",
        "inbound_transfers",
        ["state", "seen_at"],
        unique=False,
        postgresql_where=sa.text("state IN ('REFUNDING', 'UNCLAIMED')"),
    )
    op.create_table(
        "loans",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("operation_id", sa.Text(), nullable=False),
        sa.Column("partner_id", sa.Text(), nullable=False),
        sa.Column("partner_loan_id", sa.Text(), nullable=False),
        sa.Column("user_wallet", sa.Text(), nullable=False),
        sa.Column("oaid_token_id", sa.Numeric(78, 0), nullable=False),
        sa.Column("chain_id", sa.BigInteger(), nullable=False),
        sa.Column("vault_address", sa.Text(), nullable=False),
        sa.Column("position_id", sa.Numeric(78, 0), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("principal", sa.BigInteger(), nullable=False),
        sa.Column("fee", sa.BigInteger(), nullable=False),
        sa.Column("payout", sa.BigInteger(), nullable=False),
        sa.Column("outstanding", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("written_off", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("settlement_address", sa.Text(), nullable=False),
        sa.Column("loan_duration", sa.BigInteger(), nullable=False),
        sa.Column("number_of_installments", sa.BigInteger(), nullable=False),
        sa.Column("grant_id", sa.Text(), nullable=False),
        sa.Column("review_reason", sa.Text(), nullable=True),
        sa.Column(
            "metadata", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column("borrow_tx_hash", sa.Text(), nullable=True),
        sa.Column("borrow_block", sa.BigInteger(), nullable=True),
        sa.Column("borrow_log_index", sa.BigInteger(), nullable=True),
        sa.Column("settle_tx_hash", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("activated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("status <> 'REPAID' OR outstanding = 0", name=op.f("ck_loans_repaid_owes_nothing")),
        sa.CheckConstraint(
            "status IN ('ACTIVE', 'DEFAULTED', 'FAILED', 'LIQUIDATED', 'PENDING', 'REJECTED', 'REPAID', 'REVERSED', 'SETTLING', 'UNDER_REVIEW')",
            name=op.f("ck_loans_status_is_known"),
        ),
        sa.CheckConstraint("outstanding BETWEEN 0 AND principal", name=op.f("ck_loans_outstanding_within_principal")),
        sa.CheckConstraint("principal = fee + payout", name=op.f("ck_loans_principal_is_fee_and_payout")),
        sa.CheckConstraint("principal > 0 AND fee >= 0 AND payout >= 0", name=op.f("ck_loans_amounts_in_range")),
        sa.CheckConstraint("written_off >= 0", name=op.f("ck_loans_written_off_not_negative")),
        sa.ForeignKeyConstraint(
            ["chain_id", "vault_address", "position_id"],
            ["solvency_positions.chain_id", "solvency_positions.vault_address", "solvency_positions.position_id"],
            name=op.f("fk_loans_chain_id_vault_address_position_id"),
        ),
        sa.ForeignKeyConstraint(["grant_id"], ["credit_line_grants.id"], name=op.f("fk_loans_grant_id")),
        sa.ForeignKeyConstraint(["operation_id"], ["operations.id"], name=op.f("fk_loans_operation_id")),
        sa.ForeignKeyConstraint(["partner_id"], ["partners.id"], name=op.f("fk_loans_partner_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_loans")),
        sa.UniqueConstraint("operation_id", name=op.f("uq_loans_operation_id")),
    )
    op.create_index("ix_loans_newest", "loans", ["partner_id", "partner_loan_id", "created_at"], unique=False)
    op.create_index(
        "uq_loans_one_per_position",
        "loans",
        ["chain_id", "vault_address", "position_id"],
        unique=True,
        postgresql_where=sa.text("status NOT IN ('FAILED', 'LIQUIDATED', 'REJECTED', 'REPAID', 'REVERSED')"),
    )
    op.create_index(
        "uq_loans_partner_loan_id",
        "loans",
        ["partner_id", "partner_loan_id"],
        unique=True,
        postgresql_where=sa.text("status NOT IN ('FAILED', 'REJECTED', 'REVERSED')"),
    )
    op.create_table(
        "operator_actions",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("operator", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("operation_id", sa.Text(), nullable=True),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column(
            "details", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "action IN ('CANCEL_IF_SAFE', 'CLOSE_INCIDENT', 'PAUSE_SIGNER', 'RESOLVE_HOLD', 'RESUME_SIGNER', 'RETRY_STEP')",
            name=op.f("ck_operator_actions_action_is_known"),
        ),
        sa.ForeignKeyConstraint(["operation_id"], ["operations.id"], name=op.f("fk_operator_actions_operation_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_operator_actions")),
    )
    op.create_index("ix_operator_actions_operation", "operator_actions", ["operation_id"], unique=False)
    op.create_table(
        "reservations",
        sa.Column("operation_id", sa.Text(), nullable=False),
        sa.Column("partner_id", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("total_limit", sa.BigInteger(), nullable=False),
        sa.Column("daily_limit", sa.BigInteger(), nullable=False),
        sa.Column("total_used_before", sa.BigInteger(), nullable=False),
        sa.Column("daily_used_before", sa.BigInteger(), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint("state IN ('DRAWN', 'RELEASED', 'RESERVED')", name=op.f("ck_reservations_state_is_known")),
        sa.CheckConstraint("amount > 0", name=op.f("ck_reservations_amount_positive")),
        sa.ForeignKeyConstraint(["operation_id"], ["operations.id"], name=op.f("fk_reservations_operation_id")),
        sa.ForeignKeyConstraint(["partner_id"], ["partners.id"], name=op.f("fk_reservations_partner_id")),
        sa.PrimaryKeyConstraint("operation_id", name=op.f("pk_reservations")),
    )
    op.create_table(
        "chain_attempts",
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("transaction_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("raw", postgresql.BYTEA(), nullable=False),
        sa.Column("gas", sa.BigInteger(), nullable=False),
        sa.Column("max_fee_per_gas", sa.Numeric(78, 0), nullable=False),
        sa.Column("max_priority_fee_per_gas", sa.Numeric(78, 0), nullable=False),
        sa.Column("stored_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_answer", sa.Text(), nullable=True),
        sa.CheckConstraint("kind IN ('CANCEL', 'PAYLOAD')", name=op.f("ck_chain_attempts_kind_is_known")),
        sa.CheckConstraint("max_fee_per_gas >= max_priority_fee_per_gas", name=op.f("ck_chain_attempts_fees_in_order")),
        sa.ForeignKeyConstraint(
            ["transaction_id"], ["chain_transactions.id"], name=op.f("fk_chain_attempts_transaction_id")
        ),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_chain_attempts")),
    )
    op.create_index("ix_chain_attempts_transaction", "chain_attempts", ["transaction_id"], unique=False)
    op.create_table(
        "ledger_transfers",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operation_id", sa.Text(), nullable=True),
        sa.Column("inbound_id", sa.BigInteger(), nullable=True),
        sa.Column("leg", sa.Text(), nullable=True),
        sa.Column("generation", sa.BigInteger(), nullable=True),
        sa.Column("phase", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("debit_account", sa.Text(), nullable=False),
        sa.Column("credit_account", sa.Text(), nullable=False),
        sa.Column("counterparty", sa.Text(), nullable=True),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("pending_id", sa.BigInteger(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "(phase IN ('POSTED', 'VOIDED')) = (pending_id IS NOT NULL)",
            name=op.f("ck_ledger_transfers_resolves_a_pending_row"),
        ),
        sa.CheckConstraint(
            "kind IN ('BORROW', 'CLAIM', 'COLLECT', 'FEE', 'INBOUND', 'PAYOUT', 'REFUND', 'REPAY', 'RESIDUE', 'SURPLUS', 'SUSPENSE', 'TREASURY', 'UNWIND')",
            name=op.f("ck_ledger_transfers_kind_is_known"),
        ),
        sa.CheckConstraint(
            "phase IN ('PENDING', 'POSTED', 'SINGLE', 'VOIDED')", name=op.f("ck_ledger_transfers_phase_is_known")
        ),
        sa.CheckConstraint("amount > 0", name=op.f("ck_ledger_transfers_amount_positive")),
        sa.CheckConstraint("debit_account <> credit_account", name=op.f("ck_ledger_transfers_two_accounts")),
        sa.ForeignKeyConstraint(["inbound_id"], ["inbound_transfers.id"], name=op.f("fk_ledger_transfers_inbound_id")),
        sa.ForeignKeyConstraint(["operation_id"], ["operations.id"], name=op.f("fk_ledger_transfers_operation_id")),
        sa.ForeignKeyConstraint(["pending_id"], ["ledger_transfers.id"], name=op.f("fk_ledger_transfers_pending_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_transfers")),
        sa.UniqueConstraint("pending_id", name=op.f("uq_ledger_transfers_pending_id")),
    )
    op.create_index("ix_ledger_transfers_credit", "ledger_transfers", ["credit_account"], unique=False)
    op.create_index("ix_ledger_transfers_debit", "ledger_transfers", ["debit_account"], unique=False)
    op.create_index("ix_ledger_transfers_operation", "ledger_transfers", ["operation_id"], unique=False)
    op.create_index(
        "uq_ledger_transfers_one_pending",
        "ledger_transfers",
        ["operation_id", "leg", "generation", "kind"],
        unique=True,
        postgresql_where=sa.text("phase = 'PENDING'"),
    )
    op.create_table(
        "outside_movements",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("chain_id", sa.BigInteger(), nullable=False),
        sa.Column("vault_address", sa.Text(), nullable=False),
        sa.Column("position_id", sa.Numeric(78, 0), nullable=False),
        sa.Column("tx_hash", sa.Text(), nullable=False),
        sa.Column("log_index", sa.BigInteger(), nullable=False),
        sa.Column("block_number", sa.BigInteger(), nullable=False),
        sa.Column("block_hash", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("principal", sa.BigInteger(), nullable=False),
        sa.Column("interest", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("remaining_debt", sa.Numeric(78, 0), nullable=True),
        sa.Column("loan_id", sa.Text(), nullable=True),
        sa.Column("released", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "kind IN ('BORROW', 'DEFAULT', 'LIQUIDATION', 'REPAYMENT')", name=op.f("ck_outside_movements_kind_is_known")
        ),
        sa.CheckConstraint("released >= 0", name=op.f("ck_outside_movements_released_not_negative")),
        sa.ForeignKeyConstraint(
            ["chain_id", "vault_address", "position_id"],
            ["solvency_positions.chain_id", "solvency_positions.vault_address", "solvency_positions.position_id"],
            name=op.f("fk_outside_movements_chain_id_vault_address_position_id"),
        ),
        sa.ForeignKeyConstraint(["loan_id"], ["loans.id"], name=op.f("fk_outside_movements_loan_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outside_movements")),
        sa.UniqueConstraint(
            "chain_id", "tx_hash", "log_index", name=op.f("uq_outside_movements_chain_id_tx_hash_log_index")
        ),
    )
    op.create_index(
        "ix_outside_movements_position", "outside_movements", ["chain_id", "vault_address", "position_id"], unique=False
    )
    op.create_index(
        "ix_outside_movements_loan",
        "outside_movements",
        ["loan_id"],
        unique=False,
        postgresql_where=sa.text("loan_id IS NOT NULL"),
    )
    op.create_table(
        "repayments",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("operation_id", sa.Text(), nullable=False),
        sa.Column("loan_id", sa.Text(), nullable=False),
        sa.Column("partner_id", sa.Text(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("payoff", sa.Boolean(), nullable=False),
        sa.Column("requested", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("holds_loan", sa.Boolean(), nullable=False),
        sa.Column("payer", sa.Text(), nullable=True),
        sa.Column("collected", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("covers_debt", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("principal", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("interest", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("residue", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("refunded", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("remaining_debt", sa.BigInteger(), nullable=True),
        sa.Column("review_reason", sa.Text(), nullable=True),
        sa.Column("tx_hash", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("mode IN ('PROOF', 'PULL')", name=op.f("ck_repayments_mode_is_known")),
        sa.CheckConstraint(
            "state IN ('APPLIED', 'COLLECTING', 'FAILED', 'REFUNDED', 'REJECTED', 'REPAYING', 'UNDER_REVIEW')",
            name=op.f("ck_repayments_state_is_known"),
        ),
        sa.CheckConstraint("closed_at IS NULL OR NOT holds_loan", name=op.f("ck_repayments_closed_holds_no_loan")),
        sa.CheckConstraint(
            "collected >= 0 AND principal >= 0 AND interest >= 0", name=op.f("ck_repayments_parts_not_negative")
        ),
        sa.CheckConstraint(
            "principal + interest + refunded <= collected + residue", name=op.f("ck_repayments_never_more_than_funded")
        ),
        sa.CheckConstraint("residue >= 0 AND refunded >= 0", name=op.f("ck_repayments_extras_not_negative")),
        sa.ForeignKeyConstraint(["loan_id"], ["loans.id"], name=op.f("fk_repayments_loan_id")),
        sa.ForeignKeyConstraint(["operation_id"], ["operations.id"], name=op.f("fk_repayments_operation_id")),
        sa.ForeignKeyConstraint(["partner_id"], ["partners.id"], name=op.f("fk_repayments_partner_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_repayments")),
        sa.UniqueConstraint("operation_id", name=op.f("uq_repayments_operation_id")),
    )
    op.create_index("ix_repayments_loan", "repayments", ["loan_id"], unique=False)
    op.create_index(
        "uq_repayments_one_in_flight", "repayments", ["loan_id"], unique=True, postgresql_where=sa.text("holds_loan")
    )

    op.create_foreign_key(
        op.f("fk_partners_own_settlement_address"),
        "partners",
        "settlement_addresses",
        ["id", "settlement_address"],
        ["partner_id", "address"],
    )
    op.execute(NEVER_CHANGED)
    op.execute(WAKE_UPS)


def downgrade() -> None:
    raise CommandError("the records of money are never dropped by a migration: restore a backup instead")
