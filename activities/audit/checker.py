"""The invariants of money.md section 8, all of them, on PostgreSQL and the chain, while the engine is at work.

The chain is read first, at one final block B, and then the database in one snapshot: what the chain shows, the database
knows. Nothing is written, and nothing that an invariant says is taken from what a process remembers.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from activities.audit.books import check_books
from activities.audit.events import check_terminal_events
from activities.audit.evidence import gather
from activities.audit.findings import AuditReport
from activities.audit.limits import check_limits
from activities.audit.nonces import check_nonces, check_one_success
from activities.audit.parties import check_parties
from activities.audit.principals import check_principals, read_books
from activities.audit.transfers import check_transfers
from activities.audit.usage import check_usage
from chain.engine_chain import EngineChain
from models.tables.session import Transaction


async def audit(transaction: Transaction, chain: EngineChain, *, since: int | None = None) -> AuditReport:
    """Every invariant with the figures compared and each breach. Raises RpcUnavailable or RpcError where it cannot say.

    ``since`` is a block up to which an audit found nothing: logs are then read from there, and positions where nothing is
    owed are left out. The rows are checked as a whole in any case.
    """
    evidence = await gather(transaction, chain, since)
    async with _snapshot(transaction) as session:
        books = await check_books(session)
        await check_usage(session, books)
        limits = await check_limits(session)
        transfers = await check_transfers(session, chain, evidence)
        await check_parties(session, chain, evidence, transfers.finding)
        positions = await read_books(session, chain, evidence)
        success = await check_one_success(session)
        nonces = await check_nonces(session, chain, evidence)
        events = await check_terminal_events(session)
    principals = await check_principals(transaction, chain, evidence, positions)
    findings = [books, limits, transfers.finding, principals, success, nonces, events]
    return AuditReport(evidence.block.number, findings, transfers.surplus, transfers.surplus_booked)


@asynccontextmanager
async def _snapshot(transaction: Transaction) -> AsyncIterator[AsyncSession]:
    """One moment of the database for all queries, which may take longer than a step of the engine may."""
    async with transaction() as session:
        await session.connection(execution_options={"isolation_level": "REPEATABLE READ", "postgresql_readonly": True})
        await session.execute(text("SET LOCAL statement_timeout = '10min'"))
        yield session
