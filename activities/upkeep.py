"""The upkeep of the tables: a list of parts, of which one that fails stops no other and is told to a person.

A new part is one more ``UpkeepPart`` in wiring.py. It may be run at any time and as often as one likes, and returns what it did
in words for the workflow's result.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog
from temporalio import activity

from activities.heartbeats import with_heartbeats
from models.messages.upkeep import PartReport, UpkeepReport
from models.redaction import redacted
from models.statuses import IncidentKind
from models.tables.incident_book import close_incident, open_incident
from models.tables.session import Transaction

_DETAIL = 500


@dataclass(frozen=True, slots=True)
class UpkeepPart:
    """``name`` is the subject of the incident that is open for as long as the part fails."""

    name: str
    run: Callable[[], Awaitable[str]]


class UpkeepActivities:
    def __init__(self, transaction: Transaction, parts: Sequence[UpkeepPart]) -> None:
        self._transaction = transaction
        self._parts = tuple(parts)

    @activity.defn
    async def upkeep(self) -> UpkeepReport:
        """Runs every part. Raises only where PostgreSQL cannot even be told which of them failed."""
        return await with_heartbeats(self._all())

    async def _all(self) -> UpkeepReport:
        return UpkeepReport(parts=tuple([await self._one(part) for part in self._parts]))

    async def _one(self, part: UpkeepPart) -> PartReport:
        try:
            report = PartReport(part=part.name, said=await part.run())
        except Exception as error:  # noqa: BLE001 - whatever it fails of, the other parts run and a person is told
            structlog.get_logger().exception("upkeep failed", part=part.name)
            report = PartReport(part=part.name, said=why(error), failed=True)
        async with self._transaction() as session:
            if report.failed:
                await open_incident(session, IncidentKind.UPKEEP_FAILED, part.name, report.said)
            else:
                await close_incident(session, IncidentKind.UPKEEP_FAILED, part.name)
        return report


def why(error: Exception) -> str:
    """The first line only: what follows in an error of the database are statements and their parameters."""
    first, *_ = str(error).splitlines() or [""]
    return redacted(f"{type(error).__name__}: {first}")[:_DETAIL]
