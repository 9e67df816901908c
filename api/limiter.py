"""Lets so many requests a minute through: counted in Valkey by all processes together, or here while Valkey is away.

Requests that come while Valkey is being asked are asked for together in the next round: a burst needs no more connections and
little more time than one request, and is not taken for a Valkey that is slow.

No request waits long for Valkey, and none fails because of it. The first that has no answer in time opens the breaker: from
then on this process counts by itself, at the same limits, and a task of its own asks every half second whether Valkey is back.
Operators are told by an incident, which another task writes, so that neither requests nor the return wait for PostgreSQL.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic_ns

import structlog
from sqlalchemy.exc import SQLAlchemyError

from api.windows import LocalWindows, Taken, ValkeyWindows
from models.statuses import IncidentKind
from models.tables.incident_book import close_incident, open_incident
from models.tables.session import Transaction

PATIENCE_SECONDS, LAST_LOOK_SECONDS = 0.2, 0.05
"""What a request waits for Valkey. The last look is for this process's own pauses: after one, an answer may have come and not
been read yet, and to take it for missing would let through what was refused."""
PROBE_SECONDS = 0.5
TELL_SECONDS, TELL_AGAIN_SECONDS = 30, 2
"""How often an incident is confirmed, since another process for which Valkey is back may have closed it; and after a failure."""
INCIDENT_SUBJECT = "valkey"
INCIDENT_DETAIL = (
    "Valkey does not answer at least one API process, which counts requests by itself: so long as this lasts, a partner may "
    "make its limit of requests at each process. Nothing else depends on Valkey."
)
_PROBED = "probe"
_PROBE_LIMIT = 1_000_000
_MANY, _AT_ONCE = 10_000, 200
_MILLISECOND = 1_000_000


class Limiter:
    """``shared`` is None where no Valkey is configured; then this process counts by itself, and that is no incident."""

    def __init__(self, shared: ValkeyWindows | None, transaction: Transaction) -> None:
        self._shared = shared
        self._local = LocalWindows()
        self._transaction = transaction
        self._full: dict[tuple[str, int], int] = {}
        self._waiting: list[tuple[str, int, asyncio.Future[Taken | None]]] = []
        self._round: asyncio.Task[None] | None = None
        self._calls: set[asyncio.Task[list[Taken]]] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._away = False
        self._lost, self._changed = asyncio.Event(), asyncio.Event()

    @property
    def counts_locally(self) -> bool:
        return self._shared is None or self._away

    @property
    def away(self) -> bool:
        """Valkey should count, and does not."""
        return self._away

    def open(self) -> None:
        """Begins to watch over Valkey, where there is one."""
        if self._shared is not None:
            self._tasks = [asyncio.create_task(self._watch(self._shared)), asyncio.create_task(self._tell())]

    async def aclose(self) -> None:
        running = [*self._tasks, *self._calls, *filter(None, [self._round])]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        if self._shared is not None:
            with suppress(Exception):  # a connection that cannot even be closed is gone
                await self._shared.aclose()

    async def take(self, key: str, limit: int) -> Taken:
        """One request of ``limit`` a minute. What was full is not asked for again until a place can be free."""
        known = self.refused(key, limit)
        if known is not None:
            return known
        taken = await self._count(key, limit)
        if not taken.accepted:
            self._remember(key, taken)
        return taken

    def refused(self, key: str, limit: int) -> Taken | None:
        """The refusal, where this process knows without asking that there is no place yet."""
        until = self._full.get((key, limit))
        if until is None:
            return None
        left = until - _now()
        if left > 0:
            return Taken(limit, accepted=False, remaining=0, frees_in=left)
        del self._full[key, limit]
        return None

    def _remember(self, key: str, taken: Taken) -> None:
        now = _now()
        if len(self._full) >= _MANY:
            self._full = {place: until for place, until in self._full.items() if until > now}
        self._full[key, taken.limit] = now + taken.frees_in

    async def _count(self, key: str, limit: int) -> Taken:
        if self._shared is not None and not self._away:
            answer: asyncio.Future[Taken | None] = asyncio.get_running_loop().create_future()
            self._waiting.append((key, limit, answer))
            if self._round is None or self._round.done():
                self._round = asyncio.create_task(self._ask_in_rounds(self._shared))
            taken = await answer
            if taken is not None:
                return taken
        return await self._local.take(key, limit)

    async def _ask_in_rounds(self, shared: ValkeyWindows) -> None:
        while self._waiting:
            together, self._waiting = self._waiting[:_AT_ONCE], self._waiting[_AT_ONCE:]
            taken: Sequence[Taken | None] | None = None
            try:
                if not self._away:
                    taken = await self._answer(shared, [(key, limit) for key, limit, _ in together])
                    self._away = taken is None
                    if self._away:
                        self._lost.set()
            finally:
                for (_, _, answer), one in zip(together, taken or [None] * len(together), strict=True):
                    if not answer.done():  # who has gone waits no more
                        answer.set_result(one)

    async def _answer(self, shared: ValkeyWindows, asked: Sequence[tuple[str, int]]) -> list[Taken] | None:
        """None where there is none in time. The call itself goes on, so that no connection is left with half an answer."""
        call = asyncio.create_task(shared.take(asked))
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        call.add_done_callback(_heard)
        for seconds in (PATIENCE_SECONDS, LAST_LOOK_SECONDS):
            if call in (await asyncio.wait({call}, timeout=seconds))[0]:
                return None if call.cancelled() or call.exception() is not None else call.result()
        return None

    async def _watch(self, shared: ValkeyWindows) -> None:
        """Asks at the start, and when a request had no answer, by a real count: a store that is full answers a PING, too."""
        warned = False
        while True:
            self._lost.clear()
            self._away = await self._answer(shared, [(_PROBED, _PROBE_LIMIT)]) is None
            if self._away is not warned:
                _say(away=self._away)
                warned = self._away
            self._changed.set()
            if self._away:
                await asyncio.sleep(PROBE_SECONDS)
            else:
                await self._lost.wait()

    async def _tell(self) -> None:
        """Keeps the incident as things are. A first word of good health closes what an earlier process left open."""
        told: bool | None = None
        await self._changed.wait()
        while True:
            self._changed.clear()
            away = self._away
            if away or away is not told:
                told = away if await self._write(away=away) else None
            with suppress(TimeoutError):
                async with asyncio.timeout(TELL_AGAIN_SECONDS if told is None else TELL_SECONDS):
                    await self._changed.wait()

    async def _write(self, *, away: bool) -> bool:
        try:
            async with self._transaction() as session:
                if away:
                    await open_incident(session, IncidentKind.RATE_LIMITS_LOCAL, INCIDENT_SUBJECT, INCIDENT_DETAIL)
                else:
                    await close_incident(session, IncidentKind.RATE_LIMITS_LOCAL, INCIDENT_SUBJECT)
        except (SQLAlchemyError, OSError, TimeoutError):
            return False
        return True


def _heard(call: asyncio.Task[list[Taken]]) -> None:
    """An error that nobody waited for any more is no news: the watch has it."""
    if not call.cancelled():
        call.exception()


def _say(*, away: bool) -> None:
    log = structlog.get_logger(__name__)
    if away:
        log.warning("valkey away, counting requests locally")
    else:
        log.info("valkey back, counting requests together")


def _now() -> int:
    return monotonic_ns() // _MILLISECOND
