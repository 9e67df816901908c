"""Loans, repayments and operations in many states, made at random from a seed, and changed weeks later.

Nothing here goes through the engine: rows are written as its activities leave them, at times that a test could not wait for.
"""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from models.statuses import (
    DecisionKind,
    LoanStatus,
    OperationKind,
    OperationState,
    PartnerTier,
    RepaymentState,
)
from models.tables.loans import Loan, Repayment
from models.tables.operations import Operation
from models.tables.partners import Partner
from tests import factories as make

BORROWS = 90
DAYS = 120
CODES = ("daily_limit_exceeded", "grant_required", "insufficient_credit")
TIERS = (PartnerTier.BASIC, PartnerTier.PREMIUM, PartnerTier.BASIC, PartnerTier.ENTERPRISE)

_BORROWED = (LoanStatus.ACTIVE, LoanStatus.REPAID, LoanStatus.DEFAULTED, LoanStatus.LIQUIDATED)
_CAME_TO_NOTHING = (LoanStatus.FAILED, LoanStatus.REVERSED)
_CLOSED = (*_CAME_TO_NOTHING, LoanStatus.REPAID, LoanStatus.LIQUIDATED)
_FATES = (*LoanStatus, "REFUSED", "REFUSED", "UNDECIDED", "NOT_STARTED")


@dataclass
class Population:
    """``owed`` is what became owed or was given back on each day, which no column of a loan tells."""

    random: Random
    partners: list[Partner] = field(default_factory=list)
    owed: list[tuple[str, date, int]] = field(default_factory=list)

    def moment(self, earliest: datetime | None = None) -> datetime:
        """Also the very first and last moments of a day."""
        earliest = earliest or datetime.now(UTC) - timedelta(days=DAYS)
        until = datetime.now(UTC) - earliest
        chosen = earliest + until * self.random.randrange(1000) // 1000
        midnight = chosen.replace(hour=0, minute=0, second=0, microsecond=0)
        if midnight <= earliest:
            return chosen
        return self.random.choice((chosen, chosen, midnight, midnight - timedelta(microseconds=1)))

    def amount(self) -> int:
        return self.random.randrange(1, 10**10)

    def took(self) -> timedelta:
        """From nothing to weeks, and sometimes less than nothing, as two clocks may have it."""
        return timedelta(
            microseconds=self.random.choice((-5, 0, 17)) + self.random.randrange(2 ** self.random.randrange(42))
        )


async def populate(session: AsyncSession, seed: int) -> Population:
    made = Population(Random(seed))  # noqa: S311 - to be the same again
    for number, tier in enumerate(TIERS):
        made.partners.append(await make.new_partner(session, id=f"partner-{number}", tier=tier))
    for _ in range(BORROWS):
        await _new_borrow(session, made, made.random.choice(made.partners), made.random.choice(_FATES))
    return made


async def weeks_later(session: AsyncSession, made: Population) -> None:
    """Loans end, and so do operations that were under way; one partner gets another tier, and one row is corrected."""
    today = datetime.now(UTC).date()
    for loan in (await session.scalars(select(Loan).order_by(Loan.partner_loan_id))).all():
        if loan.status in (LoanStatus.ACTIVE, LoanStatus.DEFAULTED):
            await _new_repayment(session, made, loan, RepaymentState.APPLIED)
            made.owed.append((loan.partner_id, today, -loan.outstanding))
            loan.status, loan.outstanding, loan.closed_at = LoanStatus.REPAID, 0, datetime.now(UTC)
        elif loan.status is LoanStatus.SETTLING:
            made.owed.append((loan.partner_id, today, -loan.outstanding))
            loan.status, loan.outstanding, loan.closed_at = LoanStatus.REVERSED, 0, made.moment(loan.created_at)
        elif loan.status is LoanStatus.PENDING:
            loan.status, loan.outstanding = LoanStatus.ACTIVE, loan.principal
            loan.activated_at = made.moment(loan.created_at)
            made.owed.append((loan.partner_id, today, loan.principal))
    for operation in (await session.scalars(select(Operation).where(Operation.state == OperationState.OPEN))).all():
        if operation.decision is None:
            _refuse(made, operation)
        else:
            _end(made, operation)
    made.partners[0].tier = PartnerTier.ENTERPRISE
    session.add(made.partners[0])
    corrected = (await session.scalars(select(Repayment).where(Repayment.principal > 1).limit(1))).one()
    corrected.principal -= 1


async def _new_borrow(session: AsyncSession, made: Population, partner: Partner, fate: str) -> None:
    received = made.moment()
    operation = await make.new_operation(session, partner, received_at=received)
    if fate == "REFUSED":
        _refuse(made, operation)
    elif fate == "NOT_STARTED":
        operation.state = OperationState.NOT_STARTED
    elif fate != "UNDECIDED":
        _accept(made, operation)
        await _new_loan(session, made, operation, LoanStatus(fate))
    await session.flush()


async def _new_loan(session: AsyncSession, made: Population, operation: Operation, status: LoanStatus) -> None:
    principal = made.amount()
    fee = made.random.randrange(principal)
    fields: dict[str, Any] = {"status": status, "principal": principal, "fee": fee, "payout": principal - fee}
    fields["created_at"] = operation.received_at
    if status in _BORROWED:
        fields["activated_at"] = made.moment(operation.received_at)
    if status in _CLOSED:
        fields["closed_at"] = made.moment(fields.get("activated_at", operation.received_at))
    if status in (LoanStatus.ACTIVE, LoanStatus.DEFAULTED, LoanStatus.SETTLING):
        fields["outstanding"] = made.random.randrange(principal + 1)
        began = fields.get("activated_at") or datetime.now(UTC)
        made.owed.append((operation.partner_id or "", began.date(), fields["outstanding"]))
    loan = await make.new_loan(session, operation, **fields)
    if status not in (LoanStatus.PENDING, LoanStatus.SETTLING, LoanStatus.UNDER_REVIEW):
        _end(made, operation)
    if status in _BORROWED:
        for state in made.random.choices(tuple(RepaymentState), k=made.random.randrange(4)):
            await _new_repayment(session, made, loan, state)


async def _new_repayment(session: AsyncSession, made: Population, loan: Loan, state: RepaymentState) -> None:
    began = loan.activated_at or loan.created_at
    partner = await session.get_one(Partner, loan.partner_id)
    kind = {"kind": OperationKind.REPAY, "id": make.unique("repay"), "received_at": made.moment(began)}
    operation = await make.new_operation(session, partner, **kind)
    _accept(made, operation)
    fields: dict[str, Any] = {"state": state, "holds_loan": False}
    if state in (RepaymentState.APPLIED, RepaymentState.REFUNDED):
        fields["collected"] = made.amount()
    if state is RepaymentState.APPLIED:
        fields["principal"] = made.random.randrange(fields["collected"])
        fields["interest"] = made.random.randrange(fields["collected"] - fields["principal"])
    if state not in (RepaymentState.COLLECTING, RepaymentState.REPAYING, RepaymentState.UNDER_REVIEW):
        fields["closed_at"] = made.moment(operation.received_at)
        _end(made, operation)
    await make.new_repayment(session, operation, loan, **fields)


def _accept(made: Population, operation: Operation) -> None:
    operation.decision, operation.terms = DecisionKind.ACCEPTED, {}
    operation.decided_at = operation.received_at + made.took()


def _refuse(made: Population, operation: Operation) -> None:
    code = made.random.choice(CODES)
    operation.decision, operation.refusal = DecisionKind.REFUSED, {"code": code}
    operation.decided_at = operation.received_at + made.took()
    operation.state, operation.done_at = OperationState.DONE, operation.decided_at


def _end(made: Population, operation: Operation) -> None:
    operation.state, operation.done_at = OperationState.DONE, operation.received_at + made.took()
