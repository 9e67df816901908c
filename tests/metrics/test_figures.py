"""Figures of rows: what is wrong is told, each leg is told once, one worker tells, and no query walks a table that grows."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from sqlalchemy import event, text, update
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from temporalio.client import Client

from chain.client import ChainClient
from chain.codec import checksum
from chain.types import Market, Wei
from metrics.catalogue import LEGS
from metrics.collecting import StateCollector, Watched
from metrics.ended_legs import EndedLegs
from metrics.rows import SOURCES, LoanCounts
from metrics.samples import LatestSamples, Sample
from metrics.signers import read_signers
from metrics.webhooks import WebhookTries
from models.ids import new_id
from models.statuses import IncidentKind, LoanStatus, TransactionState
from models.tables.incident_book import open_incident
from models.tables.operations import Event, Operation
from models.tables.session import Transaction, open_database, transactions
from models.tables.transactions import ChainSigner, ChainTransaction
from models.tables.webhooks import WebhookAttempt, WebhookDelivery
from sandbox.services import Anvil, Temporal
from tests import factories as rows
from tests.metrics.scraping import Scrape, parsed

GROWING = {
    "chain_attempts",
    "chain_transactions",
    "events",
    "incidents",
    "loans",
    "operations",
    "partner_days",
    "webhook_attempts",
    "webhook_deliveries",
}
WALLET = rows.WALLET


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = open_database(database_url)
    yield engine
    await engine.dispose()


@pytest.fixture
def transaction(database: AsyncEngine) -> Transaction:
    return transactions(database)


def market(nonce: int) -> Market:
    return Market(Wei(1), Wei(1), Wei(1), nonce)


async def figures(transaction: Transaction, nonce: int = 0) -> Scrape:
    async with transaction() as session:
        samples: list[Sample] = []
        for source in (*SOURCES, LoanCounts().read):
            samples += await source(session)
        samples += await read_signers(session, WALLET, market(nonce))
    registry = CollectorRegistry()
    LatestSamples(registry, stale_after=60).put(samples)
    return told(registry)


def told(registry: CollectorRegistry) -> Scrape:
    return parsed(generate_latest(registry).decode())


async def test_what_waits_for_a_person_is_told(transaction: Transaction) -> None:
    """A held leg, an operation under review since its partner was told, an incident and a broken invariant."""
    async with transaction() as session:
        await rows.known_signer(session)
        operation = await rows.new_operation(session, review_reason="held")
        await rows.new_leg(session, operation, "borrow", TransactionState.HELD)
        delayed = await rows.new_event(session, operation, "loan.delayed")
        delayed.created_at = datetime.now(UTC) - timedelta(hours=2)
        await rows.new_loan(session, operation, status=LoanStatus.UNDER_REVIEW)
        await open_incident(session, IncidentKind.LEG_HELD, "leg", "why")
        await open_incident(session, IncidentKind.INVARIANT_BROKEN, "invariant 1: books", "why")
    found = await figures(transaction)
    assert found.get("loan_engine_legs", state="HELD") == 1
    assert found.get("loan_engine_operations_under_review", kind="BORROW") == 1
    assert 7200 <= (found.get("loan_engine_operation_review_oldest_seconds", kind="BORROW") or 0) < 7300
    assert found.get("loan_engine_operation_stalled_oldest_seconds", kind="BORROW") == 0
    assert found.get("loan_engine_incidents_open", kind="LEG_HELD") == 1
    assert found.get("loan_engine_audit_breaches") == 1
    assert found.get("loan_engine_loans", status="UNDER_REVIEW") == 1


async def test_an_operation_that_stands_still_is_told(transaction: Transaction) -> None:
    """Its age is that of the last thing that moved, which may be a leg and not the request."""
    hours = [datetime.now(UTC) - timedelta(hours=age) for age in (5, 3)]
    async with transaction() as session:
        await rows.known_signer(session)
        operation = await rows.new_operation(session, received_at=hours[0])
        await rows.new_leg(session, operation, "borrow", TransactionState.QUEUED, queued_at=hours[1])
    age = (await figures(transaction)).get("loan_engine_operation_stalled_oldest_seconds", kind="BORROW")
    assert age is not None
    assert 3 * 3600 <= age < 3 * 3600 + 60


@pytest.mark.parametrize(
    ("given_out", "used", "held", "missing"),
    [(10, 10, [], 0), (10, 8, [8, 9], 0), (10, 8, [9], 1), (10, 12, [], 2)],
)
async def test_nonces_that_nobody_holds_are_told(
    transaction: Transaction, given_out: int, used: int, held: Sequence[int], missing: int
) -> None:
    """Each nonce between the chain's next one and the lane's is some leg's, or it is missing; so is one used by others."""
    async with transaction() as session:
        await rows.known_signer(session)
        await session.execute(update(ChainSigner).values(next_nonce=given_out))
        operation = await rows.new_operation(session)
        for generation, nonce in enumerate(held, start=1):
            leg = f"residue-{generation}"
            await rows.new_leg(session, operation, leg, TransactionState.BROADCAST, nonce=nonce)
    found = await figures(transaction, nonce=used)
    assert found.get("loan_engine_nonces_missing", signer=WALLET) == missing
    assert found.get("loan_engine_nonces_in_flight", signer=WALLET) == given_out - used


async def test_each_leg_is_told_once(transaction: Transaction) -> None:
    """Whether it was seen alive before it ended or came and went between two looks; not what ended before the first."""
    registry = CollectorRegistry()
    ended = EndedLegs(registry)
    async with transaction() as session:
        await rows.known_signer(session)
        operation = await rows.new_operation(session)
        await final_leg(session, operation, "borrow")
        alive = await rows.new_leg(session, operation, "settle", TransactionState.QUEUED)
    await look(ended, transaction)
    async with transaction() as session:
        await final_leg(session, operation, "residue-1")
        evidence = {"result_tx_hash": rows.unique_hash(), "result_block": 1, "logs": [], "nonce": 7}
        done = {"state": TransactionState.FINAL_REVERTED, "final_at": datetime.now(UTC), **evidence}
        await session.execute(update(ChainTransaction).where(ChainTransaction.id == alive.id).values(**done))
    for _ in range(3):
        await look(ended, transaction)
    found = told(registry)
    assert found.get("loan_engine_leg_seconds_count", leg="residue", outcome="FINAL_OK") == 1
    assert found.get("loan_engine_leg_seconds_count", leg="settle", outcome="FINAL_REVERTED") == 1
    assert found.get("loan_engine_leg_seconds_count", leg="borrow", outcome="FINAL_OK") is None


async def final_leg(session: AsyncSession, operation: Operation, leg: str) -> None:
    await rows.new_leg(session, operation, leg, TransactionState.FINAL_OK, final_at=datetime.now(UTC))


async def look(looking: EndedLegs | WebhookTries, transaction: Transaction) -> None:
    async with transaction() as session:
        await looking.look(session)


async def test_each_try_of_a_webhook_is_told_once(transaction: Transaction) -> None:
    """By the class of its answer, or as one without; what waits for its turn is told with its age."""
    registry = CollectorRegistry()
    tries = WebhookTries(registry)
    async with transaction() as session:
        partner = await rows.new_partner(session)
        operation = await rows.new_operation(session, partner)
        happened = await rows.new_event(session, operation, "loan.borrowed")
        endpoint = await rows.new_endpoint(session, partner)
        hour_ago = datetime.now(UTC) - timedelta(hours=1)
        session.add(WebhookDelivery(event_id=happened.id, endpoint_id=endpoint.id, created_at=hour_ago))
    await look(tries, transaction)
    told_of = {"event_id": happened.id, "endpoint_id": endpoint.id, "round": 1, "latency_ms": 1}
    for number, status in enumerate((200, 503, None), start=1):
        async with transaction() as session:
            error = "timeout" if status is None else None
            session.add(WebhookAttempt(id=new_id("wat"), number=number, status=status, error=error, **told_of))
        await look(tries, transaction)
    found = told(registry)
    for outcome, count in {"2xx": 1, "5xx": 1, "none": 1, "4xx": 0}.items():
        assert found.get("loan_engine_webhook_tries_total", outcome=outcome) == count
    async with transaction() as session:
        unseen = await rows.new_event(session, operation, "loan.delayed")
        unseen.created_at = hour_ago
        happened = await session.get_one(Event, happened.id)
        happened.fanned_out_at = hour_ago
    rows_told = await figures(transaction)
    assert rows_told.one("loan_engine_events_waiting") == 1
    assert 3600 <= rows_told.one("loan_engine_event_oldest_seconds") < 3700
    assert rows_told.get("loan_engine_webhook_deliveries", state="PENDING") == 1
    assert 3600 <= (rows_told.get("loan_engine_webhook_oldest_seconds", state="PENDING") or 0) < 3700


async def test_no_query_walks_a_table_that_grows(database: AsyncEngine, transaction: Transaction) -> None:
    """But for the count of loans that are over, which is made every twentieth time."""
    asked: list[tuple[str, Any]] = []

    def heard(*told: Any) -> None:
        _, _, statement, values, *_ = told
        asked.append((statement, values))

    ended, tries, loans = EndedLegs(CollectorRegistry()), WebhookTries(CollectorRegistry()), LoanCounts()
    async with transaction() as session:
        await loans.read(session)
    await look(ended, transaction)
    await look(tries, transaction)
    event.listen(database.sync_engine, "before_cursor_execute", heard)
    await look(ended, transaction)
    await look(tries, transaction)
    async with transaction() as session:
        for source in (*SOURCES, loans.read):
            await source(session)
        await read_signers(session, WALLET, market(0))
    event.remove(database.sync_engine, "before_cursor_execute", heard)
    assert len(asked) > len(SOURCES)
    async with database.connect() as connection:
        await connection.execute(text("SET enable_seqscan = off"))
        for statement, values in asked:
            plan = (await connection.exec_driver_sql(f"EXPLAIN {statement}", values)).scalars().all()
            walked = {table for table in GROWING for line in plan if f"Seq Scan on {table}" in line}
            assert not walked, "\n".join(plan)


async def test_one_worker_tells_the_rows(database_url: str, anvil: Anvil, temporal_server: Temporal) -> None:
    """The others stand by, and one of them goes on when the first has stopped."""
    first_registry, second_registry = CollectorRegistry(), CollectorRegistry()
    async with (
        ChainClient(anvil.url) as node,
        collector(database_url, node, temporal_server, second_registry) as second,
    ):
        async with collector(database_url, node, temporal_server, first_registry) as first:
            await first.look()
            await second.look()
            assert told(first_registry).one("loan_engine_state_collector") == 1
            assert told(second_registry).one("loan_engine_state_collector") == 0
            assert "loan_engine_legs" not in told(second_registry).names
        await second.look()
        assert told(second_registry).one("loan_engine_state_collector") == 1
        assert "loan_engine_legs" in told(second_registry).names


async def test_figures_that_grow_old_are_told_no_more() -> None:
    """Where nothing looks any longer, what was seen last is not told as if it were so still."""
    registry = CollectorRegistry()
    LatestSamples(registry, stale_after=-1).put([Sample(LEGS, 1, ("HELD",))])
    assert told(registry).names == set()


@asynccontextmanager
async def collector(
    url: str, node: ChainClient, temporal: Temporal, registry: CollectorRegistry
) -> AsyncIterator[StateCollector]:
    """One that looks when it is told to."""
    database = open_database(url, pool_size=1)
    client = await Client.connect(temporal.address)
    watched = Watched(
        database=database,
        temporal=client,
        node=node,
        wallet=checksum(WALLET),
        gas_reserve=Wei(1),
        fee_cap=Wei(1),
        every=timedelta(hours=1),
    )
    made = StateCollector(watched, registry)
    try:
        yield made
    finally:
        await made.close()
        await database.dispose()
