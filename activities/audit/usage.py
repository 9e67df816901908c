"""The other cached sums of invariant 1: what partners and positions owe, and what limits are in use."""

from sqlalchemy import ColumnElement, case, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from activities.audit.findings import Finding
from models.statuses import LoanStatus, ReservationState
from models.tables.loans import Loan, Reservation, SolvencyPosition
from models.tables.partners import Partner, PartnerDay


async def check_usage(session: AsyncSession, finding: Finding) -> None:
    """Adds to the finding about invariant 1."""
    await _check_reservations(session, finding)
    await _check_partners(session, finding)
    await _check_days(session, finding)
    await _check_positions(session, finding)


def _in_state(state: ReservationState) -> ColumnElement[int]:
    return func.coalesce(func.sum(case((Reservation.state == state, Reservation.amount), else_=0)), 0)


async def _check_reservations(session: AsyncSession, finding: Finding) -> None:
    """Each loan has its reservation, which is given back where nothing was borrowed or all was undone, and nowhere else."""
    undone = Loan.status.in_((LoanStatus.FAILED, LoanStatus.REVERSED))
    fits = (Reservation.amount == Loan.principal) & ((Reservation.state == ReservationState.RELEASED) == undone)
    every = select(Loan.id, Loan.operation_id).outerjoin(Reservation, Reservation.operation_id == Loan.operation_id)
    rows = (await session.execute(every.where(func.coalesce(~fits, True)).order_by(Loan.id))).all()
    for loan_id, operation_id in rows:
        detail = f"{loan_id} has no reservation of its principal that fits its status"
        finding.broken(f"{loan_id}/reservation", detail, f"loans {loan_id}", f"reservations {operation_id}")
    finding.compare("loans without their reservation", 0, len(rows))


async def _check_partners(session: AsyncSession, finding: Finding) -> None:
    loans = select(Loan.partner_id, func.sum(Loan.outstanding).label("owed")).group_by(Loan.partner_id).subquery()
    reserved = _in_state(ReservationState.RESERVED).label("reserved")
    taken = select(Reservation.partner_id, reserved).group_by(Reservation.partner_id).subquery()
    query = (
        select(
            Partner.id,
            Partner.outstanding,
            func.coalesce(loans.c.owed, 0),
            Partner.reserved,
            func.coalesce(taken.c.reserved, 0),
        )
        .outerjoin(loans, loans.c.partner_id == Partner.id)
        .outerjoin(taken, taken.c.partner_id == Partner.id)
    )
    rows = (await session.execute(query)).all()
    finding.compare("what all partners owe", sum(int(row[2]) for row in rows), sum(row[1] for row in rows))
    finding.compare("what all partners have reserved", sum(int(row[4]) for row in rows), sum(row[3] for row in rows))
    for partner_id, outstanding, owed, has_reserved, rows_reserved in rows:
        if (outstanding, has_reserved) != (owed, rows_reserved):
            detail = (
                f"{partner_id} has outstanding {outstanding} and reserved {has_reserved}; "
                f"its loans and reservations say {owed} and {rows_reserved}"
            )
            finding.broken(f"partner {partner_id}", detail, f"partners {partner_id}")


async def _check_days(session: AsyncSession, finding: Finding) -> None:
    """A day shows what was reserved on it and not given back, drawn or not."""
    key = (Reservation.partner_id, Reservation.day)
    reserved = _in_state(ReservationState.RESERVED).label("reserved")
    drawn = _in_state(ReservationState.DRAWN).label("drawn")
    taken = select(*key, reserved, drawn).group_by(*key).subquery()
    same = (taken.c.partner_id == PartnerDay.partner_id) & (taken.c.day == PartnerDay.day)
    query = select(
        func.coalesce(PartnerDay.partner_id, taken.c.partner_id),
        func.coalesce(PartnerDay.day, taken.c.day),
        func.coalesce(PartnerDay.reserved, 0),
        func.coalesce(taken.c.reserved, 0),
        func.coalesce(PartnerDay.borrowed, 0),
        func.coalesce(taken.c.drawn, 0),
    ).select_from(PartnerDay)
    rows = (await session.execute(query.outerjoin(taken, same, full=True))).all()
    finding.compare("what was borrowed on all days", sum(int(row[5]) for row in rows), sum(row[4] for row in rows))
    for partner_id, day, has_reserved, rows_reserved, has_borrowed, rows_drawn in rows:
        if (has_reserved, has_borrowed) != (rows_reserved, rows_drawn):
            detail = (
                f"{day} of {partner_id} holds {has_reserved} reserved and {has_borrowed} borrowed; "
                f"its reservations say {rows_reserved} and {rows_drawn}"
            )
            finding.broken(f"partner {partner_id} on {day}", detail, f"partner_days {partner_id}/{day}")


async def _check_positions(session: AsyncSession, finding: Finding) -> None:
    key = (Loan.chain_id, Loan.vault_address, Loan.position_id)
    loans = select(*key, func.sum(Loan.outstanding).label("owed")).group_by(*key).subquery()
    owed = func.coalesce(loans.c.owed, 0)
    same = (
        (loans.c.chain_id == SolvencyPosition.chain_id)
        & (loans.c.vault_address == SolvencyPosition.vault_address)
        & (loans.c.position_id == SolvencyPosition.position_id)
    )
    every = select(SolvencyPosition.position_id, SolvencyPosition.total_partner_debt, owed).outerjoin(loans, same)
    wrong = every.where(SolvencyPosition.total_partner_debt != owed)
    for position_id, has, rows in await session.execute(wrong):
        detail = f"position {position_id} has {has} of partners' debt; its loans say {rows}"
        finding.broken(f"position {position_id}/debt", detail, f"solvency_positions {position_id}")
    table = every.subquery()
    found = select(func.coalesce(func.sum(table.c[2]), 0), func.coalesce(func.sum(table.c[1]), 0))
    derived, stored = (await session.execute(found)).one()
    finding.compare("partners' debt on all positions", int(derived), int(stored))
