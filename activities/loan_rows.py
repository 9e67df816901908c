"""Loading a borrow's rows under their locks, for the activities that record what became of it."""

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from activities.limit_book import lock_partner, reservation_of
from activities.operation_rows import lock_operation
from activities.repayment_rows import lock_loan
from models.errors import InvariantBroken
from models.messages.borrow import BorrowTerms
from models.tables.loans import Loan, Reservation, SolvencyPosition
from models.tables.operations import Operation
from models.tables.partners import Partner


@dataclass(frozen=True)
class BorrowRows:
    """All rows that one borrow changes, locked in the order of money.md section 4."""

    operation: Operation
    partner: Partner
    position: SolvencyPosition
    loan: Loan
    reservation: Reservation

    @property
    def terms(self) -> BorrowTerms:
        return BorrowTerms.model_validate(self.operation.terms)


async def lock_borrow(session: AsyncSession, operation_id: str) -> BorrowRows:
    operation = await lock_operation(session, operation_id)
    if operation.partner_id is None or operation.loan_id is None:
        raise InvariantBroken(f"operation {operation_id} is no borrow")
    partner = await lock_partner(session, operation.partner_id)
    loan, position = await lock_loan(session, operation.loan_id)
    return BorrowRows(operation, partner, position, loan, await reservation_of(session, operation_id))
