"""What a partner is told of itself: its terms and limits as they are now, and what it has done since it is here."""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from activities.limit_book import LimitUse, current_day, see_limits_today
from api.answers import LimitAnswer, LimitsAnswer, MeAnswer, OwnKeyAnswer, RefusedAnswer, RepaidAnswer, StatsAnswer
from api.auth import Caller
from models.statuses import DecisionKind, LoanStatus, RepaymentState, Scope
from models.tables.loans import Loan, Repayment
from models.tables.operations import Operation
from models.tables.partners import ApiKey
from models.tiers import TIERS


@dataclass(frozen=True, slots=True)
class Tally:
    """A partner's loans of one status, amounts in base units."""

    status: LoanStatus
    loans: int
    borrowed: int
    fees: int
    outstanding: int
    written_off: int


async def me_answer(session: AsyncSession, caller: Caller) -> MeAnswer:
    partner, limits = await see_limits_today(session, caller.partner_id)
    key = await session.get_one(ApiKey, caller.api_key_id)
    return MeAnswer(
        partner_id=partner.id,
        name=partner.name,
        status=partner.status,
        tier=partner.tier,
        fee_bps=partner.fee_bps,
        requests_per_minute=partner.requests_per_minute or TIERS[partner.tier].requests_per_minute,
        settlement_address=partner.settlement_address,
        key=_key(key),
        limits=LimitsAnswer(daily=_limit(limits.daily), total=_limit(limits.total), day_turns_at=_day_turns_at()),
    )


async def stats_answer(session: AsyncSession, partner_id: str) -> StatsAnswer:
    """Each figure is summed over the partner's own rows, which an index finds."""
    tallies = await _loans(session, partner_id)
    counts = {tally.status: tally.loans for tally in tallies}
    stood = [tally for tally in tallies if tally.status is not LoanStatus.REVERSED]
    return StatsAnswer(
        loans={status: counts.get(status, 0) for status in LoanStatus},
        borrowed=str(sum(tally.borrowed for tally in stood)),
        fees=str(sum(tally.fees for tally in stood)),
        outstanding=str(sum(tally.outstanding for tally in stood)),
        written_off=str(sum(tally.written_off for tally in stood)),
        repaid=await _repaid(session, partner_id),
        refused=await _refused(session, partner_id),
    )


async def _loans(session: AsyncSession, partner_id: str) -> list[Tally]:
    """One for each status. Principal counts once the borrow is recorded, a fee once the payout is."""
    query = (
        select(
            Loan.status,
            func.count(),
            func.coalesce(func.sum(Loan.principal).filter(Loan.borrow_tx_hash.is_not(None)), 0),
            func.coalesce(func.sum(Loan.fee).filter(Loan.activated_at.is_not(None)), 0),
            _sum(Loan.outstanding),
            _sum(Loan.written_off),
        )
        .where(Loan.partner_id == partner_id)
        .group_by(Loan.status)
    )
    return [Tally(status, *map(int, sums)) for status, *sums in await session.execute(query)]


async def _repaid(session: AsyncSession, partner_id: str) -> RepaidAnswer:
    applied = Repayment.state == RepaymentState.APPLIED
    query = select(
        func.count().filter(applied), _sum(Repayment.principal), _sum(Repayment.interest), _sum(Repayment.residue)
    ).where(Repayment.partner_id == partner_id)
    number, principal, interest, residue = (await session.execute(query)).one()
    return RepaidAnswer(repayments=number, principal=str(principal), interest=str(interest), residue=str(residue))


async def _refused(session: AsyncSession, partner_id: str) -> list[RefusedAnswer]:
    code = Operation.refusal["code"].astext
    query = (
        select(Operation.kind, code, func.count())
        .where(Operation.partner_id == partner_id, Operation.decision == DecisionKind.REFUSED)
        .group_by(Operation.kind, code)
        .order_by(func.count().desc(), Operation.kind, code)
    )
    return [RefusedAnswer(kind=kind, code=found, count=number) for kind, found, number in await session.execute(query)]


def _sum(amounts: InstrumentedAttribute[int]) -> ColumnElement[int]:
    return func.coalesce(func.sum(amounts), 0)


def _key(key: ApiKey) -> OwnKeyAnswer:
    return OwnKeyAnswer(
        key_id=key.id,
        prefix=key.prefix,
        label=key.label,
        scopes=[Scope(scope) for scope in key.scopes],
        created_at=key.created_at,
        expires_at=key.expires_at,
    )


def _limit(use: LimitUse) -> LimitAnswer:
    return LimitAnswer(
        limit=str(use.limit), used=str(use.used), reserved=str(use.reserved), remaining=str(use.remaining)
    )


def _day_turns_at() -> datetime:
    return datetime.combine(current_day() + timedelta(days=1), time(tzinfo=UTC))
