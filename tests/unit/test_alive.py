"""The health check of a worker: whether its event loop turns."""

import asyncio
import os
import time
from datetime import timedelta
from pathlib import Path

import pytest

import alive
from alive import STALE, beating, is_alive, main


async def test_a_worker_is_alive_while_its_loop_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is there from the start, is touched again and again, and is gone when the worker is."""
    monkeypatch.setattr(alive, "BEAT", timedelta(milliseconds=5))
    file = tmp_path / "alive"
    async with beating(file):
        assert main([str(file)]) == 0
        made_old(file)
        assert main([str(file)]) == 1
        async with asyncio.timeout(10):
            while not is_alive(file):  # noqa: ASYNC110 - what is waited for is a time on the disk
                await asyncio.sleep(0.005)
    assert main([str(file)]) == 1


async def test_nothing_is_written_where_no_file_is_named(tmp_path: Path) -> None:
    """A worker without the setting leaves no trace."""
    async with beating(None):
        assert list(tmp_path.iterdir()) == []  # noqa: ASYNC240 - the folder is the test's own


def made_old(file: Path) -> None:
    then = time.time() - 2 * STALE.total_seconds()
    os.utime(file, (then, then))
