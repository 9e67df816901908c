"""A loan's instalments, from the rows alone: a loan can be looked at while the chain cannot."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from api.answers import InstallmentAnswer, InstallmentState
from chain.contracts.vault_events import RepaymentPlanCreated
from models.statuses import RETRIABLE_LOAN_STATUSES
from models.tables.loans import Loan


def schedule_of(loan: Loan, plan: RepaymentPlanCreated | None, now: datetime) -> list[InstallmentAnswer]:
    """Number, due date, amount and state of each instalment; none of a loan that came to nothing. Amounts are base units.

    Their number is that of the terms. Due dates are those of the plan that the vault began, as the borrow's own receipt
    shows it: ``next_payment_due``, and each interval after it. Where a receipt shows none, they are counted from the
    activation by the vault's rule, ``loan_duration // number_of_installments``; before the borrow is on chain they are
    not known. What is paid is the principal that is no longer owed and was not written off, so repayments by anybody
    count, and they cover the oldest instalments first.
    """
    if loan.status in RETRIABLE_LOAN_STATUSES:
        return []
    due = _first_due(loan, plan)
    interval = timedelta(seconds=loan.loan_duration // loan.number_of_installments)
    left = _repaid(loan)
    found = []
    for number, amount in enumerate(installments(loan.principal, loan.number_of_installments), start=1):
        paid = min(amount, left)
        left -= paid
        due_at = None if due is None else due + (number - 1) * interval
        state = _state(loan, due_at, now, covered=paid == amount)
        found.append(InstallmentAnswer(number=number, due_at=due_at, amount=str(amount), paid=str(paid), state=state))
    return found


def installments(principal: int, number: int) -> Iterator[int]:
    """Equal parts, rounded down to base units; the last one takes the rest."""
    part = principal // number
    for _ in range(number - 1):
        yield part
    yield principal - (number - 1) * part


def _first_due(loan: Loan, plan: RepaymentPlanCreated | None) -> datetime | None:
    if plan is not None:
        return datetime.fromtimestamp(plan.next_payment_due, UTC)
    if loan.activated_at is None:
        return None
    return loan.activated_at + timedelta(seconds=loan.loan_duration // loan.number_of_installments)


def _repaid(loan: Loan) -> int:
    """Nothing is owed, and nothing was repaid, before the borrow is recorded with its hash."""
    if loan.borrow_tx_hash is None:
        return 0
    return loan.principal - loan.outstanding - loan.written_off


def _state(loan: Loan, due_at: datetime | None, now: datetime, *, covered: bool) -> InstallmentState:
    if covered:
        return InstallmentState.PAID
    if due_at is not None and due_at < (loan.closed_at or now):
        return InstallmentState.MISSED
    return InstallmentState.UPCOMING if loan.closed_at is None else InstallmentState.ENDED
