"""The arithmetic of a partner's limits (money.md section 4), on rows that the caller has locked. Amounts are base units."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from activities.operation_rows import NO_KEY_UPDATE
from models.errors import DailyLimitExceeded, InvariantBroken, Refused, TotalLimitExceeded, raise_first
from models.statuses import ReservationState
from models.tables.loans import Reservation
from models.tables.partners import Partner, PartnerDay


@dataclass(frozen=True)
class LockedLimits:
    partner: Partner
    day: PartnerDay


@dataclass(frozen=True)
class LimitUse:
    """A limit and what is taken of it: ``used`` by loans on chain, ``reserved`` by borrows on their way there."""

    limit: int
    used: int
    reserved: int

    @property
    def taken(self) -> int:
        return self.used + self.reserved

    @property
    def remaining(self) -> int:
        return max(0, self.limit - self.taken)


@dataclass(frozen=True)
class LimitsInUse:
    total: LimitUse
    daily: LimitUse


def limits_in_use(partner: Partner, day: PartnerDay | None) -> LimitsInUse:
    """Without a row of the day, nothing was borrowed or reserved on it."""
    borrowed, reserved = (0, 0) if day is None else (day.borrowed, day.reserved)
    return LimitsInUse(
        total=LimitUse(partner.total_borrow_limit, used=partner.outstanding, reserved=partner.reserved),
        daily=LimitUse(partner.daily_borrow_limit, used=borrowed, reserved=reserved),
    )


def limit_refusals(limits: LimitsInUse, amount: int) -> Iterator[Refused]:
    """Which of the two limits ``amount`` would exceed. The first is what a run raises, preflight shows both."""
    total, daily = limits.total, limits.daily
    if total.taken + amount > total.limit:
        yield TotalLimitExceeded(total.limit, total.remaining, amount)
    if daily.taken + amount > daily.limit:
        yield DailyLimitExceeded(daily.limit, daily.remaining, amount)


async def lock_partner(session: AsyncSession, partner_id: str) -> Partner:
    partner = await session.get(Partner, partner_id, with_for_update=NO_KEY_UPDATE)
    if partner is None:
        raise InvariantBroken(f"partner {partner_id} has no row")
    return partner


def current_day() -> date:
    """The UTC day whose limit a reservation made now would take."""
    return datetime.now(UTC).date()


async def see_limits_today(session: AsyncSession, partner_id: str) -> tuple[Partner, LimitsInUse]:
    """The partner and its limits as they are now, without a lock: another borrow may take them in the next moment."""
    query = (
        select(Partner, PartnerDay)
        .outerjoin(PartnerDay, (PartnerDay.partner_id == Partner.id) & (PartnerDay.day == current_day()))
        .where(Partner.id == partner_id)
    )
    partner, day = (await session.execute(query)).one()
    return partner, limits_in_use(partner, day)


async def lock_limits_today(session: AsyncSession, partner_id: str) -> LockedLimits:
    """Locks the partner, then its row of the current UTC day, which is made when it is the day's first."""
    partner = await lock_partner(session, partner_id)
    today = current_day()
    await session.execute(insert(PartnerDay).values(partner_id=partner_id, day=today).on_conflict_do_nothing())
    return LockedLimits(partner, await _day(session, partner_id, today))


def reserve(limits: LockedLimits, operation_id: str, amount: int) -> Reservation:
    """Takes ``amount`` from both limits; raises DailyLimitExceeded or TotalLimitExceeded, and then has taken nothing."""
    partner, day = limits.partner, limits.day
    before = limits_in_use(partner, day)
    raise_first(limit_refusals(before, amount))
    partner.reserved += amount
    day.reserved += amount
    return Reservation(
        operation_id=operation_id,
        partner_id=partner.id,
        day=day.day,
        amount=amount,
        state=ReservationState.RESERVED,
        total_limit=before.total.limit,
        daily_limit=before.daily.limit,
        total_used_before=before.total.taken,
        daily_used_before=before.daily.taken,
    )


async def draw(session: AsyncSession, partner: Partner, reservation: Reservation) -> None:
    """The borrow is on chain: what was reserved is now outstanding."""
    _expect(reservation, ReservationState.RESERVED)
    day = await _day(session, partner.id, reservation.day)
    partner.reserved -= reservation.amount
    partner.outstanding += reservation.amount
    day.reserved -= reservation.amount
    day.borrowed += reservation.amount
    reservation.state = ReservationState.DRAWN


async def release_reserved(session: AsyncSession, partner: Partner, reservation: Reservation) -> None:
    """It is certain that nothing was borrowed: the reservation is given back, and so is its day."""
    _expect(reservation, ReservationState.RESERVED)
    day = await _day(session, partner.id, reservation.day)
    partner.reserved -= reservation.amount
    day.reserved -= reservation.amount
    reservation.state = ReservationState.RELEASED


async def release_drawn(session: AsyncSession, partner: Partner, reservation: Reservation, outstanding: int) -> None:
    """The borrow was undone on chain: what was outstanding still is so no more, and the whole day is given back."""
    _expect(reservation, ReservationState.DRAWN)
    day = await _day(session, partner.id, reservation.day)
    partner.outstanding -= outstanding
    day.borrowed -= reservation.amount
    reservation.state = ReservationState.RELEASED


async def reservation_of(session: AsyncSession, operation_id: str) -> Reservation:
    reservation = await session.get(Reservation, operation_id)
    if reservation is None:
        raise InvariantBroken(f"operation {operation_id} has no reservation")
    return reservation


async def _day(session: AsyncSession, partner_id: str, day: date) -> PartnerDay:
    query = (
        select(PartnerDay)
        .where(PartnerDay.partner_id == partner_id, PartnerDay.day == day)
        .with_for_update(key_share=True)
    )
    return (await session.scalars(query)).one()


def _expect(reservation: Reservation, state: ReservationState) -> None:
    if reservation.state is not state:
        raise InvariantBroken(f"the reservation of {reservation.operation_id} is {reservation.state}, expected {state}")
