"""The real processes, scraped: after a borrow and a repayment the figures are right, and what is away is absent."""

from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import dataclass
from decimal import Decimal

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import select

from metrics.catalogue import CATALOGUE
from models.statuses import IncidentKind
from models.tables.loans import Repayment
from sandbox.engine import API
from sandbox.services import (
    Anvil,
    AnvilOptions,
    Postgres,
    PostgresOptions,
    Stack,
    StackOptions,
    Temporal,
    TemporalOptions,
    ValkeyOptions,
)
from sandbox.services.ports import leased_port
from tests.chain.world import USD
from tests.engine import until
from tests.faults.processes import Running, Site, open_running, start_and_fund
from tests.metrics.scraping import Scrape, scrape

LOANS, LANE = "loans", "lane"
PRINCIPAL, FEE, PART = 5_000 * USD, 25 * USD, 1_000 * USD
KEPT = StackOptions(
    PostgresOptions(durable=False), TemporalOptions(persistent=True), ValkeyOptions(), AnvilOptions(persistent=True)
)
BACK_SECONDS = 60
REFUSAL = "grant_required"


@dataclass(frozen=True)
class Told:
    """The engine, and where each of its processes tells of itself and of the SDK."""

    running: Running
    stack: Stack
    ports: dict[str, int]
    sdk_ports: dict[str, int]

    async def figures(self) -> Scrape:
        return await scrape(self.ports[LOANS])


@pytest_asyncio.fixture(scope="module")
async def told(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Told]:
    """A stack of this module's own, whose parts are taken away; with a loan that is repaid in part, and one refusal."""
    with ExitStack() as leases:
        names = (API, LOANS, LANE)
        ports = {name: leases.enter_context(leased_port(None)) for name in names}
        sdk_ports = {name: leases.enter_context(leased_port(None)) for name in names}

        def own(name: str) -> dict[str, str]:
            if name not in ports:
                return {}
            return {"METRICS_PORT": str(ports[name]), "TEMPORAL_METRICS_PORT": str(sdk_ports[name])}

        async with Stack.start(tmp_path_factory.mktemp("stack"), KEPT) as stack:
            url = await stack.postgres.create_database("metrics")
            site = Site(tmp_path_factory.mktemp("metrics"), url, stack.temporal, stack.anvil, own=own)
            async with open_running(site, METRICS_EVERY="PT1S") as running:
                await running.processes.start(LANE, role="lane")
                await running.processes.start(LOANS, role="loans")
                await start_and_fund(running, API)
                told = Told(running, stack, ports, sdk_ports)
                await until(lambda: _collects(told), BACK_SECONDS)
                await _borrow_and_repay(running)
                await until(lambda: all_is_told(told))
                yield told


async def _collects(told: Told) -> bool:
    return (await told.figures()).get("loan_engine_state_collector") == 1


async def _borrow_and_repay(running: Running) -> None:
    engine = running.engine
    borrower = await engine.new_borrower()
    answer = await engine.borrow(borrower, PRINCIPAL)
    await running.finishes(answer.json()["operation_id"])
    repaid = await engine.repay(borrower, {"amount": str(PART)})
    await running.finishes(repaid.json()["operation_id"])
    other = await engine.new_borrower(grant=False)
    refused = await engine.borrow(other, PRINCIPAL)
    assert refused.json()["code"] == REFUSAL


async def all_is_told(told: Told) -> bool:
    """The last leg and the refusal, which is the last thing that happened, are in one snapshot."""
    figures = await told.figures()
    repaid = figures.get("loan_engine_leg_seconds_count", leg="repay", outcome="FINAL_OK")
    refused = figures.get("loan_engine_decisions_total", kind="BORROW", outcome=REFUSAL)
    return repaid == refused == Decimal(1)


async def test_money_is_told_to_the_unit(told: Told) -> None:
    """What was borrowed, repaid and is owed, by partner in base units, and what of its limits is used."""
    figures, partner = await told.figures(), told.running.engine.partner.id
    async with told.running.engine.transaction() as session:
        interest = (await session.scalars(select(Repayment.interest))).one()
    principal = PART - interest
    assert figures.get("loan_engine_usdc_borrowed_base_units_total", partner=partner) == PRINCIPAL
    assert figures.get("loan_engine_usdc_fees_base_units_total", partner=partner) == FEE
    assert figures.get("loan_engine_usdc_repaid_base_units_total", partner=partner, part="principal") == principal
    assert figures.get("loan_engine_usdc_repaid_base_units_total", partner=partner, part="interest") == interest
    assert figures.get("loan_engine_usdc_outstanding_base_units", partner=partner) == PRINCIPAL - principal
    assert figures.get("loan_engine_limit_used_base_units", partner=partner, limit="total") == PRINCIPAL - principal
    assert figures.get("loan_engine_limit_used_base_units", partner=partner, limit="daily") == PRINCIPAL
    assert figures.get("loan_engine_loans", status="ACTIVE") == 1


async def test_decisions_and_legs_are_told(told: Told) -> None:
    """Decisions by outcome, how long they took, and each leg with its attempts and its duration."""
    figures = await told.figures()
    assert figures.get("loan_engine_decisions_total", kind="BORROW", outcome="accepted") == 1
    assert figures.get("loan_engine_decisions_total", kind="BORROW", outcome=REFUSAL) == 1
    assert figures.get("loan_engine_decisions_total", kind="REPAY", outcome="accepted") == 1
    assert figures.get("loan_engine_decision_seconds_count", kind="BORROW") == 2
    assert figures.get("loan_engine_completion_seconds_count", kind="REPAY") == 1
    for leg in ("borrow", "settle", "collect", "repay"):
        assert figures.get("loan_engine_leg_seconds_count", leg=leg, outcome="FINAL_OK") == 1
        assert figures.get("loan_engine_leg_attempts_sum", leg=leg) == 1
    assert figures.get("loan_engine_legs", state="HELD") == 0


async def test_neighbours_signer_and_incidents_are_told(told: Told) -> None:
    """All is well: everything answers, the lane beats, no nonce is missing and nothing waits for a person."""
    figures, lane = await told.figures(), await scrape(told.ports[LANE])
    for part in ("postgresql", "temporal", "node"):
        assert figures.get(f"loan_engine_{part}_up") == 1
    assert lane.get("loan_engine_lane_elected") == 1
    assert figures.one("loan_engine_lane_beat_age_seconds") < BACK_SECONDS
    assert figures.one("loan_engine_nonces_missing") == 0
    assert figures.one("loan_engine_signer_paused") == 0
    assert figures.one("loan_engine_gas_balance_wei") > figures.one("loan_engine_gas_reserve_wei")
    assert figures.get("loan_engine_audit_breaches") == 0
    for kind in IncidentKind:
        assert figures.get("loan_engine_incidents_open", kind=kind) == 0


async def test_requests_are_counted_by_template(told: Told) -> None:
    """A route has one name whatever its path holds, and what is no route has one name for all."""
    engine = told.running.engine
    for path in ("/no-route-1", "/no-route-2"):
        await engine.api.get(path)
    assert (await engine.api.get("/metrics")).status_code == httpx.codes.NOT_FOUND
    figures = await scrape(told.ports[API])
    counted = "loan_engine_http_requests_total"
    assert figures.get(counted, route="/v1/loans", method="POST", status="2xx") == 1
    assert figures.get(counted, route="/v1/loans", method="POST", status="4xx") == 1
    assert figures.get(counted, route="/v1/loans/{partner_loan_id}/repayments", method="POST", status="2xx") == 1
    assert figures.get(counted, route="other", method="GET", status="4xx") == 3
    assert figures.get("loan_engine_http_request_seconds_count", route="/v1/loans", method="POST") == 2
    assert figures.get("loan_engine_rate_limits_local") == 0


async def test_the_catalogue_is_what_is_told(told: Told) -> None:
    """Each metric of the catalogue is told by some process, and no process tells another one of ours."""
    scrapes = [await scrape(port) for port in told.ports.values()]
    ours = {name for each in scrapes for name in each.names if name.startswith("loan_engine_")}
    catalogued = {name for family in CATALOGUE for name in family.samples}
    created = {name for name in ours if name.endswith("_created")}
    assert ours - created == catalogued


async def test_the_sdk_tells_of_itself(told: Told) -> None:
    """On a port of its own, with units in its names: what waits for a worker, and what failed."""
    worker, api = [await scrape(told.sdk_ports[name]) for name in (LOANS, API)]
    assert "temporal_workflow_task_schedule_to_start_latency_seconds_bucket" in worker.names
    assert "temporal_request_total" in api.names


async def test_what_is_away_is_absent(told: Told) -> None:
    """A scrape answers at once whatever is away: its word is 0, its figures are absent, and both come back with it."""
    stack = told.stack
    parts: dict[str, Anvil | Temporal | Postgres]
    parts = {"node": stack.anvil, "temporal": stack.temporal, "postgresql": stack.postgres}
    lost = {"node": "loan_engine_gas_balance_wei", "postgresql": "loan_engine_usdc_outstanding_base_units"}
    for part, server in parts.items():
        name = f"loan_engine_{part}_up"

        async def says(value: int, name: str = name) -> bool:
            return (await told.figures()).get(name) == value

        await server.process.kill()
        await until(lambda says=says: says(0), BACK_SECONDS)  # type: ignore[misc]  # a lambda's default has no type
        if part in lost:
            assert lost[part] not in (await told.figures()).names
        await server.process.start()
        await until(lambda says=says: says(1), BACK_SECONDS)  # type: ignore[misc]  # as above
    await until(lambda: _collects(told), BACK_SECONDS)
