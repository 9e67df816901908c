"""What a person is told of while a campaign runs."""

from sqlalchemy import select

from models.statuses import IncidentKind
from models.tables.operators import Incident
from tests.faults.lanes.yard import Yard


async def kinds_of_incidents(yard: Yard) -> set[IncidentKind]:
    """Of those that are open now."""
    query = select(Incident.kind).where(Incident.closed_at.is_(None))
    async with yard.desk.transaction() as session:
        return set((await session.scalars(query)).all())
