"""The demo checks itself; these tests check that it does so, goes on where it was, and leaves nothing running."""

import asyncio
import signal
import stat
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import pytest

from sandbox.services.process import ensured, locked_folder
from sandbox.world import PARTS

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = timedelta(minutes=3)
SEEDING = "Contracts, pool, two credit lines"


async def start_demo(folder: Path, *flags: str) -> Process:
    command = [sys.executable, "-m", "sandbox.demo", "--folder", str(folder), *flags]
    return await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=PIPE, stderr=STDOUT)


async def tell_once(folder: Path) -> str:
    """What the demo printed; it ended well and left nothing behind."""
    async with asyncio.timeout(PATIENCE.total_seconds()):
        demo = await start_demo(folder, "--once")
        printed, _ = await demo.communicate()
    assert demo.returncode == 0, printed.decode()
    assert await nothing_runs(folder)
    return printed.decode()


async def audit_what_is_left(folder: Path) -> str:
    """The audit of a demo that has ended finds every invariant to hold, and leaves nothing running either."""
    command = [sys.executable, "-m", "sandbox.audit", "--folder", str(folder)]
    audit = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=PIPE, stderr=STDOUT)
    printed, _ = await audit.communicate()
    assert audit.returncode == 0, printed.decode()
    assert await nothing_runs(folder)
    return printed.decode()


async def nothing_runs(folder: Path) -> bool:
    """Whoever works in a part's folder holds its lock for as long as it lives."""
    async with AsyncExitStack() as locks:
        for part in PARTS:
            await locks.enter_async_context(locked_folder(ensured(folder / part)))
    return True


@pytest.mark.timeout(600)
async def test_the_demo_ends_well_goes_on_and_starts_afresh_when_its_chain_is_gone(tmp_path: Path) -> None:
    """A second start borrows again on the same contracts; without the chain's state everything is made anew."""
    assert SEEDING in await tell_once(tmp_path)
    manifest = (tmp_path / "manifest.json").read_text()
    assert stat.S_IMODE((tmp_path / "demo.env").stat().st_mode) == stat.S_IRUSR | stat.S_IWUSR
    assert "Every invariant holds" in await audit_what_is_left(tmp_path)
    assert SEEDING not in await tell_once(tmp_path)
    assert (tmp_path / "manifest.json").read_text() == manifest
    (tmp_path / "anvil" / "state.json").unlink()
    printed = await tell_once(tmp_path)
    assert "starting afresh" in printed
    assert SEEDING in printed


async def test_an_interrupted_start_leaves_nothing_running(tmp_path: Path) -> None:
    """Ctrl-C is heard while the parts start, too."""
    demo = await start_demo(tmp_path)
    assert demo.stdout is not None
    async with asyncio.timeout(PATIENCE.total_seconds()):
        await demo.stdout.readuntil(SEEDING.encode())
        demo.send_signal(signal.SIGINT)
        printed = await demo.stdout.read()
        assert await demo.wait() == 128 + signal.SIGINT, printed.decode()
    assert b"Traceback" not in printed
    assert await nothing_runs(tmp_path)
