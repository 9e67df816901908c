"""Where campaigns find servers: each is started when it is first asked for, once per process, and shared by the parts."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Self, TypeVar
from uuid import uuid4

from sandbox.services import Anvil, AnvilOptions, Postgres, PostgresOptions, Temporal
from tests.database import migrate

Opened = TypeVar("Opened")
_TEMPLATE = "template_faults"


class Grounds:
    """A database, a namespace or a chain is cheap once its server runs; a campaign that breaks a server starts its own."""

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._opened: dict[str, asyncio.Future[Any]] = {}

    @classmethod
    @asynccontextmanager
    async def open(cls) -> AsyncIterator[Self]:
        """All that was started ends with the block, and its folder is removed."""
        folder = Path(tempfile.mkdtemp(prefix="faults-"))
        try:
            async with AsyncExitStack() as stack:
                yield cls(folder, stack)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    async def once(self, name: str, opening: Callable[[], AbstractAsyncContextManager[Opened]]) -> Opened:
        """What was opened under this name; opened now, and kept for later parts, if nothing was."""
        if name not in self._opened:
            self._opened[name] = asyncio.ensure_future(self._stack.enter_async_context(opening()))
        opened: Opened = await asyncio.shield(self._opened[name])
        return opened

    async def postgres(self) -> Postgres:
        """Survives a kill of its process, but not of the machine."""
        options = PostgresOptions(durable=False)
        return await self.once("postgres", lambda: Postgres.start(self.folder("postgres"), options))

    async def temporal(self) -> Temporal:
        """A server in memory: it forgets all when it is killed."""
        return await self.once("temporal", lambda: Temporal.start(self.folder("temporal")))

    async def anvil(self, block_time: timedelta | None = None) -> Anvil:
        """A chain that mines by the clock, or each transaction at once. Its accounts are shared: make new ones."""
        name = f"anvil-{block_time}"
        return await self.once(name, lambda: Anvil.start(self.folder("anvil"), AnvilOptions(block_time=block_time)))

    async def database(self) -> str:
        """The URL of a new database at the newest revision."""
        postgres = await self.postgres()
        await self.once(_TEMPLATE, lambda: _migrated_template(postgres))
        return await postgres.create_database(f"faults_{uuid4().hex}", _TEMPLATE)

    def folder(self, name: str) -> Path:
        """A new folder, whose name begins with this one."""
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self._folder))


@asynccontextmanager
async def _migrated_template(postgres: Postgres) -> AsyncIterator[None]:
    await asyncio.to_thread(migrate, await postgres.create_database(_TEMPLATE))
    yield
