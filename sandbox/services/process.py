"""Starting, watching and stopping one service process, and the words for it when that fails.

SandboxError
├── FolderInUseError     another sandbox, or the rest of one, works in this folder
└── ServiceStartError    a part did not start: which, by what command, and what it said last
"""

import asyncio
import fcntl
import json
import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import psutil

from sandbox.errors import SandboxError

GUARD = Path(__file__).with_name("guard.py")
LOG_TAIL_LINES = 15
POLL_SECONDS = 0.02
START_LIMIT = timedelta(seconds=60)
LEFTOVERS_LIMIT = timedelta(seconds=30)


class FolderInUseError(SandboxError):
    def __init__(self, folder: Path) -> None:
        super().__init__(f"{folder} is in use by another sandbox; stop that one first, or choose another folder")
        self.folder = folder


class ServiceStartError(SandboxError):
    def __init__(self, program: "Program", reason: str) -> None:
        tail = "\n".join(f"    {line}" for line in last_lines(program.log)) or "    (its log is empty)"
        super().__init__(
            f"{program.part} did not start: {reason}\n"
            f"  command: {' '.join(program.argv)}\n"
            f"  last lines of {program.log}:\n{tail}"
        )
        self.part = program.part


@dataclass(frozen=True)
class Program:
    """What to run. `stops` are the signals that end it, gentlest first, each with the seconds it has for that.

    `environment` is all that it gets of one; without it the program inherits ours.
    """

    part: str
    argv: tuple[str, ...]
    folder: Path
    log: Path
    stops: tuple[tuple[signal.Signals, int], ...] = ((signal.SIGTERM, 10),)
    account: tuple[int, int] | None = None
    orphans_seconds: int = field(default=5, kw_only=True)
    environment: Mapping[str, str] | None = field(default=None, kw_only=True, repr=False)


def last_lines(log: Path) -> list[str]:
    if not log.exists():
        return []
    return log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]


def unprivileged_account() -> tuple[int, int] | None:
    """Whom a program that refuses root should run as: nobody, if we are root; ourselves (None) otherwise."""
    if os.geteuid() != 0:
        return None
    entry = pwd.getpwnam("nobody")
    return entry.pw_uid, entry.pw_gid


def ensured(folder: Path) -> Path:
    """The folder as an absolute path, created if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder.resolve()


@asynccontextmanager
async def locked_folder(folder: Path, patience: timedelta = timedelta()) -> AsyncIterator[int]:
    """The folder for one user at a time. Yields the lock as an open descriptor.

    A program that inherits the descriptor keeps the lock for as long as it lives. So whoever gets the lock knows that
    nothing of an earlier run is still working in the folder, even if that run was killed a moment ago; `patience` is
    how long to wait for such leftovers. The lock sits on the folder itself: there is no lock file to leave behind.
    """
    lock = os.open(folder, os.O_RDONLY)
    try:
        deadline = time.monotonic() + patience.total_seconds()
        while not _try_lock(lock):
            if time.monotonic() >= deadline:
                raise FolderInUseError(folder)
            await asyncio.sleep(POLL_SECONDS)
        yield lock
    finally:
        os.close(lock)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class Process:
    """One program under its keeper (guard.py). It can be killed, frozen and started again, as the fault tests need."""

    def __init__(self, program: Program, lock: int, ready: Callable[[], Awaitable[bool]] | None = None) -> None:
        self.program = program
        self._lock = lock
        self._ready = ready
        self._keeper: subprocess.Popen[bytes] | None = None
        self._lifeline: int | None = None

    @property
    def running(self) -> bool:
        return self._keeper is not None and self._keeper.poll() is None

    @property
    def pids(self) -> list[int]:
        """The program's own process first, then those it started."""
        return [process.pid for process in self._tree()]

    def _tree(self) -> list[psutil.Process]:
        if self._keeper is None or not self.running:
            return []
        return psutil.Process(self._keeper.pid).children(recursive=True)

    def spawn(self) -> None:
        lifeline, self._lifeline = os.pipe()
        spec = {
            "argv": self.program.argv,
            "folder": str(self.program.folder),
            "account": self.program.account,
            "stops": self.program.stops,
            "orphans_seconds": self.program.orphans_seconds,
            "lifeline": lifeline,
        }
        try:
            with self.program.log.open("ab") as log:
                self._keeper = subprocess.Popen(
                    [sys.executable, "-I", "-S", str(GUARD), json.dumps(spec)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(lifeline, self._lock),
                    start_new_session=True,
                    env=self.program.environment,
                )
        finally:
            os.close(lifeline)

    async def start(self, limit: timedelta = START_LIMIT) -> None:
        """Run the program, again if it was stopped or killed, and return when it is ready to serve."""
        self.spawn()
        try:
            async with asyncio.timeout(limit.total_seconds()):
                await self._until_ready()
        except TimeoutError:
            await self.stop()
            raise ServiceStartError(self.program, f"it did not answer within {limit}") from None
        except BaseException:
            await self.stop()
            raise

    async def _until_ready(self) -> None:
        # Alive is asked first: what answers on the port of a dead program is somebody else.
        while self.running:
            if self._ready is None or await self._ready():
                return
            await asyncio.sleep(POLL_SECONDS)
        raise ServiceStartError(self.program, f"it ended with exit code {await self.ended()}")

    async def ended(self) -> int:
        """The exit code, once the program and everything it started have ended."""
        if self._keeper is None:
            return 0
        # There is no event to wait for that works in every thread and event loop.
        while self._keeper.poll() is None:  # noqa: ASYNC110
            await asyncio.sleep(POLL_SECONDS)
        return self._keeper.returncode

    async def stop(self) -> None:
        """End the program gently if it can be; return when nothing of it is left. Stopping twice is fine."""
        self.thaw()
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None
        await self.ended()

    async def kill(self) -> None:
        """End the program as kill -9 does, and return when nothing of it is left."""
        for process in self._tree()[:1]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        await self.stop()

    def freeze(self) -> None:
        """Stop the program's clock, with all it started, until thaw()."""
        for process in self._tree():
            with suppress(psutil.NoSuchProcess):
                process.suspend()

    def thaw(self) -> None:
        for process in self._tree():
            with suppress(psutil.NoSuchProcess):
                process.resume()


@asynccontextmanager
async def running(
    program: Program, lock: int, ready: Callable[[], Awaitable[bool]], limit: timedelta
) -> AsyncIterator[Process]:
    process = Process(program, lock, ready)
    await process.start(limit)
    try:
        yield process
    finally:
        await process.stop()


async def run_to_end(program: Program, lock: int) -> None:
    """Run a program that does its work and ends, such as initdb."""
    process = Process(program, lock)
    process.spawn()
    try:
        code = await process.ended()
    finally:
        await process.stop()
    if code != 0:
        raise ServiceStartError(program, f"it ended with exit code {code}")
