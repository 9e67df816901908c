"""A database that has grown: so many loans of two years, with their operations, repayments and refusals.

The rows are made by the server itself, with constraints that look at one row and without those that look at others, which
they keep by construction. They are there before the tables of figures, so that these count them as in an upgrade.
"""

import asyncio
from dataclasses import dataclass, field, replace
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from api.administration import create_partner
from bench.measures import Stopwatch
from bench.world import World
from models.statuses import PartnerTier
from models.tables.session import open_database, transactions
from sandbox.engine import EngineConfig

ALEMBIC_INI = Path(__file__).resolve().parents[1] / "alembic.ini"
BEFORE_FIGURES = "0002"
PARTNERS = 200
REQUESTS_PER_MINUTE = 10**9
"""No figure is of what a limit refuses."""
READER = "partner-0"

_ROWS = (
    """
    CREATE TEMPORARY TABLE spread (n bigint, p bigint, partner_id text, loan_id text, operation_id text,
        received_at timestamptz, principal bigint, status text, deciding interval, doing interval)
    """,
    """
    INSERT INTO spread
    SELECT n, n % :partners AS p, 'partner-' || n % :partners AS partner_id, 'loan-' || n AS loan_id,
        'borrow:partner-' || n % :partners || '\\:L-' || n AS operation_id,
        now() - n * (interval '730 days' / CAST(:loans AS bigint)) - interval '1 minute' AS received_at,
        1000000 + n % 4999 * 1000000 AS principal,
        CASE WHEN n % 100 < 3 THEN 'FAILED' WHEN n % 100 = 3 THEN 'REVERSED' WHEN n % 100 = 4 THEN 'DEFAULTED'
            WHEN n * 730 / :loans > 30 THEN 'REPAID' ELSE 'ACTIVE' END AS status,
        (20 + n * 7919 % 400) * interval '1 millisecond' AS deciding,
        (2000 + n * 104729 % 60000) * interval '1 millisecond' AS doing
    FROM generate_series(1, CAST(:loans AS bigint)) AS n
    """,
    """
    INSERT INTO settlement_addresses (address, partner_id)
    SELECT '0x' || lpad(to_hex(p), 40, '0'), 'partner-' || p FROM generate_series(1, :partners - 1) AS p
    """,
    """
    INSERT INTO partners (id, name, status, tier, fee_bps, daily_borrow_limit, total_borrow_limit, settlement_address)
    SELECT 'partner-' || p, 'Partner ' || p, 'ACTIVE', (ARRAY['BASIC', 'PREMIUM', 'ENTERPRISE'])[1 + p % 3], 50,
        1000000000000000, 1000000000000000, '0x' || lpad(to_hex(p), 40, '0')
    FROM generate_series(1, :partners - 1) AS p
    """,
    """
    INSERT INTO credit_line_grants (id, partner_id, chain_id, oaid_address, oaid_token_id, position_id, user_wallet,
        max_amount, expires_at, nonce, evidence_kind, evidence)
    SELECT 'grant-' || p, 'partner-' || p, 31337, '0x0a', 1, 1, '0x0b', 1000000, now() + interval '1 day', p,
        'USER_SIGNATURE', '{}'
    FROM generate_series(0, :partners - 1) AS p
    """,
    """
    INSERT INTO solvency_positions (chain_id, vault_address, position_id, oaid_token_id, user_wallet, collateral_token,
        collateral_amount, collateral_value, credit_limit, seen_at_block)
    SELECT 31337, '0x0c', n, n, '0x' || lpad(to_hex(n), 40, '0'), '0x0d', 1, 1, 1, 1 FROM spread
    """,
    """
    INSERT INTO operations (id, kind, partner_id, idempotency_key, fingerprint, request, loan_id, partner_loan_id, state,
        decision, terms, outcome, trace_id, received_at, decided_at, done_at)
    SELECT operation_id, 'BORROW', partner_id, 'L-' || n, md5(loan_id), jsonb_build_object('amount', principal, 'n', n),
        loan_id, 'L-' || n, 'DONE', 'ACCEPTED', jsonb_build_object('loan_id', loan_id), '{"status": "ACTIVE"}',
        md5(operation_id), received_at, received_at + deciding, received_at + deciding + doing
    FROM spread
    """,
    """
    INSERT INTO operations (id, kind, partner_id, idempotency_key, fingerprint, request, state,
        decision, refusal, outcome, trace_id, received_at, decided_at, done_at)
    SELECT 'refused\\:' || n, 'BORROW', partner_id, 'R-' || n, md5(loan_id), '{}', 'DONE', 'REFUSED',
        jsonb_build_object('code', 'reason_' || n / 10 % 12), '{"status": "REFUSED"}', md5(operation_id),
        received_at, received_at + deciding, received_at + deciding
    FROM spread WHERE n % 10 = 0
    """,
    """
    INSERT INTO loans (id, operation_id, partner_id, partner_loan_id, user_wallet, oaid_token_id, chain_id, vault_address,
        position_id, status, principal, fee, payout, outstanding, settlement_address, loan_duration,
        number_of_installments, grant_id, created_at, activated_at, closed_at)
    SELECT loan_id, operation_id, partner_id, 'L-' || n, '0x' || lpad(to_hex(n), 40, '0'), n, 31337, '0x0c',
        n, status, principal, principal / 200, principal - principal / 200,
        CASE WHEN status IN ('ACTIVE', 'DEFAULTED') THEN principal ELSE 0 END, '0x0e', 2592000,
        1, 'grant-' || p, received_at,
        CASE WHEN status IN ('ACTIVE', 'DEFAULTED', 'REPAID') THEN received_at + deciding + doing END,
        CASE status WHEN 'REPAID' THEN received_at + interval '30 days'
            WHEN 'FAILED' THEN received_at + deciding + doing WHEN 'REVERSED' THEN received_at + deciding + doing END
    FROM spread
    """,
    """
    INSERT INTO operations (id, kind, partner_id, idempotency_key, fingerprint, request, loan_id, partner_loan_id, state,
        decision, terms, outcome, trace_id, received_at, decided_at, done_at)
    SELECT 'repay\\:' || n, 'REPAY', partner_id, 'P-' || n, md5(loan_id), '{}', loan_id, 'L-' || n, 'DONE', 'ACCEPTED',
        '{}', '{"status": "APPLIED"}', md5(operation_id), received_at + interval '30 days' - doing - deciding,
        received_at + interval '30 days' - doing, received_at + interval '30 days'
    FROM spread WHERE status = 'REPAID'
    """,
    """
    INSERT INTO repayments (id, operation_id, loan_id, partner_id, mode, payoff, state, holds_loan, collected,
        principal, interest, remaining_debt, created_at, closed_at)
    SELECT 'rep-' || n, 'repay\\:' || n, loan_id, partner_id, 'PULL', true, 'APPLIED', false, principal + principal / 100,
        principal, principal / 100, 0, received_at, received_at + interval '30 days'
    FROM spread WHERE status = 'REPAID'
    """,
)


@dataclass(frozen=True)
class Grown:
    """``seeded`` and ``counted`` are how long it took to make the rows, and the migration to count them, in nanoseconds."""

    loans: int
    config: EngineConfig
    seeded: int
    counted: int
    reader_key: str = field(repr=False)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.reader_key}"}

    def reader_loans(self) -> list[str]:
        """The names of the loans that the key may read."""
        return [f"L-{number}" for number in range(PARTNERS, self.loans + 1, PARTNERS)]


async def grow(world: World, loans: int) -> Grown:
    """A database of its own on the world's server, with statistics and without anything that waits to be cleaned."""
    url = await world.postgres.create_database(f"grown_{loans}")
    await _migrate(url, BEFORE_FIGURES)
    database = open_database(url, pool_size=1, application_name="bench")
    try:
        async with transactions(database)() as session:
            issued = await create_partner(
                session,
                partner_id=READER,
                name="Reader",
                tier=PartnerTier.ENTERPRISE,
                settlement_address=f"0x{'0f' * 20}",
                mode="sandbox",
            )
            watch = Stopwatch()
            await _seed(session, loans)
        seeded = watch.nanoseconds()
        watch = Stopwatch()
        await _migrate(url, "head")
        counted = watch.nanoseconds()
        async with database.connect() as connection:
            plain = await connection.execution_options(isolation_level="AUTOCOMMIT")
            await plain.execute(text("SET statement_timeout = 0"))
            await plain.execute(text("VACUUM (ANALYZE)"))
    finally:
        await database.dispose()
    config = replace(world.engine.config, database_url=url)
    return Grown(loans, config, seeded, counted, issued.key)


async def _seed(session: AsyncSession, loans: int) -> None:
    asked = {"loans": loans, "partners": PARTNERS}
    await session.execute(text("SET LOCAL statement_timeout = 0"))
    await session.execute(text("SET LOCAL session_replication_role = replica"))
    await session.execute(text("UPDATE partners SET requests_per_minute = :most"), {"most": REQUESTS_PER_MINUTE})
    for statement in _ROWS:
        await session.execute(text(statement), asked)


async def _migrate(url: str, revision: str) -> None:
    config = Config(ALEMBIC_INI)
    config.set_main_option("sqlalchemy.url", url)
    await asyncio.to_thread(command.upgrade, config, revision)
