"""Administrators' figures: each is what the rows themselves say, at every moment, and nothing waits for a figure."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio
from alembic import command
from alembic.config import Config
from anyio.from_thread import BlockingPortal
from pydantic import SecretStr
from sqlalchemy import func, select, text, update

from activities.rollups import roll_up
from api.administration import create_administrator, issue_admin_key
from models.histogram import slot_of, upper_end
from models.statuses import LoanStatus, PartnerTier
from models.tables.analytics import FlowChange, LatencyChange, RefusalChange
from models.tables.loans import Loan
from models.tables.partners import PartnerDay
from models.tables.session import Transaction, open_database, transactions
from sandbox.services import Postgres
from settings import Settings
from tests import factories as make
from tests.api import figures
from tests.api.desk import new_partner, served
from tests.api.figures import Rows, read_rows, starts
from tests.api.population import DAYS, Population, populate, weeks_later
from tests.api.test_requests import problem
from tests.database import ALEMBIC_INI

SEEDS = (1, 2)
CHANGES = (FlowChange, RefusalChange, LatencyChange)
NOWHERE = "0x" + "11" * 20


@dataclass(frozen=True)
class Office:
    """An administrator at the API, which needs neither a chain nor workflows for this."""

    http: httpx.AsyncClient
    transaction: Transaction
    key: str

    async def ask(self, figure: str, **asked: object) -> Any:
        answer = await self.get(figure, **asked)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def get(self, figure: str, **asked: object) -> httpx.Response:
        parameters = {name.removesuffix("_"): str(value) for name, value in asked.items()}
        headers = {"Authorization": f"Bearer {self.key}"}
        return await self.http.get(f"/v1/admin/analytics/{figure}", params=parameters, headers=headers)

    async def roll_up(self, most: int = 10_000) -> bool:
        async with self.transaction() as session:
            return await roll_up(session, most)

    async def waiting(self) -> int:
        async with self.transaction() as session:
            return sum([await session.scalar(select(func.count()).select_from(table)) or 0 for table in CHANGES])


@pytest_asyncio.fixture
async def office(database_url: str, transaction: Transaction) -> AsyncIterator[Office]:
    async with served(_settings(database_url)) as http:
        yield Office(http, transaction, await _new_administrator(transaction))


def _settings(database_url: str) -> Settings:
    return Settings(
        database_url=SecretStr(database_url),
        temporal_address="127.0.0.1:1",
        rpc_url=SecretStr("http://127.0.0.1:1"),
        chain_id=1,
        usdc_address=NOWHERE,
        oaid_address=NOWHERE,
        vault_address=NOWHERE,
        pool_address=NOWHERE,
        platform_wallet=NOWHERE,
        confirmations=1,
        key_mode="sandbox",
    )


async def _new_administrator(transaction: Transaction) -> str:
    async with transaction() as session:
        administrator = await create_administrator(session, "Ada")
        return (await issue_admin_key(session, administrator.id, mode="sandbox")).key


def _span(bucket: str) -> tuple[date, date]:
    """Of days, less than all that there are: what was before must count, too."""
    today = datetime.now(UTC).date()
    return today - timedelta(days=60 if bucket == "day" else DAYS), today


async def _check_all(office: Office, made: Population) -> None:
    async with office.transaction() as session:
        rows = await read_rows(session, made)
    for bucket in ("day", "week", "month"):
        await _check_volume(office, rows, bucket)
        await _check_latency(office, rows, bucket)
        await _check_refusals(office, rows, bucket)
    await _check_what_is_owed_now(office, rows)


async def _check_volume(office: Office, rows: Rows, bucket: str) -> None:
    first, last = _span(bucket)
    spans = starts(bucket, first, last)

    async def series(**asked: object) -> Any:
        return (await office.ask("volume", bucket=bucket, from_=first, to=last, **asked))["series"]

    assert [each["points"] for each in await series()] == [figures.volume(rows, bucket, spans, lambda _: True)]
    for each in await series(group_by="partner"):
        assert each["tier"] == rows.partners[each["partner_id"]].tier
        assert each["points"] == figures.volume(rows, bucket, spans, lambda one: one.id == each["partner_id"])  # noqa: B023
    for each in await series(group_by="tier"):
        assert each["points"] == figures.volume(rows, bucket, spans, lambda one: one.tier == each["tier"])  # noqa: B023
    (basic,) = await series(tier="BASIC")
    assert basic["points"] == figures.volume(rows, bucket, spans, lambda one: one.tier is PartnerTier.BASIC)
    (one,) = await series(partner_id="partner-1")
    assert one["points"] == figures.volume(rows, bucket, spans, lambda partner: partner.id == "partner-1")


async def _check_latency(office: Office, rows: Rows, bucket: str) -> None:
    first, last = _span(bucket)
    first = max(first, last - timedelta(days=30)) if bucket == "day" else first
    answer = await office.ask("latency", bucket=bucket, from_=first, to=last)
    for series in answer["series"]:
        assert [point["start"] for point in series["points"]] == [
            each.isoformat() for each in starts(bucket, first, last)
        ]
        for point in series["points"]:
            for latency in ("decision", "completion"):
                start = date.fromisoformat(point["start"])
                _check_percentiles(point[latency], figures.latencies(rows, bucket, series["kind"], latency, start))


def _check_percentiles(told: dict[str, int | None], exact: list[int]) -> None:
    assert told["count"] == len(exact)
    for percent in (50, 90, 99):
        value = told[f"p{percent}_us"]
        if not exact:
            assert value is None
            continue
        true = exact[-(-len(exact) * percent // 100) - 1]
        assert value is not None
        assert true <= value <= true + true // 16, (percent, true, value)


async def _check_refusals(office: Office, rows: Rows, bucket: str) -> None:
    first, last = _span(bucket)
    answer = await office.ask("refusals", bucket=bucket, from_=first, to=last, limit=100)
    span = (date.fromisoformat(answer["from"]), date.fromisoformat(answer["to"]))
    told = answer["refusals"]
    assert {(each["code"], each["kind"]): each["count"] for each in told} == figures.refusals(
        rows, *span, lambda each: ((each.refusal or {})["code"], each.kind)
    )
    assert [each["count"] for each in told] == sorted((each["count"] for each in told), reverse=True)
    answer = await office.ask("refusals", bucket=bucket, from_=first, to=last, limit=100, group_by="partner")
    told = {(each["code"], each["partner_id"]): each["count"] for each in answer["refusals"]}
    assert told == figures.refusals(rows, *span, lambda each: ((each.refusal or {})["code"], each.partner_id))


async def _check_what_is_owed_now(office: Office, rows: Rows) -> None:
    (series,) = (await office.ask("volume", bucket="month"))["series"]
    assert series["points"][-1]["outstanding"] == str(sum(loan.outstanding for loan in rows.loans))


@pytest.mark.parametrize("seed", SEEDS)
async def test_each_figure_is_what_the_rows_say_before_during_and_after_a_roll_up(office: Office, seed: int) -> None:
    """Also when half of the changes have joined the sums, and when loans end weeks after they were counted."""
    async with office.transaction() as session:
        made = await populate(session, seed)
    await _check_all(office, made)
    assert await office.roll_up(most=20)
    await _check_all(office, made)
    while await office.roll_up():
        pass
    assert await office.waiting() == 0
    await _check_all(office, made)
    async with office.transaction() as session:
        await weeks_later(session, made)
    await _check_all(office, made)
    await office.roll_up()
    assert await office.waiting() == 0
    await _check_all(office, made)


async def test_what_was_there_before_the_tables_of_figures_counts(
    postgres: Postgres, services_portal: BlockingPortal
) -> None:
    """The migration counts the rows that it finds; of a debt that was paid back only partly it knows the repayments' days."""
    url = services_portal.call(postgres.create_database, "before_analytics")
    config = Config(ALEMBIC_INI)
    config.set_main_option("sqlalchemy.url", url)
    command.upgrade(config, "0002")
    engine = open_database(url)
    transaction = transactions(engine)
    # The rows are made by today's tables, which know a column that came later.
    async with transaction() as session:
        await session.execute(text("ALTER TABLE loans ADD COLUMN service_at timestamptz"))
    async with transaction() as session:
        made = await populate(session, seed=3)
    async with transaction() as session:
        await session.execute(text("ALTER TABLE loans DROP COLUMN service_at"))
    command.upgrade(config, "head")
    async with served(_settings(url)) as http:
        office = Office(http, transaction, await _new_administrator(transaction))
        async with transaction() as session:
            rows = await read_rows(session, made)
        assert await office.waiting() == 0
        await _check_what_is_owed_now(office, rows)
        await _check_latency(office, rows, "week")
        await _check_refusals(office, rows, "week")
        first, last = _span("week")
        (series,) = (await office.ask("volume", bucket="week", from_=first, to=last))["series"]
        expected = figures.volume(rows, "week", starts("week", first, last), lambda _: True)
        for told, point in zip(series["points"], expected, strict=True):
            assert told | {"outstanding": ""} == point | {"outstanding": ""}
    await engine.dispose()


async def test_a_roll_up_waits_for_no_movement_of_money_and_none_waits_for_it(office: Office) -> None:
    """While either has not committed the other ends, and what came meanwhile is counted by both."""
    async with office.transaction() as session:
        first, second = [await make.new_loan(session, status=LoanStatus.SETTLING) for _ in range(2)]

    async def draw(session: Any, loan: Loan) -> None:
        await session.execute(text("SET LOCAL lock_timeout = '1s'"))
        await session.execute(update(Loan).where(Loan.id == loan.id).values(outstanding=make.PRINCIPAL))

    async def owed() -> int:
        (series,) = (await office.ask("volume"))["series"]
        return int(series["points"][-1]["outstanding"])

    async with office.transaction() as moving:
        await draw(moving, first)
        await office.roll_up()
        assert await owed() == 0
    assert await owed() == make.PRINCIPAL
    async with office.transaction() as rolling:
        await roll_up(rolling)
        assert await owed() == make.PRINCIPAL
        async with office.transaction() as moving:
            await draw(moving, second)
        assert await owed() == 2 * make.PRINCIPAL
        assert not await office.roll_up(most=1), "a second turn beside the first moved something"
    assert await owed() == 2 * make.PRINCIPAL
    assert await office.waiting() == 1


async def test_slots_are_the_same_in_the_database_and_exact_to_a_sixteenth(transaction: Transaction) -> None:
    """From below zero to centuries."""
    lengths = [-(10**6), *range(70), *(2**power + step for power in range(6, 53) for step in (-1, 0, 1))]
    async with transaction() as session:
        for length in lengths:
            took = timedelta(microseconds=length)
            assert await session.scalar(select(func.analytics_slot(took))) == slot_of(length), length
            exact = max(0, length)
            assert exact <= upper_end(slot_of(length)) <= exact + exact // 16


async def test_utilisation_is_what_the_next_borrow_is_decided_by(office: Office) -> None:
    """Daily use is of today alone, a limit that was lowered is used by more than all of it, and no limit has no share."""
    today = datetime.now(UTC).date()
    limits = {"daily_borrow_limit": 1_000, "total_borrow_limit": 3_000}
    async with office.transaction() as session:
        busy = await make.new_partner(session, id="busy", outstanding=2_000, reserved=500, **limits)
        lowered = await make.new_partner(session, id="lowered", outstanding=10, **limits | {"total_borrow_limit": 3})
        await make.new_partner(session, id="stopped", daily_borrow_limit=0, total_borrow_limit=0)
        await make.new_day(session, busy, day=today, borrowed=333, reserved=1)
        await make.new_day(session, lowered, day=today - timedelta(days=1), borrowed=999)
    told = await office.ask("utilisation")
    assert (told["day"], told["next_cursor"]) == (today.isoformat(), None)
    uses = {each["partner_id"]: (each["daily"], each["total"]) for each in told["partners"]}
    assert uses["busy"] == (
        {"limit": "1000", "used": "334", "reserved": "1", "remaining": "666", "used_bps": 3340},
        {"limit": "3000", "used": "2500", "reserved": "500", "remaining": "500", "used_bps": 8333},
    )
    assert uses["lowered"] == (
        {"limit": "1000", "used": "0", "reserved": "0", "remaining": "1000", "used_bps": 0},
        {"limit": "3", "used": "10", "reserved": "0", "remaining": "0", "used_bps": 33333},
    )
    assert [each["used_bps"] for each in uses["stopped"]] == [None, None]
    async with office.transaction() as session:
        assert await session.scalar(select(func.count()).select_from(PartnerDay)) == 2


@pytest.mark.parametrize("figure", ["volume", "utilisation"])
async def test_partners_come_in_pages(office: Office, figure: str) -> None:
    """Each partner is on one page, in the order of their ids, and the last page has no cursor."""
    async with office.transaction() as session:
        for name in ("ant", "bee", "cow"):
            await make.new_partner(session, id=name)
    asked = {"limit": 2} if figure == "utilisation" else {"limit": 2, "group_by": "partner"}
    listed = "partners" if figure == "utilisation" else "series"
    page = await office.ask(figure, **asked)
    assert ([each["partner_id"] for each in page[listed]], page["next_cursor"]) == (["ant", "bee"], "bee")
    page = await office.ask(figure, **asked, cursor="bee")
    assert ([each["partner_id"] for each in page[listed]], page["next_cursor"]) == (["cow"], None)


@pytest.mark.parametrize(
    "asked",
    [
        {"from_": "2026-02-02", "to": "2026-02-01"},
        {"from_": "2025-01-01", "to": "2026-01-01"},
        {"from_": "2026-02-30"},
        {"from_": "20260201"},
        {"to": "1700000000"},
        {"bucket": "year"},
        {"buckets": "day"},
    ],
    ids=str,
)
@pytest.mark.parametrize("figure", ["volume", "latency", "refusals"])
async def test_a_span_that_cannot_be_answered_is_refused(office: Office, figure: str, asked: dict[str, str]) -> None:
    """The problem names the one parameter that is at fault."""
    told = problem(await office.get(figure, **asked), 422, "invalid_request")
    (fault,) = told["errors"]
    assert fault["parameter"] in {name.removesuffix("_") for name in asked}


@pytest.mark.parametrize("figure", ["volume", "utilisation", "refusals"])
async def test_a_partner_that_is_not_there_has_no_figures(office: Office, figure: str) -> None:
    """Rather than figures of nothing."""
    problem(await office.get(figure, partner_id="nobody"), 404, "partner_not_found")


async def test_whole_buckets_are_answered(office: Office) -> None:
    """A span that begins or ends within a bucket has all of it, and says so."""
    told = await office.ask("volume", bucket="week", from_="2026-01-01", to="2026-01-07")
    assert (told["from"], told["to"]) == ("2025-12-29", "2026-01-11")
    assert [point["start"] for point in told["series"][0]["points"]] == ["2025-12-29", "2026-01-05"]
    told = await office.ask("latency", bucket="month", from_="2025-11-30", to="2026-02-01")
    assert (told["from"], told["to"]) == ("2025-11-01", "2026-02-28")


@pytest.mark.parametrize("figure", ["volume", "utilisation", "latency", "refusals"])
async def test_figures_are_for_administrators(office: Office, figure: str) -> None:
    """Neither nobody nor a partner sees them."""
    problem(await office.http.get(f"/v1/admin/analytics/{figure}"), 401, "api_key_missing")
    partner = await new_partner(office.transaction, "acme")
    headers = {"Authorization": f"Bearer {partner.key}"}
    problem(await office.http.get(f"/v1/admin/analytics/{figure}", headers=headers), 401, "api_key_unknown")
