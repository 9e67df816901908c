"""Deliveries of webhooks: what waits, and what came of each try since this worker began to look.

Tries are found by their ids, which sort by the time they were made: no index is paid for by those who deliver.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from prometheus_client import CollectorRegistry
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from ulid import ULID

from metrics import catalogue
from metrics.endpoint import counter
from metrics.samples import Sample
from models.statuses import OPEN_DELIVERIES

_OVERLAP = timedelta(seconds=60)
"""Tries are committed in another order than they were named in, by clocks that differ: the newest are looked at again."""
_MOST = 20_000
_NO_ANSWER = "none"
_OUTCOMES = ("1xx", "2xx", "3xx", "4xx", "5xx", _NO_ANSWER)

_WAITING = text(
    """
    SELECT 'PENDING' AS state, count(*), extract(epoch FROM clock_timestamp() - min(created_at))
    FROM webhook_deliveries WHERE state = 'PENDING'
    UNION ALL
    SELECT 'RUNNING', count(*), extract(epoch FROM clock_timestamp() - min(created_at))
    FROM webhook_deliveries WHERE look_at IS NOT NULL AND state <> 'PENDING' AND state = 'RUNNING'
    """
)
_EVENTS = text(
    """
    SELECT count(*), extract(epoch FROM clock_timestamp() - min(created_at))
    FROM events WHERE fanned_out_at IS NULL AND partner_id IS NOT NULL
    """
)
_NOW = text("SELECT clock_timestamp()")
_TRIES = text("SELECT id, status / 100 AS class FROM webhook_attempts WHERE id >= :since ORDER BY id LIMIT :most")


async def read_deliveries(session: AsyncSession) -> Sequence[Sample]:
    samples = []
    for state, count, oldest in await session.execute(_WAITING):
        samples.append(Sample(catalogue.WEBHOOKS_OPEN, count, (state,)))
        samples.append(Sample(catalogue.WEBHOOK_OLDEST, oldest or Decimal(), (state,)))
    assert {each.labels[0] for each in samples} == OPEN_DELIVERIES  # noqa: S101 - a new state must be asked for above
    return samples


async def read_events(session: AsyncSession) -> Sequence[Sample]:
    count, oldest = (await session.execute(_EVENTS)).one()
    return [Sample(catalogue.EVENTS_WAITING, count), Sample(catalogue.EVENT_OLDEST, oldest or Decimal())]


class WebhookTries:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._tries = counter(catalogue.WEBHOOK_TRIES, registry)
        for outcome in _OUTCOMES:
            self._tries.labels(outcome)
        self._since: datetime | None = None
        self._first: datetime | None = None
        self._told: set[str] = set()

    async def look(self, session: AsyncSession) -> None:
        """Counts each try that was made since the first look, once."""
        now: datetime = (await session.execute(_NOW)).scalar_one()
        if self._first is None or self._since is None:
            self._first = self._since = now
            return
        asked = {"since": _first_id(max(self._first, self._since - _OVERLAP)), "most": _MOST}
        found = (await session.execute(_TRIES, asked)).all()
        for row in found:
            if row.id not in self._told:
                self._tries.labels(_NO_ANSWER if row[1] is None else f"{row[1]}xx").inc()
        self._told, self._since = {row.id for row in found}, now


def _first_id(moment: datetime) -> str:
    """No try that was made at this moment or later has a smaller id."""
    return f"wat_{str(ULID.from_datetime(moment))[:10]}"
