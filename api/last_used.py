"""When each key was last used, to the minute or so, written beside the requests and never in their way.

The lane locks keys FOR SHARE in the transaction that gives a leg its nonce (chain/gates.py). A key that is locked is passed
over, and each write is one statement that commits by itself: so this never waits for money, and money never for more than that.
"""

import asyncio
from contextlib import suppress
from datetime import timedelta
from time import monotonic

import structlog
from sqlalchemy import func, or_, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from models.tables.administration import AdminKey
from models.tables.partners import ApiKey

EVERY = timedelta(minutes=1)
FLUSH_SECONDS = 5
_AT_ONCE = 100

Kind = type[ApiKey] | type[AdminKey]


class LastUsed:
    def __init__(self, statements: async_sessionmaker[AsyncSession]) -> None:
        self._statements = statements
        self._due_at: dict[str, int] = {}
        self._waiting: dict[Kind, set[str]] = {ApiKey: set(), AdminKey: set()}
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        self._task = asyncio.create_task(self._keep_writing())

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        await self._try_to_flush()

    def note(self, kind: Kind, key_id: str) -> None:
        """The key is used now. Nothing but memory is touched."""
        now = int(monotonic())
        if self._due_at.get(key_id, now) <= now:
            self._due_at[key_id] = now + int(EVERY.total_seconds())
            self._waiting[kind].add(key_id)

    async def flush(self) -> None:
        """Writes what waits. A key that is locked, or was written by another process in this minute, is passed over."""
        for kind, waiting in self._waiting.items():
            while waiting:
                some = sorted(waiting)[:_AT_ONCE]
                await self._write(kind, some)
                waiting.difference_update(some)

    async def _write(self, kind: Kind, key_ids: list[str]) -> None:
        due = or_(kind.last_used_at.is_(None), kind.last_used_at < func.now() - EVERY)
        free = select(kind.id).where(kind.id.in_(key_ids), due).order_by(kind.id)
        locked = free.with_for_update(key_share=True, skip_locked=True).cte("free")
        used = update(kind).where(kind.id == locked.c.id).values(last_used_at=func.now())
        async with self._statements() as session:
            await session.execute(used.execution_options(synchronize_session=False))

    async def _keep_writing(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            await self._try_to_flush()

    async def _try_to_flush(self) -> None:
        """What could not be written waits for the next time."""
        try:
            await self.flush()
        except (SQLAlchemyError, OSError, TimeoutError) as error:
            structlog.get_logger(__name__).debug("last use of keys not written", error=type(error).__name__)
