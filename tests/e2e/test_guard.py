"""A program that runs as somebody else still reaches what it needs."""

import os
import sys
from pathlib import Path

import pytest

from sandbox.services.process import Program, ensured, locked_folder, run_to_end, unprivileged_account

LOOK = "import os, sys; sys.exit(not os.access(sys.argv[1], os.X_OK))"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
async def test_a_program_of_nobody_finds_its_files_in_a_closed_folder(tmp_path: Path) -> None:
    """PostgreSQL asks access(2) for its own programs, also where a clone or its parent is closed to others."""
    closed = ensured(tmp_path / "closed")
    program = closed / "program"
    program.touch(mode=0o755)
    closed.chmod(0o700)
    look = Program(
        "look",
        (sys.executable, "-c", LOOK, str(program)),
        folder=tmp_path,
        log=tmp_path / "look.log",
        account=unprivileged_account(),
    )
    async with locked_folder(tmp_path) as lock:
        await run_to_end(look, lock)
