"""Loading a repayment's rows under their locks, and the loan's own lock: one repayment in flight."""

from dataclasses import dataclass

from sqlalchemy import exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from activities.limit_book import lock_partner
from activities.operation_rows import lock_operation
from models.errors import InvariantBroken, LoanNotRepayable, RepaymentInProgress
from models.messages.repay import RepayTerms
from models.statuses import LoanStatus
from models.tables.loans import Loan, Repayment, SolvencyPosition
from models.tables.operations import Operation
from models.tables.partners import Partner

REPAYABLE = frozenset({LoanStatus.ACTIVE, LoanStatus.DEFAULTED})


@dataclass(frozen=True)
class RepaymentRows:
    """All rows that one repayment changes, locked in the order of money.md section 4."""

    operation: Operation
    partner: Partner
    position: SolvencyPosition
    loan: Loan
    repayment: Repayment

    @property
    def terms(self) -> RepayTerms:
        return RepayTerms.model_validate(self.operation.terms)


async def lock_repayment(session: AsyncSession, operation_id: str) -> RepaymentRows:
    operation = await lock_operation(session, operation_id)
    if operation.partner_id is None or operation.loan_id is None:
        raise InvariantBroken(f"operation {operation_id} is no accepted repayment")
    partner = await lock_partner(session, operation.partner_id)
    loan, position = await lock_loan(session, operation.loan_id)
    repayments = select(Repayment).where(Repayment.operation_id == operation_id)
    repayment = (await session.scalars(repayments)).one()
    return RepaymentRows(operation, partner, position, loan, repayment)


async def lock_loan(session: AsyncSession, loan_id: str) -> tuple[Loan, SolvencyPosition]:
    """The position is locked before the loan, as everywhere."""
    positions = (
        select(SolvencyPosition)
        .join(
            Loan,
            (SolvencyPosition.chain_id == Loan.chain_id)
            & (SolvencyPosition.vault_address == Loan.vault_address)
            & (SolvencyPosition.position_id == Loan.position_id),
        )
        .where(Loan.id == loan_id)
        .with_for_update(of=SolvencyPosition, key_share=True)
    )
    position = (await session.scalars(positions)).one()
    loan = (await session.scalars(select(Loan).where(Loan.id == loan_id).with_for_update(key_share=True))).one()
    return loan, position


async def newest_loan(session: AsyncSession, partner_id: str | None, partner_loan_id: str) -> Loan | None:
    """A ``partner_loan_id`` that was tried again names its newest loan (money.md section 4)."""
    query = (
        select(Loan)
        .where(Loan.partner_id == partner_id, Loan.partner_loan_id == partner_loan_id)
        .order_by(Loan.created_at.desc())
        .limit(1)
    )
    return (await session.scalars(query)).one_or_none()


async def loan_is_taken(session: AsyncSession, loan_id: str) -> bool:
    """Whether a repayment is in flight for this loan."""
    query = select(exists().where(Repayment.loan_id == loan_id, Repayment.holds_loan))
    return bool(await session.scalar(query))


async def take_loan(session: AsyncSession, loan_id: str) -> None:
    """Raises RepaymentInProgress or LoanNotRepayable. The loan's row lock makes the check and the taking one."""
    loan, _ = await lock_loan(session, loan_id)
    if loan.status not in REPAYABLE:
        raise LoanNotRepayable(loan.status)
    if await loan_is_taken(session, loan_id):
        raise RepaymentInProgress
