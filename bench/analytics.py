"""Bench 7: how long each of the administrators' figures takes at a million loans, with and without changes that wait."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from activities.rollups import roll_up
from api.analytics.asked import LatencyAsked, RefusalsAsked, UtilisationAsked, VolumeAsked, span_of
from api.analytics.latency import latency
from api.analytics.refusals import refusals
from api.analytics.utilisation import utilisation
from api.analytics.volume import volume
from bench.grown import Grown
from bench.measures import MILLISECOND, Stopwatch, milliseconds, percentile
from bench.report import Figure, Report
from models.tables.analytics import FlowChange, FlowSum, LatencyChange, LatencySum, RefusalChange, RefusalSum
from models.tables.session import Transaction, open_database, transactions

AIM = 100 * MILLISECOND
WAITING = 10_000
_TABLES = (FlowSum, RefusalSum, LatencySum)
_WAITING = (FlowChange, RefusalChange, LatencyChange)

Ask = Callable[[AsyncSession], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Asked:
    what: str
    ask: Ask


async def analytics(grown: Grown, rounds: int, report: Report) -> None:
    report.heading(f"7. Administrators' figures at {grown.loans:,} loans: {rounds} times each")
    report.note(
        "One transaction each, from its begin to its commit, with the answer made of its rows; two years of loans of 200\n"
        "partners."
    )
    database = open_database(grown.config.database_url, pool_size=2, application_name="bench")
    transaction = transactions(database)
    try:
        report.note(
            f"rows made in {milliseconds(grown.seeded)}; counted by the migration in {milliseconds(grown.counted)}; "
            f"{await _sizes(transaction, _TABLES)}"
        )
        await _measure(transaction, rounds, "with all in the sums", report)
        await _let_wait(transaction)
        await _measure(transaction, rounds, f"with {await _sizes(transaction, _WAITING)}", report)
        report.note(f"rolled up in {milliseconds(await _roll_all_up(transaction))}")
        await _measure(transaction, rounds, "after that roll-up, with what it left to be cleaned", report)
    finally:
        await database.dispose()


async def _measure(transaction: Transaction, rounds: int, when: str, report: Report) -> None:
    report.note(f"\n{when}")
    report.figures([await _figure(transaction, rounds, asked) for asked in _everything(datetime.now(UTC).date())])


async def _figure(transaction: Transaction, rounds: int, asked: Asked) -> Figure:
    took = []
    for _ in range(rounds):
        watch = Stopwatch()
        async with transaction() as session:
            await asked.ask(session)
        took.append(watch.nanoseconds())
    p50, p99 = (percentile(took, percent) for percent in (50, 99))
    told = f"p50 {milliseconds(p50)}, p99 {milliseconds(p99)}"
    return Figure(asked.what, told, aim="p99 <= 100 ms", met=p99 <= AIM)


def _everything(today: date) -> Sequence[Asked]:
    """The defaults, and the most that each may be asked for."""
    asked = [
        _volume("volume, 30 days", today, {}),
        _volume("volume, 62 days", today, _days(today, 62)),
        _volume("volume, 24 months", today, {"bucket": "month"}),
        _volume("volume, 62 weeks by tier", today, {"bucket": "week", "group_by": "tier"} | _days(today, 61 * 7)),
        _volume("volume, 30 days, 20 partners", today, {"group_by": "partner"}),
        _volume("volume, 62 days, 10 partners", today, {"group_by": "partner"} | _days(today, 62)),
        _volume("volume, 62 days of one partner", today, {"partner_id": "partner-7"} | _days(today, 62)),
        _latency("latency, 30 days", today, {}),
        _latency("latency, 31 weeks", today, {"bucket": "week"} | _days(today, 30 * 7)),
        _latency("latency, 24 months", today, {"bucket": "month"}),
        _refusals("refusals, 30 days", today, {}),
        _refusals("refusals, 62 days by partner", today, {"group_by": "partner", "limit": 100} | _days(today, 62)),
    ]
    return [
        *asked,
        Asked("utilisation, 100 partners", lambda session: utilisation(session, UtilisationAsked(limit=100), today)),
    ]


def _days(today: date, number: int) -> dict[str, Any]:
    return {"from": date.fromordinal(today.toordinal() - number + 1).isoformat()}


def _volume(what: str, today: date, fields: dict[str, Any]) -> Asked:
    asked = VolumeAsked.model_validate(fields)
    return Asked(what, lambda session: volume(session, asked, span_of(asked, today)))


def _latency(what: str, today: date, fields: dict[str, Any]) -> Asked:
    asked = LatencyAsked.model_validate(fields)
    return Asked(what, lambda session: latency(session, asked, span_of(asked, today)))


def _refusals(what: str, today: date, fields: dict[str, Any]) -> Asked:
    asked = RefusalsAsked.model_validate(fields)
    return Asked(what, lambda session: refusals(session, asked, span_of(asked, today)))


async def _roll_all_up(transaction: Transaction) -> int:
    watch, more = Stopwatch(), True
    while more:
        async with transaction() as session:
            more = await roll_up(session)
    return watch.nanoseconds()


async def _let_wait(transaction: Transaction) -> None:
    """What an hour may bring, through the triggers."""
    async with transaction() as session:
        await session.execute(
            text(
                "UPDATE loans SET outstanding = outstanding - 1 WHERE id IN (SELECT id FROM loans WHERE outstanding > 0 LIMIT :many)"
            ),
            {"many": WAITING},
        )
        await session.execute(
            text(
                "UPDATE operations SET decided_at = decided_at + interval '1 second' WHERE id IN (SELECT id FROM operations LIMIT :many)"
            ),
            {"many": WAITING // 2},
        )


async def _sizes(transaction: Transaction, tables: Sequence[Any]) -> str:
    async with transaction() as session:
        numbers = [await session.scalar(select(func.count()).select_from(table)) or 0 for table in tables]
    return ", ".join(
        f"{number:,} {table.__tablename__.removeprefix('analytics_')}"
        for number, table in zip(numbers, tables, strict=True)
    ).replace("_", " ")
