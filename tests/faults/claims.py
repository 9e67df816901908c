"""Several runners beside each other, each with servers of its own: a part is run by whoever claims it first."""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.faults.campaign import Part
from tests.faults.results import ROOT


@dataclass(frozen=True)
class Claims:
    """A folder with an empty file for each part that somebody runs or has run."""

    folder: Path

    def take(self, part: Part) -> bool:
        """False where another was first."""
        try:
            self._of(part).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def taken(self, part: Part) -> bool:
        return self._of(part).exists()

    def _of(self, part: Part) -> Path:
        return self.folder / f"{part.campaign} {part.name}"


def run_side_by_side(arguments: Sequence[str], runners: int) -> int:
    """So many processes with these arguments, which end when no part is left; exit status 1 where one of them had a breach.

    Every other one begins at the end, where long parts are as well: none of them is left over to be waited for.
    """
    with tempfile.TemporaryDirectory(prefix="claims-") as folder:
        command = [sys.executable, "-m", "tests.faults", *arguments, "--jobs", "1", "--claims", folder]
        orders = [["--backwards"] if number % 2 else [] for number in range(runners)]
        running = [subprocess.Popen([*command, *order], cwd=ROOT) for order in orders]  # noqa: S603 - this very program
        return max(min(abs(process.wait()), 1) for process in running)
