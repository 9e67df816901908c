"""No service outlives who started it, however that one ends."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from sandbox.services import Stack, StackOptions, Valkey
from sandbox.services.process import Process

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = timedelta(seconds=30)


def gone(pids: list[int]) -> bool:
    return bool(pids) and not any(psutil.pid_exists(pid) for pid in pids)


STARTER = """
import asyncio, sys, threading
from pathlib import Path
from sandbox.services import Stack, StackOptions

async def main():
    async with Stack.start(Path(sys.argv[1]), StackOptions.throwaway()) as stack:
        parts = (stack.postgres, stack.temporal, stack.valkey, stack.anvil)
        print(*(pid for part in parts for pid in part.process.pids), flush=True)
        await asyncio.sleep(3600)

thread = threading.Thread(target=asyncio.run, args=(main(),))
thread.start()
thread.join()
"""


@dataclass(frozen=True)
class Starter:
    process: subprocess.Popen[bytes]
    services: list[int]


@pytest.fixture
def starter(tmp_path: Path) -> Iterator[Starter]:
    """Another Python process that has started the four parts, from a thread that is not its first."""
    command = [sys.executable, "-c", STARTER, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:  # noqa: S603  # our own program
        assert process.stdout is not None
        yield Starter(process, [int(pid) for pid in process.stdout.readline().split()])
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_nothing_outlives_a_killed_starter(starter: Starter, tmp_path: Path, number: signal.Signals) -> None:
    """However the starter ends, its services end too, and the next start on the folder needs no care."""
    assert len(starter.services) > len(("postgres", "temporal", "valkey", "anvil"))
    starter.process.send_signal(number)
    starter.process.wait()
    async with Stack.start(tmp_path, StackOptions.throwaway()) as stack:
        assert gone(starter.services)
        assert stack.postgres.process.running


async def test_a_service_does_not_outlive_its_keeper(tmp_path: Path) -> None:
    """Should the keeper itself be killed, the kernel ends the service."""
    async with Valkey.start(tmp_path) as valkey:
        pids = valkey.process.pids
        kill_keeper(valkey.process)
        async with asyncio.timeout(PATIENCE.total_seconds()):
            while not gone(pids):  # noqa: ASYNC110  # another process does not set our events
                await asyncio.sleep(0.01)


def kill_keeper(process: Process) -> None:
    assert process._keeper is not None
    process._keeper.kill()
