"""Tens of thousands of loans at once, so that a plan which reads a whole table shows."""

from typing import Any

from sqlalchemy import Select, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.asyncio import AsyncSession

from models.tables.session import Transaction

WALLETS = 50
"""Each of a partner's loans is of one of so many wallets, in turn; wallet n has the line n."""

_DIALECT: Dialect = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it untyped

_GRANT = """
INSERT INTO credit_line_grants (id, partner_id, chain_id, oaid_address, oaid_token_id, position_id, user_wallet,
    max_amount, expires_at, nonce, evidence_kind, evidence)
SELECT 'grant_' || :partner, :partner, 1, '0x', 1, 1, '0x', 1, now(), hashtext(:partner) + 3000000000, 'USER_SIGNATURE', '{}'
"""
_POSITIONS = """
INSERT INTO solvency_positions (chain_id, vault_address, position_id, oaid_token_id, user_wallet, collateral_token,
    collateral_amount, collateral_value, credit_limit, seen_at_block)
SELECT 1, :partner, n, n % :wallets, '0x', '0x', 1, 1, 1, 1 FROM generate_series(1, :loans) n
"""
_OPERATIONS = r"""
INSERT INTO operations (id, kind, partner_id, idempotency_key, fingerprint, state, loan_id, partner_loan_id, received_at,
    decision, refusal, decided_at, done_at)
SELECT 'borrow\:' || :partner || '\:k' || n, 'BORROW', :partner, 'k' || n, 'f', 'DONE', 'loan_' || :partner || n, 'L' || n,
    timestamptz '2026-01-01Z' + n * interval '1 second', 'REFUSED',
    jsonb_build_object('code', CASE WHEN n % 3 = 0 THEN 'grant_required' ELSE 'ltv_exceeded' END, 'status', 422, 'title', 'T',
        'detail', 'D'),
    now(), now()
FROM generate_series(1, :loans) n
"""
_LOANS = r"""
INSERT INTO loans (id, operation_id, partner_id, partner_loan_id, user_wallet, oaid_token_id, chain_id, vault_address,
    position_id, status, principal, fee, payout, outstanding, settlement_address, loan_duration, number_of_installments,
    grant_id, borrow_tx_hash, created_at)
SELECT 'loan_' || :partner || lpad(n::text, 8, '0'), 'borrow\:' || :partner || '\:k' || n, :partner, 'L' || n,
    '0x' || lpad((n % :wallets)::text, 40, '0'), n % :wallets, 1, :partner, n,
    CASE WHEN n % 5000 = 0 THEN 'DEFAULTED' WHEN n % 3 = 0 THEN 'REPAID' ELSE 'ACTIVE' END,
    1000, 5, 995, CASE WHEN n % 5000 <> 0 AND n % 3 = 0 THEN 0 ELSE 1000 END, '0x', 3000, 3, 'grant_' || :partner, '0x',
    timestamptz '2026-01-01Z' + (n / 2) * interval '1 second'
FROM generate_series(1, :loans) n
"""
"""Two loans each share their second, so that a page can end between them."""


async def crowd(transaction: Transaction, partner_id: str, loans: int) -> None:
    """So many loans of a partner that has a row, each with an operation that says REFUSED, since nobody asks it for terms."""
    given = {"partner": partner_id, "loans": loans, "wallets": WALLETS}
    async with transaction() as session:
        for statement in (_GRANT, _POSITIONS, _OPERATIONS, _LOANS):
            used = {name: value for name, value in given.items() if f":{name}" in statement}
            await session.execute(text(statement), used)
    async with transaction() as session:
        for table in ("loans", "operations", "repayments"):
            await session.execute(text(f"ANALYZE {table}"))


async def plan_of(session: AsyncSession, statement: Select[Any]) -> str:
    """How PostgreSQL carries a statement out."""
    compiled = str(statement.compile(dialect=_DIALECT, compile_kwargs={"literal_binds": True}))
    lines = await session.connection()
    found = await lines.exec_driver_sql(f"EXPLAIN (ANALYZE, TIMING OFF, BUFFERS OFF) {compiled.replace('%%', '%')}")
    return "\n".join(row[0] for row in found)
