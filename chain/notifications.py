"""Hearing what PostgreSQL tells. A notification is only a reason to look: whoever listens looks now and then anyway."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

import psycopg
import structlog
from sqlalchemy import URL
from structlog.typing import FilteringBoundLogger

_KEEPALIVE: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
}
_RECONNECT_AFTER = timedelta(milliseconds=300)


class Listener:
    """Listens to one channel on a connection of its own, as an asynchronous context manager.

    ``heard`` gets each payload. ``connected`` is called whenever listening starts, also after the connection was lost:
    what was told in between is lost too, so the listener should look at everything then.
    """

    def __init__(
        self,
        url: URL,
        channel: str,
        *,
        heard: Callable[[str], None],
        connected: Callable[[], None],
        log: FilteringBoundLogger | None = None,
    ) -> None:
        self._conninfo = url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._channel = channel
        self._heard = heard
        self._connected = connected
        self._log = log or structlog.get_logger()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._listen_for_ever(), name=f"listen to {self._channel}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _listen_for_ever(self) -> None:
        while True:
            try:
                await self._listen()
            except psycopg.Error as error:
                self._log.warning("listening_lost", channel=self._channel, error=type(error).__name__)
            await asyncio.sleep(_RECONNECT_AFTER.total_seconds())

    async def _listen(self) -> None:
        async with await self._connect() as connection:
            await connection.execute(psycopg.sql.SQL("LISTEN {}").format(psycopg.sql.Identifier(self._channel)))
            self._connected()
            async for told in connection.notifies():
                self._heard(told.payload)

    async def _connect(self) -> psycopg.AsyncConnection:
        """A connection that is made while this is cancelled is closed, since nobody else knows of it."""
        connecting = asyncio.ensure_future(
            psycopg.AsyncConnection.connect(self._conninfo, autocommit=True, **_KEEPALIVE)
        )
        try:
            return await asyncio.shield(connecting)
        except asyncio.CancelledError:
            with suppress(psycopg.Error):
                await (await connecting).close()
            raise
