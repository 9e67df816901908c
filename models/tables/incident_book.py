"""Opening and closing incidents. Every function works inside the caller's transaction and commits nothing."""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import Update, func, literal_column, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from models.ids import new_id
from models.statuses import EventType, IncidentKind
from models.tables.operations import Event
from models.tables.operators import Incident


async def open_incident(
    session: AsyncSession, kind: IncidentKind, subject: str, detail: str, rows: Sequence[str] = ()
) -> bool:
    """True where the incident is new: then operators are told by an event. One that is open already is brought up to date."""
    incident_id = new_id("inc")
    added = insert(Incident).values(id=incident_id, kind=kind, subject=subject, detail=detail, rows=list(rows))
    opened = await session.scalar(
        added.on_conflict_do_update(
            index_elements=["kind", "subject"],
            index_where=text("closed_at IS NULL"),
            set_={"detail": detail, "rows": list(rows), "seen_at": func.clock_timestamp()},
        ).returning(literal_column("xmax = 0"))
    )
    if not opened:
        return False
    payload = {"incident_id": incident_id, "kind": kind, "subject": subject, "detail": detail, "rows": list(rows)}
    session.add(Event(id=new_id("evt"), type=EventType.INCIDENT_OPENED, payload=payload))
    await session.flush()
    return True


async def close_incident(session: AsyncSession, kind: IncidentKind, subject: str) -> None:
    """What was wrong has passed or was seen to. Nothing happens where no such incident is open."""
    await session.execute(_closing(kind).where(Incident.subject == subject))


async def close_by_id(session: AsyncSession, incident_id: str) -> str | None:
    """What the incident was about; None where no such incident is open."""
    closing = update(Incident).where(Incident.id == incident_id, Incident.closed_at.is_(None))
    closed = closing.values(closed_at=func.clock_timestamp()).returning(Incident.kind, Incident.subject)
    row = (await session.execute(closed.execution_options(synchronize_session=False))).one_or_none()
    return None if row is None else f"{row.kind} {row.subject}"


async def close_others(
    session: AsyncSession, kind: IncidentKind, prefix: str, still: Collection[str], *, seen_before: datetime
) -> None:
    """Closes those of a kind that begin like this, are not among those still wrong, and were not seen again since a moment."""
    over = (Incident.subject.startswith(prefix), Incident.subject.not_in(still), Incident.seen_at < seen_before)
    await session.execute(_closing(kind).where(*over))


def _closing(kind: IncidentKind) -> Update:
    return (
        update(Incident)
        .where(Incident.kind == kind, Incident.closed_at.is_(None))
        .values(closed_at=func.clock_timestamp())
        .execution_options(synchronize_session=False)
    )
