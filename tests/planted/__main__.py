"""Plants each bug in turn and expects its test to fail: ``python -m tests.planted [--only NAME] [--few] [--resume] [--list]``.

Before that every test that is named must pass in an untouched copy, so that a broken test is not taken for a catch. Each
bug leaves one line of JSON in docs/faults/planted.jsonl, or with --few in var/faults. The exit code is 1 where a bug survived.
"""

import argparse
import asyncio
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import monotonic

from tests.faults.results import KEPT, PASSING, money_code_hash
from tests.planted.bug import Bug
from tests.planted.copies import copy_tree, planted
from tests.planted.results import Result, caught_at
from tests.planted.rooms.all import BUGS
from tests.planted.verdict import run_tests

FEW, SEED = 2, 3


def main() -> int:
    asked = _arguments()
    bugs = _chosen(asked.only, few=asked.few)
    if asked.list:
        for bug in bugs:
            sys.stdout.write(f"{bug.name:<40} {bug.test}\n")
        return 0
    code = money_code_hash()
    known = caught_at(code) if asked.resume else ()
    return asyncio.run(
        _plant_all([bug for bug in bugs if bug.name not in known], code, asked.jobs, PASSING if asked.few else KEPT)
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.planted", description="Plant bugs, and expect them to be caught"
    )
    parser.add_argument("--only", action="append", metavar="NAME", help="only this bug; may be repeated")
    parser.add_argument("--few", action="store_true", help=f"{FEW} of them, the same ones each time")
    parser.add_argument("--resume", action="store_true", help="leave out those that were caught at this very code")
    parser.add_argument("--list", action="store_true", help="the bugs and their tests")
    parser.add_argument("--jobs", type=int, default=1, help="how many copies are worked on at once")
    return parser.parse_args()


def _chosen(only: Sequence[str] | None, *, few: bool) -> Sequence[Bug]:
    if only:
        unknown = set(only) - {bug.name for bug in BUGS}
        if unknown:
            raise SystemExit(f"no such bug: {', '.join(sorted(unknown))}")
        return [bug for bug in BUGS if bug.name in only]
    return random.Random(SEED).sample(BUGS, FEW) if few else BUGS  # noqa: S311 - a choice, and no secret


async def _plant_all(bugs: Sequence[Bug], code: str, jobs: int, folder: Path) -> int:
    if not bugs:
        sys.stdout.write("all were caught at this code before\n")
        return 0
    with tempfile.TemporaryDirectory(prefix="planted-") as place:
        copies = [copy_tree(Path(place) / str(number)) for number in range(jobs)]
        untouched = await run_tests(copies[0], *sorted({bug.test for bug in bugs}), stop_early=False)
        if not untouched.passed:
            sys.stdout.write(f"without any bug: {untouched.broken or untouched.how}\n")
            return 1
        waiting = list(bugs)
        results = await asyncio.gather(*(_work(copy, waiting, code, folder) for copy in copies))
    survived = [result.name for each in results for result in each if not result.caught]
    sys.stdout.write(f"{len(bugs) - len(survived)} of {len(bugs)} caught\n")
    return 1 if survived else 0


async def _work(copy: Path, waiting: list[Bug], code: str, folder: Path) -> list[Result]:
    """Takes from the bugs that wait until there are none; another copy takes from them at the same time."""
    results = []
    while waiting:
        result = await _plant(copy, waiting.pop(0), code)
        result.record(folder)
        results.append(result)
    return results


async def _plant(copy: Path, bug: Bug, code: str) -> Result:
    began = monotonic()
    with planted(copy, bug):
        verdict = await run_tests(copy, bug.test)
    return Result.of(bug, verdict, int(monotonic() - began), code)


if __name__ == "__main__":
    sys.exit(main())
