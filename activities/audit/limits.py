"""Invariant 2: at each reservation, reserved + drawn + amount was at most the limit then in force, by total and by day.

What a reservation says that it saw is checked, and apart from that computed anew from the rows of all others. A
reservation is made under its partner's lock, so their times are in the order in which they were made. What gave usage
back was written by another clock: it counts a minute early, so that a clock that is a little off breaks no invariant.
"""

from datetime import timedelta
from typing import Any

from sqlalchemy import Select, SQLColumnExpression, Subquery, func, literal, or_, select, union_all
from sqlalchemy.ext.asyncio import AsyncSession

from activities.audit.findings import Finding
from models.statuses import TERMINAL_LOAN_STATUSES, LoanStatus
from models.tables.loans import Loan, OutsideMovement, Repayment, Reservation

CLOCKS_DIFFER_BY = timedelta(minutes=1)
_UNDONE = (LoanStatus.FAILED, LoanStatus.REVERSED)
"""Only what was never borrowed, or undone, gives its day back (money.md section 4)."""


async def check_limits(session: AsyncSession) -> Finding:
    finding = Finding(2, "at each reservation reserved + drawn + amount were within the limit, per partner and day")
    total = await session.scalar(select(func.count()).select_from(Reservation))
    rows = (await session.execute(_above_or_unseen())).all()
    finding.compare("reservations within both limits", total or 0, (total or 0) - len(rows))
    for row in rows:
        detail = (
            f"{row.operation_id} reserved {row.amount} with {row.total_used_before} and {row.daily_used_before} of limits "
            f"{row.total_limit} and {row.daily_limit} in use, where its partner's rows say at least "
            f"{row.total_used} and {row.daily_used}"
        )
        finding.broken(f"{row.operation_id}/limit", detail, f"reservations {row.operation_id}")
    return finding


def _above_or_unseen() -> Select[*tuple[Any, ...]]:
    total, daily = _used_before(_total_usage(), by_day=False), _used_before(_daily_usage(), by_day=True)
    seen = select(
        Reservation.operation_id,
        Reservation.amount,
        Reservation.total_limit,
        Reservation.daily_limit,
        Reservation.total_used_before,
        Reservation.daily_used_before,
        total.c.used.label("total_used"),
        daily.c.used.label("daily_used"),
    )
    return (
        seen.join(total, total.c.operation_id == Reservation.operation_id)
        .join(daily, daily.c.operation_id == Reservation.operation_id)
        .where(
            or_(
                Reservation.total_used_before + Reservation.amount > Reservation.total_limit,
                Reservation.daily_used_before + Reservation.amount > Reservation.daily_limit,
                Reservation.total_used_before < total.c.used,
                Reservation.daily_used_before < daily.c.used,
            )
        )
        .order_by(Reservation.created_at)
    )


def _used_before(usage: Subquery, *, by_day: bool) -> Subquery:
    """What was in use when each reservation was made: the sum of all changes before it."""
    group = [usage.c.partner_id, usage.c.day] if by_day else [usage.c.partner_id]
    order = (usage.c.at, usage.c.amount.desc(), usage.c.operation_id)
    running = func.sum(usage.c.amount).over(partition_by=group, order_by=order, rows=(None, -1))
    changes = select(usage.c.operation_id, usage.c.taken, func.coalesce(running, 0).label("used")).subquery()
    return select(changes.c.operation_id, changes.c.used).where(changes.c.taken).subquery()


def _total_usage() -> Subquery:
    return union_all(_taken(), *_given_back_in_parts(), _given_back_at_the_end()).subquery()


def _daily_usage() -> Subquery:
    undone = (
        select(*_columns(-Reservation.amount, _early(Loan.closed_at), taken=False))
        .join(Loan, Loan.operation_id == Reservation.operation_id)
        .where(Loan.status.in_(_UNDONE))
    )
    return union_all(_taken(), undone).subquery()


def _taken() -> Select[*tuple[Any, ...]]:
    return select(*_columns(Reservation.amount, Reservation.created_at, taken=True))


def _given_back_in_parts() -> tuple[Select[*tuple[Any, ...]], ...]:
    """By a repayment the principal that it paid; by a movement outside the engine what its row says."""
    repaid = (
        select(*_columns(-Repayment.principal, _early(Repayment.closed_at), taken=False))
        .join(Loan, Loan.operation_id == Reservation.operation_id)
        .join(Repayment, Repayment.loan_id == Loan.id)
        .where(Repayment.closed_at.is_not(None))
    )
    outside = (
        select(*_columns(-OutsideMovement.released, _early(OutsideMovement.seen_at), taken=False))
        .join(Loan, Loan.operation_id == Reservation.operation_id)
        .join(OutsideMovement, OutsideMovement.loan_id == Loan.id)
    )
    return repaid, outside


def _given_back_at_the_end() -> Select[*tuple[Any, ...]]:
    """A loan that is over gives back whatever its parts did not."""
    repaid = select(func.coalesce(func.sum(Repayment.principal), 0)).where(
        Repayment.loan_id == Loan.id, Repayment.closed_at.is_not(None)
    )
    outside = select(func.coalesce(func.sum(OutsideMovement.released), 0)).where(OutsideMovement.loan_id == Loan.id)
    parts = repaid.correlate(Loan).scalar_subquery() + outside.correlate(Loan).scalar_subquery()
    rest = func.greatest(0, Reservation.amount - parts)
    return (
        select(*_columns(-rest, _early(Loan.closed_at), taken=False))
        .join(Loan, Loan.operation_id == Reservation.operation_id)
        .where(Loan.status.in_(TERMINAL_LOAN_STATUSES))
    )


def _early(at: SQLColumnExpression[Any]) -> SQLColumnExpression[Any]:
    """Never before the reservation itself was made."""
    return func.greatest(at - CLOCKS_DIFFER_BY, Reservation.created_at)


def _columns(
    amount: SQLColumnExpression[Any], at: SQLColumnExpression[Any], *, taken: bool
) -> tuple[SQLColumnExpression[Any], ...]:
    return (
        Reservation.operation_id.label("operation_id"),
        Reservation.partner_id.label("partner_id"),
        Reservation.day.label("day"),
        at.label("at"),
        amount.label("amount"),
        literal(taken).label("taken"),
    )
