"""The record of every part that ran: a line of JSON each, which is never changed, only added to.

A result counts while the code that can lose money is what it was, so each line carries that code's hash.
"""

import hashlib
import json
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.faults.campaign import Part, Report

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "docs/faults"
"""Where full figures are recorded: committed, so that they resume on another machine, and the raw record can be read."""
PASSING = ROOT / "var/faults"
"""Where a seeded slice is recorded, which each machine runs for itself."""
_MONEY_CODE = (
    *(
        f"{room}/**/*.{kind}"
        for room in ("models", "chain", "activities", "workflows", "api")
        for kind in ("py", "json")
    ),
    *("*.py", "migrations/versions/*.py", "contracts/src/*.sol"),
)


@dataclass(frozen=True)
class Result:
    """One run of one part. ``code`` is the money code's hash, ``commit`` the tree's, marked where it was changed."""

    part: Part
    report: Report
    seconds: int
    commit: str
    code: str
    date: str

    @property
    def clean(self) -> bool:
        return not self.report.breaches

    @classmethod
    def of(cls, part: Part, report: Report, seconds: int, code: str) -> "Result":
        return cls(part, report, seconds, commit_now(), code, datetime.now(UTC).isoformat(timespec="seconds"))

    def line(self) -> str:
        facts = {"seconds": self.seconds, "commit": self.commit, "code": self.code, "date": self.date}
        part = {"campaign": self.part.campaign, "part": self.part.name, "seed": self.part.seed}
        return json.dumps(part | vars(self.report) | facts)

    @classmethod
    def read(cls, line: str) -> "Result":
        told: dict[str, Any] = json.loads(line)
        names = ("injections", "operations", "breaches", "notes")
        report = Report(faults=Counter(told["faults"]), **{name: told[name] for name in names})
        facts = {name: told[name] for name in ("seconds", "commit", "code", "date")}
        return cls(Part(told["campaign"], told["part"], told["seed"]), report, **facts)


@dataclass(frozen=True)
class Record:
    """The file of all results, in the order in which they came."""

    path: Path

    @classmethod
    def of(cls, *, full: bool) -> "Record":
        return cls((KEPT if full else PASSING) / "results.jsonl")

    def read(self) -> list[Result]:
        return [Result.read(line) for line in self.path.read_text().splitlines()] if self.path.exists() else []

    def append(self, result: Result) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as lines:
            lines.write(f"{result.line()}\n")


def money_code_hash(root: Path = ROOT) -> str:
    """Of the contents of everything that can lose money, names included."""
    digest = hashlib.sha256()
    for path in sorted(_money_files(root)):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(root)} {content}\n".encode())
    return digest.hexdigest()[:16]


def _money_files(root: Path) -> Iterator[Path]:
    for pattern in _MONEY_CODE:
        yield from root.glob(pattern)


def commit_now() -> str:
    """The commit of the tree, with a plus sign where files differ from it, the record's own aside; ``unknown`` outside of a repository."""
    try:
        commit = _git("rev-parse", "--short=12", "HEAD")
        return (
            f"{commit}+"
            if _git("status", "--porcelain", "--untracked-files=no", "--", ".", f":!{KEPT.relative_to(ROOT)}")
            else commit
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments: str) -> str:
    command = ("git", *arguments)
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()  # noqa: S603 - words of this module
