"""Long polls: any number of waiting requests cost one small query each fifth of a second, and hold no connection."""

import asyncio
import contextlib
from collections import defaultdict
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from models.statuses import OperationState
from models.tables.operations import Operation

EVERY = timedelta(milliseconds=200)


class DoneWatch:
    """Tells those who wait for an operation when it is DONE, or when the server stops."""

    def __init__(self, statements: async_sessionmaker[AsyncSession]) -> None:
        self._statements = statements
        self._waiting: dict[str, set[asyncio.Event]] = defaultdict(set)
        self._poll: asyncio.Task[None] | None = None
        self._closed = False

    async def wait(self, operation_id: str, limit: timedelta) -> None:
        """Returns when the operation is DONE, at the latest after ``limit``; the caller reads the row itself."""
        if self._closed:
            return
        woken = asyncio.Event()
        self._waiting[operation_id].add(woken)
        if self._poll is None or self._poll.done():
            self._poll = asyncio.create_task(self._poll_while_any_waits())
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(woken.wait(), limit.total_seconds())
        finally:
            self._forget(operation_id, woken)

    def close(self) -> None:
        """Lets everybody go, so that a stopping server need not wait for long polls."""
        self._closed = True
        for operation_id in list(self._waiting):
            self._wake(operation_id)

    async def aclose(self) -> None:
        """As ``close``, and returns when no look is under way: its connection must be back before the pool is closed."""
        self.close()
        if self._poll is not None:
            await self._poll

    async def _poll_while_any_waits(self) -> None:
        while self._waiting and not self._closed:
            await asyncio.sleep(EVERY.total_seconds())
            with contextlib.suppress(SQLAlchemyError):  # the database is away: whoever waits finds out when it reads
                for operation_id in await self._done():
                    self._wake(operation_id)

    async def _done(self) -> list[str]:
        asked = select(Operation.id).where(
            Operation.id.in_(list(self._waiting)), Operation.state == OperationState.DONE
        )
        async with self._statements() as session:
            return list(await session.scalars(asked))

    def _wake(self, operation_id: str) -> None:
        for woken in self._waiting.get(operation_id, ()):
            woken.set()

    def _forget(self, operation_id: str, woken: asyncio.Event) -> None:
        waiting = self._waiting[operation_id]
        waiting.discard(woken)
        if not waiting:
            del self._waiting[operation_id]
