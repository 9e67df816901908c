"""What the lane itself finds wrong for as long as it is so: an incident opens when it begins and closes when it has passed."""

from collections.abc import Collection

from sqlalchemy import select

from chain.election import Office
from models.statuses import IncidentKind
from models.tables.incident_book import close_incident, open_incident
from models.tables.operators import Incident

_KINDS = (IncidentKind.APPROVAL_REFUSED, IncidentKind.FEE_CAP_REACHED, IncidentKind.GAS_LOW)
"""Nobody but the lane opens or closes these, so what it remembers of them is what the table says."""


class Alarms:
    """Remembers what stands, so that nothing is written for as long as nothing changes."""

    def __init__(self, office: Office) -> None:
        self._term = office.term
        self._log = office.log
        self._standing: set[tuple[IncidentKind, str]] | None = None

    async def open(self, kind: IncidentKind, subject: str, detail: str) -> None:
        standing = await self._known()
        if (kind, subject) in standing:
            return
        async with self._term.transaction() as session:
            await open_incident(session, kind, subject, detail)
        standing.add((kind, subject))
        self._log.error("alarm", kind=kind, subject=subject, detail=detail)

    async def close(self, kind: IncidentKind, subjects: Collection[str]) -> None:
        standing = await self._known()
        over = [subject for subject in subjects if (kind, subject) in standing]
        if not over:
            return
        async with self._term.transaction() as session:
            for subject in over:
                await close_incident(session, kind, subject)
        standing.difference_update((kind, subject) for subject in over)
        self._log.info("alarm_over", kind=kind, subjects=over)

    async def stands(self, kind: IncidentKind, subject: str) -> bool:
        return (kind, subject) in await self._known()

    async def _known(self) -> set[tuple[IncidentKind, str]]:
        if self._standing is not None:
            return self._standing
        query = select(Incident.kind, Incident.subject).where(Incident.kind.in_(_KINDS), Incident.closed_at.is_(None))
        async with self._term.transaction() as session:
            # While this loop waited for its turn another one may have read the table, and added to what it read.
            if self._standing is None:
                self._standing = {(row.kind, row.subject) for row in (await session.execute(query)).all()}
        return self._standing
