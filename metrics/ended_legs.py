"""How long legs took and how many attempts they needed, from their rows, without an index that money would pay for.

Between two looks a leg either was live and is no more, or is new: both are found by their numbers. What ended before this
process looked first is not told, as with every histogram that lives in a process.
"""

from prometheus_client import CollectorRegistry
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from metrics.catalogue import LEG_ATTEMPTS, LEG_SECONDS
from metrics.endpoint import histogram
from models.statuses import LIVE_STATES
from models.tables.base import sql_words

_OVERLAP = 1_000
"""Rows are committed in another order than they were numbered in: so many of the newest are looked at again."""
_MOST = 5_000

_LIVE = text(f"SELECT id FROM chain_transactions WHERE state IN ({sql_words(*LIVE_STATES)})")  # noqa: S608 - the words are this code's own
_NEWEST = text("SELECT coalesce(max(id), 0) FROM chain_transactions")
_ENDED = text(
    """
    SELECT leg.id, leg.leg, leg.state, extract(epoch FROM leg.final_at - leg.queued_at)::double precision AS seconds,
        (SELECT count(*) FROM chain_attempts AS attempt WHERE attempt.transaction_id = leg.id) AS attempts
    FROM chain_transactions AS leg
    WHERE (leg.id = ANY(:ended) OR leg.id > :since) AND leg.final_at IS NOT NULL AND leg.state LIKE 'FINAL%'
    ORDER BY leg.id LIMIT :most
    """
)


class EndedLegs:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._seconds = histogram(LEG_SECONDS, registry)
        self._attempts = histogram(LEG_ATTEMPTS, registry)
        self._first: int | None = None
        self._newest = 0
        self._live: set[int] = set()
        self._told: set[int] = set()

    async def look(self, session: AsyncSession) -> None:
        """Observes each leg that became final since the last look, once."""
        newest: int = (await session.execute(_NEWEST)).scalar_one()
        live = set((await session.execute(_LIVE)).scalars())
        if self._first is not None:
            since = max(self._first, self._newest - _OVERLAP)
            await self._observe(session, self._live - live, since)
            self._told = {each for each in self._told if each > newest - _OVERLAP}
        self._first = newest if self._first is None else self._first
        self._newest, self._live = newest, live

    async def _observe(self, session: AsyncSession, ended: set[int], since: int) -> None:
        asked = {"ended": sorted(ended), "since": since, "most": _MOST}
        for row in await session.execute(_ENDED, asked):
            if row.id in self._told:
                continue
            self._told.add(row.id)
            name = row.leg.partition("-")[0]  # residues are numbered
            self._seconds.labels(name, row.state).observe(row.seconds)
            if row.attempts > 0:
                self._attempts.labels(name).observe(row.attempts)
