"""How a repayment ends: all that it collected went somewhere, and a loan that owes one base unit is not repaid."""

import pytest

from activities.repayment_rows import take_loan
from models.errors import InvariantBroken, RepaymentInProgress
from models.statuses import LoanStatus, OperationKind
from models.tables.loans import Loan, Repayment
from models.tables.session import Transaction
from tests import factories as make
from tests.activities.desk import Usage, open_desk

PRINCIPAL = make.PRINCIPAL


async def test_nothing_collected_is_left_over(transaction: Transaction) -> None:
    """A repayment that has collected one base unit more than it repaid and gave back does not end, and frees nothing."""
    desk = await open_desk(transaction)
    loan = await desk.active()
    with pytest.raises(InvariantBroken):
        await desk.repays(loan, PRINCIPAL, kept=1)
    assert await desk.usage() == Usage(outstanding=PRINCIPAL, borrowed=PRINCIPAL)


@pytest.mark.parametrize(("left", "status"), [(0, LoanStatus.REPAID), (1, LoanStatus.ACTIVE)])
async def test_a_loan_is_repaid_at_zero(transaction: Transaction, left: int, status: LoanStatus) -> None:
    """One base unit that is owed still keeps the loan open, and its part of the limit taken."""
    desk = await open_desk(transaction)
    loan = await desk.active()
    await desk.repays(loan, PRINCIPAL - left)
    assert await desk.usage() == Usage(outstanding=left, borrowed=PRINCIPAL)
    async with transaction() as session:
        assert (await session.get_one(Loan, loan.id)).status is status


async def test_a_busy_loan_is_not_taken(transaction: Transaction) -> None:
    """While a repayment holds its loan another one is told so, and when it has let go another may take it."""
    desk = await open_desk(transaction)
    loan = await desk.active()
    async with transaction() as session:
        operation = await make.new_operation(session, desk.partner, kind=OperationKind.REPAY)
        holder = await make.new_repayment(session, operation, loan)
    with pytest.raises(RepaymentInProgress):
        async with transaction() as session:
            await take_loan(session, loan.id)
    async with transaction() as session:
        (await session.get_one(Repayment, holder.id)).holds_loan = False
        await session.flush()
        await take_loan(session, loan.id)
