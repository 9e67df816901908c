"""Every figure of docs/analytics.md computed anew from the rows themselves, one by one and in Python."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from models.statuses import LoanStatus, RepaymentState
from models.tables.loans import Loan, Repayment
from models.tables.operations import Operation
from models.tables.partners import Partner
from tests.api.population import Population

AMOUNTS = ("borrowed", "fees", "repaid_principal", "repaid_interest", "failed_principal", "reversed_principal")
COUNTS = (
    "loans",
    "repayments",
    "loans_failed",
    "loans_reversed",
    "repayments_failed",
    "repayments_rejected",
    "repayments_refunded",
)


@dataclass
class Rows:
    """All rows as they are now, and what became owed when."""

    partners: dict[str, Partner]
    loans: list[Loan]
    repayments: list[Repayment]
    operations: list[Operation]
    owed: list[tuple[str, date, int]]


async def read_rows(session: AsyncSession, made: Population) -> Rows:
    async def all_of(table: Any) -> list[Any]:
        return list(await session.scalars(select(table)))

    partners = {each.id: each for each in await all_of(Partner)}
    return Rows(partners, await all_of(Loan), await all_of(Repayment), await all_of(Operation), list(made.owed))


def bucket_start(bucket: str, day: date) -> date:
    if bucket == "month":
        return date(day.year, day.month, 1)
    return day if bucket == "day" else date.fromisocalendar(*day.isocalendar()[:2], 1)


def starts(bucket: str, first: date, last: date) -> list[date]:
    days = (first + timedelta(days=number) for number in range((last - first).days + 1))
    return sorted({bucket_start(bucket, day) for day in days})


def volume(rows: Rows, bucket: str, spans: list[date], whose: Callable[[Partner], bool]) -> list[dict[str, Any]]:
    """A point for each start of ``spans``, of the partners that ``whose`` is true of."""
    sums: dict[date, Counter[str]] = {start: Counter() for start in spans}
    mine = {name for name, partner in rows.partners.items() if whose(partner)}
    for moment, figures in _flows(rows, mine):
        start = bucket_start(bucket, moment.astimezone(UTC).date())
        if start in sums:
            sums[start].update(figures)
    return [_point(start, sums[start], _owed(rows, mine, bucket, start)) for start in spans]


def latencies(rows: Rows, bucket: str, kind: str, latency: str, start: date) -> list[int]:
    """Microseconds, in ascending order."""
    found = []
    for operation in rows.operations:
        end = operation.decided_at if latency == "decision" else operation.done_at
        counts = operation.kind == kind and (latency == "decision" or operation.decision == "ACCEPTED")
        if counts and end is not None and bucket_start(bucket, end.astimezone(UTC).date()) == start:
            found.append(max(0, (end - operation.received_at) // timedelta(microseconds=1)))
    return sorted(found)


def refusals(rows: Rows, first: date, last: date, key: Callable[[Operation], Any]) -> Counter[Any]:
    refused = [each for each in rows.operations if each.decision == "REFUSED" and each.decided_at is not None]
    return Counter(
        key(each) for each in refused if each.decided_at and first <= each.decided_at.astimezone(UTC).date() <= last
    )


def _flows(rows: Rows, mine: set[str]) -> Iterable[tuple[datetime, dict[str, int]]]:
    for loan in (each for each in rows.loans if each.partner_id in mine):
        if loan.activated_at is not None:
            yield loan.activated_at, {"borrowed": loan.principal, "fees": loan.fee, "loans": 1}
        if loan.closed_at is not None and loan.status in (LoanStatus.FAILED, LoanStatus.REVERSED):
            name = loan.status.lower()
            yield loan.closed_at, {f"loans_{name}": 1, f"{name}_principal": loan.principal}
    for each in (each for each in rows.repayments if each.partner_id in mine and each.closed_at is not None):
        assert each.closed_at is not None
        if each.state is RepaymentState.APPLIED:
            yield (
                each.closed_at,
                {"repaid_principal": each.principal, "repaid_interest": each.interest, "repayments": 1},
            )
        else:
            yield each.closed_at, {f"repayments_{each.state.lower()}": 1}


def _owed(rows: Rows, mine: set[str], bucket: str, start: date) -> int:
    return sum(amount for partner, day, amount in rows.owed if partner in mine and bucket_start(bucket, day) <= start)


def _point(start: date, sums: Counter[str], outstanding: int) -> dict[str, Any]:
    amounts = {name: str(sums[name]) for name in AMOUNTS} | {"outstanding": str(outstanding)}
    return {"start": start.isoformat()} | amounts | {name: sums[name] for name in COUNTS}
