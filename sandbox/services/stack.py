"""All four parts at once, on one folder."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from sandbox.services.anvil import Anvil, AnvilOptions
from sandbox.services.postgres import Postgres, PostgresOptions
from sandbox.services.process import ensured, locked_folder
from sandbox.services.temporal import Temporal, TemporalOptions
from sandbox.services.valkey import Valkey, ValkeyOptions


@dataclass(frozen=True)
class StackOptions:
    """The defaults are the demo's: everything is kept, on the usual ports where they are free."""

    postgres: PostgresOptions = field(default=PostgresOptions(port=5432))
    temporal: TemporalOptions = field(default=TemporalOptions(port=7233, ui=True, ui_port=8233, persistent=True))
    valkey: ValkeyOptions = field(default=ValkeyOptions(port=6379, persistent=True))
    anvil: AnvilOptions = field(
        default=AnvilOptions(port=8545, persistent=True, block_time=timedelta(seconds=1)),
    )

    @classmethod
    def throwaway(cls, block_time: timedelta | None = None) -> "StackOptions":
        """Fast, on any free ports, nothing kept."""
        return cls(
            PostgresOptions(durable=False), TemporalOptions(), ValkeyOptions(), AnvilOptions(block_time=block_time)
        )


DEMO = StackOptions()
A_KILLED_PROCESS_ENDS = timedelta(seconds=1)


@dataclass(frozen=True)
class Stack:
    postgres: Postgres
    temporal: Temporal
    valkey: Valkey
    anvil: Anvil

    @property
    def database_url(self) -> str:
        return self.postgres.url

    @property
    def temporal_address(self) -> str:
        return self.temporal.address

    @property
    def temporal_ui_url(self) -> str | None:
        return self.temporal.ui_url

    @property
    def valkey_url(self) -> str:
        return self.valkey.url

    @property
    def rpc_url(self) -> str:
        return self.anvil.url

    @classmethod
    @asynccontextmanager
    async def start(cls, folder: Path, options: StackOptions = DEMO) -> AsyncIterator["Stack"]:
        """Start the four at the same time; one that fails stops the others. FolderInUseError if the folder is taken."""
        # The parts wait for what a killed run left; another sandbox that is alive is told apart here, before that.
        folder = ensured(folder)
        async with locked_folder(folder, A_KILLED_PROCESS_ENDS), AsyncExitStack() as parts:
            yield cls(*await _start_parts(folder, options, parts))


async def _start_parts(
    folder: Path, options: StackOptions, parts: AsyncExitStack
) -> tuple[Postgres, Temporal, Valkey, Anvil]:
    try:
        async with asyncio.TaskGroup() as group:
            enter = parts.enter_async_context
            postgres = group.create_task(enter(Postgres.start(folder / "postgres", options.postgres)))
            temporal = group.create_task(enter(Temporal.start(folder / "temporal", options.temporal)))
            valkey = group.create_task(enter(Valkey.start(folder / "valkey", options.valkey)))
            anvil = group.create_task(enter(Anvil.start(folder / "anvil", options.anvil)))
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None  # one cause is enough for a message; the others were cancelled
    return postgres.result(), temporal.result(), valkey.result(), anvil.result()
