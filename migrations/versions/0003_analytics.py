"""Administrators' figures: sums by day, week and month, the changes that wait to join them, and the triggers that make those."""

import sqlalchemy as sa
from alembic import op
from alembic.util import CommandError

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

BUCKETS = "bucket IN ('day', 'month', 'week')"

MEANINGS = """
CREATE FUNCTION utc_day(moment timestamptz) RETURNS date LANGUAGE sql IMMUTABLE AS $$
    SELECT (moment AT TIME ZONE 'UTC')::date
$$;

CREATE FUNCTION analytics_slot(took interval) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    length bigint := greatest(0, extract(epoch FROM took) * 1000000);
    -- The place of the first bit that is set, from the left, tells the power of two.
    shift integer := greatest(0, 60 - position(B'1' IN (length | 1)::bit(64)));
BEGIN
    RETURN (shift << 4) + (length >> shift);
END $$;

CREATE FUNCTION analytics_of_loan(loan loans) RETURNS TABLE (
    day date, partner_id text, borrowed bigint, fees bigint, loans bigint,
    loans_failed bigint, failed_principal bigint, loans_reversed bigint, reversed_principal bigint
) LANGUAGE sql STABLE AS $$
    SELECT utc_day(loan.activated_at), loan.partner_id, loan.principal, loan.fee, 1, 0, 0, 0, 0
    WHERE loan.activated_at IS NOT NULL
    UNION ALL
    SELECT utc_day(loan.closed_at), loan.partner_id, 0, 0, 0, 1, loan.principal, 0, 0
    WHERE loan.status = 'FAILED' AND loan.closed_at IS NOT NULL
    UNION ALL
    SELECT utc_day(loan.closed_at), loan.partner_id, 0, 0, 0, 0, 0, 1, loan.principal
    WHERE loan.status = 'REVERSED' AND loan.closed_at IS NOT NULL
$$;

CREATE FUNCTION analytics_of_repayment(repayment repayments) RETURNS TABLE (
    day date, partner_id text, repaid_principal bigint, repaid_interest bigint, repayments bigint,
    repayments_failed bigint, repayments_rejected bigint, repayments_refunded bigint
) LANGUAGE sql STABLE AS $$
    SELECT utc_day(repayment.closed_at), repayment.partner_id,
        CASE WHEN repayment.state = 'APPLIED' THEN repayment.principal ELSE 0 END,
        CASE WHEN repayment.state = 'APPLIED' THEN repayment.interest ELSE 0 END,
        (repayment.state = 'APPLIED')::integer, (repayment.state = 'FAILED')::integer,
        (repayment.state = 'REJECTED')::integer, (repayment.state = 'REFUNDED')::integer
    WHERE repayment.closed_at IS NOT NULL
$$;

CREATE FUNCTION analytics_refusal_of(operation operations) RETURNS TABLE (
    day date, partner_id text, kind text, code text
) LANGUAGE sql STABLE AS $$
    SELECT utc_day(operation.decided_at), operation.partner_id, operation.kind,
        coalesce(operation.refusal ->> 'code', 'unknown')
    WHERE operation.decision = 'REFUSED' AND operation.partner_id IS NOT NULL
$$;

CREATE FUNCTION analytics_latency_of(operation operations) RETURNS TABLE (
    day date, kind text, latency text, slot bigint
) LANGUAGE sql STABLE AS $$
    SELECT utc_day(operation.decided_at), operation.kind, 'decision',
        analytics_slot(operation.decided_at - operation.received_at)
    WHERE operation.kind <> 'SYSTEM' AND operation.decided_at IS NOT NULL
    UNION ALL
    SELECT utc_day(operation.done_at), operation.kind, 'completion',
        analytics_slot(operation.done_at - operation.received_at)
    WHERE operation.kind <> 'SYSTEM' AND operation.decision = 'ACCEPTED' AND operation.done_at IS NOT NULL
$$;
"""
"""What one row means for the figures. A trigger adds what the new row means and takes away what the old one meant."""

TRIGGERS = """
CREATE FUNCTION analytics_loan_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO analytics_flow_changes (day, partner_id, borrowed, fees, loans,
        loans_failed, failed_principal, loans_reversed, reversed_principal)
    SELECT day, partner_id, sign * borrowed, sign * fees, sign * loans,
        sign * loans_failed, sign * failed_principal, sign * loans_reversed, sign * reversed_principal
    FROM (
        SELECT 1 AS sign, added.* FROM (
            SELECT * FROM analytics_of_loan(NEW) EXCEPT ALL SELECT * FROM analytics_of_loan(OLD)) AS added
        UNION ALL
        SELECT -1, taken.* FROM (
            SELECT * FROM analytics_of_loan(OLD) EXCEPT ALL SELECT * FROM analytics_of_loan(NEW)) AS taken
    ) AS changes;
    RETURN NULL;
END $$;
CREATE TRIGGER loans_in_analytics AFTER INSERT OR DELETE ON loans
    FOR EACH ROW EXECUTE FUNCTION analytics_loan_changed();
CREATE TRIGGER loans_changed_in_analytics AFTER UPDATE ON loans
    FOR EACH ROW WHEN ((OLD.status, OLD.activated_at, OLD.closed_at, OLD.principal, OLD.fee, OLD.partner_id)
        IS DISTINCT FROM (NEW.status, NEW.activated_at, NEW.closed_at, NEW.principal, NEW.fee, NEW.partner_id))
    EXECUTE FUNCTION analytics_loan_changed();

CREATE FUNCTION analytics_outstanding_changed() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    grown bigint := coalesce(NEW.outstanding, 0) - coalesce(OLD.outstanding, 0);
BEGIN
    IF grown <> 0 THEN
        INSERT INTO analytics_flow_changes (day, partner_id, outstanding)
        VALUES (utc_day(CASE TG_OP WHEN 'INSERT' THEN coalesce(NEW.activated_at, now()) ELSE now() END),
            coalesce(NEW.partner_id, OLD.partner_id), grown);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER outstanding_in_analytics AFTER INSERT OR DELETE ON loans
    FOR EACH ROW EXECUTE FUNCTION analytics_outstanding_changed();
CREATE TRIGGER outstanding_changed_in_analytics AFTER UPDATE OF outstanding ON loans
    FOR EACH ROW WHEN (OLD.outstanding <> NEW.outstanding) EXECUTE FUNCTION analytics_outstanding_changed();

CREATE FUNCTION analytics_repayment_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO analytics_flow_changes (day, partner_id, repaid_principal, repaid_interest, repayments,
        repayments_failed, repayments_rejected, repayments_refunded)
    SELECT day, partner_id, sign * repaid_principal, sign * repaid_interest, sign * repayments,
        sign * repayments_failed, sign * repayments_rejected, sign * repayments_refunded
    FROM (
        SELECT 1 AS sign, added.* FROM (
            SELECT * FROM analytics_of_repayment(NEW) EXCEPT ALL SELECT * FROM analytics_of_repayment(OLD)) AS added
        UNION ALL
        SELECT -1, taken.* FROM (
            SELECT * FROM analytics_of_repayment(OLD) EXCEPT ALL SELECT * FROM analytics_of_repayment(NEW)) AS taken
    ) AS changes;
    RETURN NULL;
END $$;
CREATE TRIGGER repayments_in_analytics AFTER INSERT OR DELETE ON repayments
    FOR EACH ROW EXECUTE FUNCTION analytics_repayment_changed();
CREATE TRIGGER repayments_changed_in_analytics AFTER UPDATE ON repayments
    FOR EACH ROW WHEN (OLD.closed_at IS NOT NULL OR NEW.closed_at IS NOT NULL)
    EXECUTE FUNCTION analytics_repayment_changed();

CREATE FUNCTION analytics_operation_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO analytics_latency_changes (day, kind, latency, slot, number)
    SELECT added.*, 1 FROM (
        SELECT * FROM analytics_latency_of(NEW) EXCEPT ALL SELECT * FROM analytics_latency_of(OLD)) AS added
    UNION ALL
    SELECT taken.*, -1 FROM (
        SELECT * FROM analytics_latency_of(OLD) EXCEPT ALL SELECT * FROM analytics_latency_of(NEW)) AS taken;
    IF 'REFUSED' IN (NEW.decision, OLD.decision) THEN
        INSERT INTO analytics_refusal_changes (day, partner_id, kind, code, number)
        SELECT added.*, 1 FROM (
            SELECT * FROM analytics_refusal_of(NEW) EXCEPT ALL SELECT * FROM analytics_refusal_of(OLD)) AS added
        UNION ALL
        SELECT taken.*, -1 FROM (
            SELECT * FROM analytics_refusal_of(OLD) EXCEPT ALL SELECT * FROM analytics_refusal_of(NEW)) AS taken;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER operations_in_analytics AFTER INSERT ON operations
    FOR EACH ROW WHEN (NEW.decision IS NOT NULL) EXECUTE FUNCTION analytics_operation_changed();
CREATE TRIGGER operations_gone_in_analytics AFTER DELETE ON operations
    FOR EACH ROW WHEN (OLD.decision IS NOT NULL) EXECUTE FUNCTION analytics_operation_changed();
CREATE TRIGGER operations_changed_in_analytics AFTER UPDATE ON operations
    FOR EACH ROW WHEN ((OLD.decision, OLD.decided_at, OLD.done_at, OLD.refusal)
        IS DISTINCT FROM (NEW.decision, NEW.decided_at, NEW.done_at, NEW.refusal))
    EXECUTE FUNCTION analytics_operation_changed();
"""

WHAT_WAS_BEFORE = """
INSERT INTO analytics_flow_changes (day, partner_id, borrowed, fees, loans,
    loans_failed, failed_principal, loans_reversed, reversed_principal)
SELECT day, meant.partner_id, borrowed, meant.fees, loans, loans_failed, failed_principal, loans_reversed, reversed_principal
FROM loans AS loan, analytics_of_loan(loan) AS meant (day, partner_id, borrowed, fees, loans,
    loans_failed, failed_principal, loans_reversed, reversed_principal);

INSERT INTO analytics_flow_changes (day, partner_id, repaid_principal, repaid_interest, repayments,
    repayments_failed, repayments_rejected, repayments_refunded)
SELECT meant.* FROM repayments AS repayment, analytics_of_repayment(repayment) AS meant;

INSERT INTO analytics_refusal_changes (day, partner_id, kind, code, number)
SELECT meant.*, 1 FROM operations AS operation, analytics_refusal_of(operation) AS meant;

INSERT INTO analytics_latency_changes (day, kind, latency, slot, number)
SELECT meant.*, 1 FROM operations AS operation, analytics_latency_of(operation) AS meant;

WITH owed AS (
    SELECT loan.id, loan.partner_id, loan.principal, loan.outstanding, loan.closed_at,
        coalesce(loan.activated_at, loan.created_at) AS began
    FROM loans AS loan WHERE loan.activated_at IS NOT NULL OR loan.outstanding > 0
), repaid AS (
    SELECT repayment.loan_id, repayment.closed_at, repayment.principal
    FROM repayments AS repayment WHERE repayment.state = 'APPLIED' AND repayment.closed_at IS NOT NULL
), rest AS (
    SELECT owed.id, owed.principal - owed.outstanding - coalesce(sum(repaid.principal), 0) AS fell
    FROM owed LEFT JOIN repaid ON repaid.loan_id = owed.id GROUP BY owed.id, owed.principal, owed.outstanding
)
INSERT INTO analytics_flow_changes (day, partner_id, outstanding)
SELECT utc_day(began), partner_id, principal FROM owed
UNION ALL
SELECT utc_day(repaid.closed_at), owed.partner_id, -repaid.principal FROM repaid JOIN owed ON owed.id = repaid.loan_id
UNION ALL
SELECT utc_day(coalesce(owed.closed_at, now())), owed.partner_id, -rest.fell
FROM rest JOIN owed ON owed.id = rest.id WHERE rest.fell <> 0;

INSERT INTO analytics_flow_sums (bucket, start, partner_id, borrowed, fees, loans, outstanding,
    repaid_principal, repaid_interest, repayments, loans_failed, failed_principal, loans_reversed, reversed_principal,
    repayments_failed, repayments_rejected, repayments_refunded)
SELECT bucket, date_trunc(bucket, day::timestamp)::date, whose, sum(borrowed), sum(fees), sum(loans), sum(outstanding),
    sum(repaid_principal), sum(repaid_interest), sum(repayments), sum(loans_failed), sum(failed_principal),
    sum(loans_reversed), sum(reversed_principal),
    sum(repayments_failed), sum(repayments_rejected), sum(repayments_refunded)
FROM analytics_flow_changes, (VALUES ('day'), ('week'), ('month')) AS lengths (bucket),
    LATERAL (VALUES (partner_id), ('*')) AS partners (whose) GROUP BY 1, 2, 3;

INSERT INTO analytics_refusal_sums (bucket, start, partner_id, kind, code, number)
SELECT bucket, date_trunc(bucket, day::timestamp)::date, partner_id, kind, code, sum(number)
FROM analytics_refusal_changes, (VALUES ('day'), ('week'), ('month')) AS lengths (bucket) GROUP BY 1, 2, 3, 4, 5;

INSERT INTO analytics_latency_sums (bucket, start, kind, latency, slot, number)
SELECT bucket, date_trunc(bucket, day::timestamp)::date, kind, latency, slot, sum(number)
FROM analytics_latency_changes, (VALUES ('day'), ('week'), ('month')) AS lengths (bucket) GROUP BY 1, 2, 3, 4, 5;

TRUNCATE analytics_flow_changes, analytics_refusal_changes, analytics_latency_changes;
"""
"""Rows that are there already join the sums at once: millions of changes that come and go would leave a table to clean.

When principal was repaid outside the engine is not known any more, so that is dated by the loan's end.
"""


def upgrade() -> None:
    _create_flows()
    _create_refusals()
    _create_latencies()
    op.execute(MEANINGS)
    op.execute(TRIGGERS)
    op.execute(WHAT_WAS_BEFORE)


def downgrade() -> None:
    raise CommandError("the records of money are never dropped by a migration: restore a backup instead")


def _flows() -> list[sa.Column[int]]:
    names = (
        "borrowed",
        "fees",
        "loans",
        "outstanding",
        "repaid_principal",
        "repaid_interest",
        "repayments",
        "loans_failed",
        "failed_principal",
        "loans_reversed",
        "reversed_principal",
        "repayments_failed",
        "repayments_rejected",
        "repayments_refunded",
    )
    return [sa.Column(name, sa.BigInteger(), server_default="0", nullable=False) for name in names]


def _change() -> list[sa.Column[object]]:
    return [
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
    ]


def _sum(table: str) -> list[sa.schema.SchemaItem]:
    return [
        sa.Column("bucket", sa.Text(), nullable=False),
        sa.Column("start", sa.Date(), nullable=False),
        sa.CheckConstraint(BUCKETS, name=op.f(f"ck_{table}_bucket_is_known")),
    ]


def _text(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text(), nullable=False) for name in names]


def _number(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger(), nullable=False) for name in names]


def _key(table: str, *columns: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint(*columns, name=op.f(f"pk_{table}"))


def _create_flows() -> None:
    changes, sums = "analytics_flow_changes", "analytics_flow_sums"
    op.create_table(changes, *_change(), *_text("partner_id"), *_flows(), _key(changes, "id"))
    op.create_table(sums, *_sum(sums), *_text("partner_id"), *_flows(), _key(sums, "bucket", "start", "partner_id"))


def _create_refusals() -> None:
    changes, sums = "analytics_refusal_changes", "analytics_refusal_sums"
    fields = ("partner_id", "kind", "code")
    op.create_table(changes, *_change(), *_text(*fields), *_number("number"), _key(changes, "id"))
    op.create_table(sums, *_sum(sums), *_text(*fields), *_number("number"), _key(sums, "bucket", "start", *fields))


def _create_latencies() -> None:
    changes, sums = "analytics_latency_changes", "analytics_latency_sums"
    op.create_table(changes, *_change(), *_text("kind", "latency"), *_number("slot", "number"), _key(changes, "id"))
    op.create_table(
        sums,
        *_sum(sums),
        *_text("kind", "latency"),
        *_number("slot", "number"),
        _key(sums, "bucket", "start", "kind", "latency", "slot"),
    )
