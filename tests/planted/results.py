"""What came of each bug: a line of JSON, from which the fault report makes its table."""

import json
import sys
from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from tests.faults.results import KEPT, commit_now
from tests.planted.bug import Bug
from tests.planted.verdict import Verdict

NAME = "planted.jsonl"
_LONGEST = 160


@dataclass(frozen=True, slots=True)
class Result:
    """``code`` is the hash of the money code that the bug was planted into."""

    name: str
    file: str
    breaks: str
    test: str
    caught: bool
    how: str
    seconds: int
    commit: str
    code: str
    date: str

    @classmethod
    def of(cls, bug: Bug, verdict: Verdict, seconds: int, code: str) -> Self:
        caught = not verdict.passed and verdict.broken is None
        how = (verdict.how or verdict.broken or "its test passed")[:_LONGEST].replace("|", "\\|")
        date = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(bug.name, bug.file, bug.breaks, bug.test, caught, how, seconds, commit_now(), code, date)

    def record(self, folder: Path) -> None:
        path = folder / NAME
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as lines:
            lines.write(json.dumps(asdict(self)) + "\n")
        verdict = "caught  " if self.caught else "SURVIVED"
        sys.stdout.write(f"{verdict} {self.seconds:>3} s  {self.name}: {self.how}\n")
        sys.stdout.flush()


def caught_at(code: str) -> Collection[str]:
    """The bugs whose last result at this code is that they were caught."""
    path = KEPT / NAME
    lines = path.read_text().splitlines() if path.exists() else []
    here = [result for result in map(json.loads, lines) if result["code"] == code]
    last = {result["name"]: result["caught"] for result in here}
    return {name for name, caught in last.items() if caught}
