"""What is owed on a loan, to the second of a block. The figures are the chain's; nothing here decides anything."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from api.answers import PayoffAnswer
from api.resources import Resources
from chain.contracts.senior_pool import SeniorPool
from models.errors import LoanNotRepayable
from models.money import BASIS_POINTS
from models.statuses import LoanStatus
from models.tables.loans import Loan

APR_BPS = 500
YEAR = 31_536_000
"""Seconds; the pool's interest is ``principal * 500 * seconds / (10_000 * YEAR)`` (contracts.md, SeniorPool)."""
LONGEST = timedelta(hours=1)
REPAYABLE = frozenset({LoanStatus.ACTIVE, LoanStatus.DEFAULTED})
_DIGITS = Decimal("0.000000000001")


async def read_payoff(resources: Resources, loan: Loan) -> PayoffAnswer:
    """Raises LoanNotRepayable where the loan owes nothing yet or any more, and RpcUnavailable without a node."""
    if loan.status not in REPAYABLE:
        raise LoanNotRepayable(loan.status)
    pool = SeniorPool(resources.settings.pool_address)
    head = await resources.chain.head()
    outstanding, debt = await resources.chain.read(
        pool.get_outstanding_debt(loan.position_id), pool.loans(loan.position_id), block=head.number
    )
    accrual = accrual_per_second(debt.principal)
    as_of = datetime.fromtimestamp(head.timestamp, UTC)
    return PayoffAnswer(
        loan_id=loan.id,
        outstanding=str(outstanding),
        principal=str(debt.principal),
        interest=str(outstanding - debt.principal),
        accrual_per_second=f"{accrual:f}",
        as_of_block=head.number,
        as_of=as_of,
        valid_until=as_of + _valid_for(accrual, resources.settings.residue_cap),
    )


def accrual_per_second(principal: int) -> Decimal:
    """Base units of interest that each second adds."""
    return (Decimal(principal) * APR_BPS / (BASIS_POINTS * YEAR)).quantize(_DIGITS)


def _valid_for(accrual: Decimal, residue_cap: int) -> timedelta:
    """How long what accrues meanwhile stays within what the platform adds to a payoff."""
    if accrual <= 0:
        return LONGEST
    return min(LONGEST, timedelta(seconds=int(residue_cap / accrual)))
