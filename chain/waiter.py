"""Waiting for legs, thousands at a time, on one database connection and one query (money.md section 2, ``confirm``)."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice
from types import TracebackType
from typing import Self

import structlog
from sqlalchemy import URL, ColumnElement, or_, select, tuple_
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession
from structlog.typing import FilteringBoundLogger

from chain.broken import LegUnknown
from chain.notifications import Listener
from chain.transactions import find, outcome, outcome_columns
from models.messages.legs import LegOutcome
from models.statuses import WITHOUT_EFFECT_STATES, TransactionState
from models.tables.session import Transaction
from models.tables.transactions import ChainTransaction

_SETTLED = WITHOUT_EFFECT_STATES | {TransactionState.FINAL_OK, TransactionState.HELD}
_KEYS_PER_QUERY = 1_000
_RETRY_AFTER = timedelta(milliseconds=500)

Key = tuple[str, str, int]
"""Operation, leg and generation."""


@dataclass(eq=False)
class _Wait:
    held_is_known: bool
    settled: asyncio.Future[LegOutcome] = field(default_factory=asyncio.Future)

    def ends_with(self, state: TransactionState) -> bool:
        return state in _SETTLED and not (state is TransactionState.HELD and self.held_is_known)

    def tell(self, found: LegOutcome) -> None:
        if self.ends_with(found.state) and not self.settled.done():
            self.settled.set_result(found)


class LegWaiter:
    """Use as an asynchronous context manager, one for each process.

    A notification names a row, and only that row is read; every ``safety_poll`` all waited rows are. While PostgreSQL is
    away the waits go on.
    """

    def __init__(
        self,
        transaction: Transaction,
        url: URL,
        *,
        safety_poll: timedelta = timedelta(seconds=2),
        log: FilteringBoundLogger | None = None,
    ) -> None:
        self._transaction = transaction
        self._safety_poll = safety_poll
        self._log = log or structlog.get_logger()
        self._waits: defaultdict[Key, set[_Wait]] = defaultdict(set)
        self._new: set[Key] = set()
        self._changed: set[int] = set()
        self._wake = asyncio.Event()
        self._listener = Listener(url, "leg_settled", heard=self._heard, connected=self._look_at_all)
        self._pump: asyncio.Task[None] | None = None
        self._stopping = False

    async def __aenter__(self) -> Self:
        await self._listener.__aenter__()
        self._pump = asyncio.create_task(self._look_for_ever(), name="wait for legs")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The pump ends by itself: a query that is cut off would leave its connection to nobody.
        self._stopping = True
        self._wake.set()
        if self._pump is not None:
            await self._pump
        await self._listener.__aexit__(kind, error, trace)

    async def wait(
        self, operation_id: str, leg: str, generation: int, *, timeout_seconds: int, held_is_known: bool = False
    ) -> LegOutcome:
        """The leg's outcome once it is certain, or HELD, unless that is known. At the timeout: as it stands then.

        Raises LegUnknown where at the timeout there is no such leg.
        """
        key, wait = (operation_id, leg, generation), _Wait(held_is_known)
        self._waits[key].add(wait)
        self._new.add(key)
        self._wake.set()
        try:
            async with asyncio.timeout(timeout_seconds):
                return await wait.settled
        except TimeoutError:
            return await self._as_it_stands(key, wait)
        finally:
            self._forget(key, wait)

    async def _as_it_stands(self, key: Key, wait: _Wait) -> LegOutcome:
        async with self._transaction() as session:
            row = await find(session, *key)
        if row is None:
            raise LegUnknown(*key)
        return outcome(row).model_copy(update={"patience_ended": not wait.ends_with(row.state)})

    def _forget(self, key: Key, wait: _Wait) -> None:
        self._waits[key].discard(wait)
        if not self._waits[key]:
            del self._waits[key]

    def _heard(self, payload: str) -> None:
        self._changed.add(int(payload))
        self._wake.set()

    def _look_at_all(self) -> None:
        self._new.update(self._waits)
        self._wake.set()

    async def _look_for_ever(self) -> None:
        while not self._stopping:
            try:
                async with asyncio.timeout(self._safety_poll.total_seconds()):
                    await self._wake.wait()
            except TimeoutError:
                self._look_at_all()
            self._wake.clear()
            try:
                await self._look()
            except (SQLAlchemyError, OSError) as error:
                self._log.warning("legs_not_read", waiting=len(self._waits), error=type(error).__name__)
                await asyncio.sleep(_RETRY_AFTER.total_seconds())
                self._look_at_all()

    async def _look(self) -> None:
        """Reads what changed and what is newly waited for. What comes while this reads is left for the next look."""
        changed, self._changed = self._changed, set()
        keys, self._new = self._new & self._waits.keys(), set()
        if not self._waits or not (changed or keys):
            return
        async with self._transaction() as session:
            await self._resolve(session, ChainTransaction.id.in_(changed) if changed else None, [])
            for chunk in _chunks(keys):
                await self._resolve(session, None, chunk)

    async def _resolve(self, session: AsyncSession, changed: ColumnElement[bool] | None, keys: list[Key]) -> None:
        asked = [] if changed is None else [changed]
        if keys:
            columns = tuple_(ChainTransaction.operation_id, ChainTransaction.leg, ChainTransaction.generation)
            asked.append(columns.in_(keys))
        if not asked:
            return
        query = select(ChainTransaction).where(or_(*asked), ChainTransaction.state.in_(_SETTLED))
        for row in (await session.scalars(query.options(outcome_columns()))).all():
            for wait in self._waits.get((row.operation_id, row.leg, row.generation), ()):
                wait.tell(outcome(row))


def _chunks(keys: Iterable[Key]) -> Iterable[list[Key]]:
    rest = iter(keys)
    while chunk := list(islice(rest, _KEYS_PER_QUERY)):
        yield chunk
