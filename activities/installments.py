"""Telling partners of installments that are due or missed, by the chain's plan (api.md, "Events and webhooks").

The rows say when a loan must be looked at; the chain says what its plan is by then, since every repayment moves it on. Each
installment is told of once: a unique index of the events holds that.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from temporalio import activity

from activities.heartbeats import with_heartbeats
from activities.operation_rows import lock_operation, write_event
from activities.repayment_rows import lock_loan
from activities.snapshots import loan_snapshot
from chain.contracts.solvency_vault import RepaymentPlan
from chain.engine_chain import EngineChain
from chain.types import Block, BlockNumber
from models.events.payloads import InstallmentSnapshot
from models.messages.webhooks import Serviced
from models.statuses import INSTALLMENT_EVENTS, EventType, LoanStatus
from models.tables.loans import Loan
from models.tables.operations import Event
from models.tables.session import Transaction

PAGE = 200
READ_AT_ONCE = 40
SELDOM = timedelta(days=1)
"""Until the next look at a loan that has no installment to come, or no plan on chain."""


@dataclass(frozen=True, slots=True)
class Told:
    """One thing to tell: this installment is due, or was missed."""

    kind: EventType
    installment: int
    due_at: int
    """Seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the chain says of a loan at one block; ``debt`` in base units."""

    loan_id: str
    operation_id: str
    plan: RepaymentPlan
    debt: int


def standing(plan: RepaymentPlan, at: int, notice: int) -> Iterator[Told]:
    """What is to be told of a plan at this second: of each installment that is not paid whether it is near, and whether it is past."""
    for number in range(plan.installments_paid + 1, plan.number_of_installments + 1):
        due_at = _due_at(plan, number)
        if at >= due_at - notice:
            yield Told(EventType.LOAN_INSTALLMENT_DUE, number, due_at)
        if at > due_at:
            yield Told(EventType.LOAN_INSTALLMENT_MISSED, number, due_at)


def next_look(plan: RepaymentPlan, at: int, notice: int) -> int | None:
    """The next second at which there is something new to tell; None where there is none. A repayment only makes it later."""
    dues = [_due_at(plan, number) for number in range(plan.installments_paid + 1, plan.number_of_installments + 1)]
    return min((moment for due in dues for moment in (due - notice, due + 1) if moment > at), default=None)


def _due_at(plan: RepaymentPlan, number: int) -> int:
    return plan.next_payment_due + (number - plan.installments_paid - 1) * plan.installment_interval


class InstallmentActivities:
    """``notice``: how long before an installment is due its partner is told."""

    def __init__(self, transaction: Transaction, chain: EngineChain, notice: timedelta) -> None:
        self._transaction = transaction
        self._chain = chain
        self._notice = int(notice.total_seconds())

    @activity.defn
    async def service_loans(self) -> Serviced:
        """Looks at the plans of the loans whose time has come, a page of them, at the newest final block."""
        return await with_heartbeats(self._service())

    async def _service(self) -> Serviced:
        due = await self._due()
        block = await self._final_block() if due else None
        if block is None:
            return Serviced()
        told: list[Told] = []
        for start in range(0, len(due), READ_AT_ONCE):
            for seen in await self._read(due[start : start + READ_AT_ONCE], block.number):
                told += await self._tell(seen, block)
        missed = sum(each.kind is EventType.LOAN_INSTALLMENT_MISSED for each in told)
        return Serviced(loans=len(due), due=len(told) - missed, missed=missed, more=len(due) == PAGE)

    async def _due(self) -> Sequence[Loan]:
        chain = self._chain
        query = select(Loan).where(
            Loan.status == LoanStatus.ACTIVE,
            Loan.chain_id == chain.chain_id,
            Loan.vault_address == chain.vault_address,
            or_(Loan.service_at.is_(None), Loan.service_at <= datetime.now(UTC)),
        )
        async with self._transaction() as session:
            return (await session.scalars(query.order_by(Loan.service_at.nulls_first()).limit(PAGE))).all()

    async def _final_block(self) -> Block | None:
        client = self._chain.client
        number = await self._chain.finality.newest_block(client, await client.head())
        (block,) = await client.blocks([BlockNumber(number)]) if number >= 0 else [None]
        return block

    async def _read(self, loans: Sequence[Loan], block: BlockNumber) -> list[Seen]:
        chain = self._chain
        plans = await chain.client.read(
            *(chain.vault.get_repayment_plan(loan.position_id) for loan in loans), block=block
        )
        debts = await chain.client.read(
            *(chain.pool.get_outstanding_debt(loan.position_id) for loan in loans), block=block
        )
        rows = zip(loans, plans, debts, strict=True)
        return [Seen(loan.id, loan.operation_id, plan, debt) for loan, plan, debt in rows]

    async def _tell(self, seen: Seen, block: Block) -> list[Told]:
        """The loan's new events and the time of its next look, in one transaction."""
        async with self._transaction() as session:
            operation = await lock_operation(session, seen.operation_id)
            loan, _ = await lock_loan(session, seen.loan_id)
            if loan.status is not LoanStatus.ACTIVE:
                return []
            new: list[Told] = []
            if _is_of(seen.plan, loan):
                known = await _known(session, operation.id)
                now = standing(seen.plan, block.timestamp, self._notice)
                new = [told for told in now if (told.kind, told.installment) not in known]
            for told in new:
                data = _snapshot(told, seen, block.number, loan)
                write_event(session, operation, told.kind, data, told.installment)
            await _look_again(session, loan, self._next(seen.plan, block.timestamp))
            return new

    def _next(self, plan: RepaymentPlan, at: int) -> datetime:
        """By this machine's clock: as far from now as it is from the block."""
        moment = next_look(plan, at, self._notice)
        return datetime.now(UTC) + (SELDOM if moment is None else timedelta(seconds=moment - at))


def _is_of(plan: RepaymentPlan, loan: Loan) -> bool:
    """A plan that the user made since, with a borrow of its own, is none of this loan's."""
    same = (plan.loan_duration, plan.number_of_installments) == (loan.loan_duration, loan.number_of_installments)
    return plan.is_active and not plan.defaulted and same


async def _known(session: AsyncSession, operation_id: str) -> set[tuple[EventType, int]]:
    query = select(Event.type, Event.installment).where(
        Event.operation_id == operation_id, Event.type.in_(INSTALLMENT_EVENTS)
    )
    return {(kind, installment or 0) for kind, installment in await session.execute(query)}


async def _look_again(session: AsyncSession, loan: Loan, moment: datetime) -> None:
    again = update(Loan).where(Loan.id == loan.id).values(service_at=moment)
    await session.execute(again.execution_options(synchronize_session=False))


def _snapshot(told: Told, seen: Seen, block: BlockNumber, loan: Loan) -> InstallmentSnapshot:
    return InstallmentSnapshot(
        installment=told.installment,
        due_at=datetime.fromtimestamp(told.due_at, UTC),
        installments_paid=seen.plan.installments_paid,
        missed_payments=seen.plan.missed_payments,
        debt=str(seen.debt),
        block_number=block,
        loan=loan_snapshot(loan),
    )
