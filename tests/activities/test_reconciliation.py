"""What two audits found is acted on once, however often the step is repeated (money.md section 8)."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from activities.reconciliation import ReconciliationActivities
from models import accounts
from models.messages.reconcile import Conclude, Seen
from models.statuses import IncidentKind
from models.tables import book
from models.tables.incident_book import open_incident
from models.tables.operators import Incident
from models.tables.session import Transaction
from tests.activities.desk import chain_that_is_never_asked

BEGUN = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


async def test_a_surplus_is_booked_once(transaction: Transaction) -> None:
    """A conclusion that is repeated after its commit finds that its surplus is in suspense already."""
    activities = ReconciliationActivities(transaction, chain_that_is_never_asked())
    before, last = (Seen(block=block, begun_at=BEGUN, surplus=7) for block in (1, 2))
    booked = [(await activities.conclude(Conclude(last=last, before=before))).booked for _ in range(2)]
    assert booked == [7, 0]
    async with transaction() as session:
        assert await book.balance(session, accounts.SUSPENSE) == 7


@pytest.mark.parametrize(("begun", "still_open"), [(-HOUR, True), (HOUR, False)], ids=["found-since", "known-before"])
async def test_what_was_found_since_a_look_began_stays_open(
    transaction: Transaction, begun: timedelta, still_open: bool
) -> None:
    """A look at everything takes long, and another run may find a breach meanwhile that the look could not see."""
    activities = ReconciliationActivities(transaction, chain_that_is_never_asked())
    subject = "invariant 3: found by the other run"
    async with transaction() as session:
        await open_incident(session, IncidentKind.INVARIANT_BROKEN, subject, "USDC is missing")
    await activities.conclude(Conclude(last=Seen(block=2, begun_at=datetime.now(UTC) + begun)))
    async with transaction() as session:
        closed_at = await session.scalar(select(Incident.closed_at).where(Incident.subject == subject))
    assert (closed_at is None) is still_open
