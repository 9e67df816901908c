"""What two audits found is acted on once, however often the step is repeated (money.md section 8)."""

from activities.reconciliation import ReconciliationActivities
from models import accounts
from models.messages.reconcile import Conclude, Seen
from models.tables import book
from models.tables.session import Transaction
from tests.activities.desk import chain_that_is_never_asked


async def test_a_surplus_is_booked_once(transaction: Transaction) -> None:
    """A conclusion that is repeated after its commit finds that its surplus is in suspense already."""
    activities = ReconciliationActivities(transaction, chain_that_is_never_asked())
    before, last = (Seen(block=block, breaches=(), left_out=0, surplus=7, surplus_booked=0) for block in (1, 2))
    booked = [(await activities.conclude(Conclude(last=last, before=before))).booked for _ in range(2)]
    assert booked == [7, 0]
    async with transaction() as session:
        assert await book.balance(session, accounts.SUSPENSE) == 7
