"""``python -m tests.faults``: the seeded slice of every campaign, or with ``--full`` the figures of proof.md, resumed.

Parts that ended clean at this very money code are not run again. The exit status is 1 where any part broke a promise.
"""

import argparse
import asyncio
import logging
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import structlog

from tests.faults.campaigns import CAMPAIGNS
from tests.faults.claims import Claims, run_side_by_side
from tests.faults.results import Record, money_code_hash
from tests.faults.runner import Plan, run_plan, say
from tests.faults.summary import write_report


def main(arguments: Sequence[str]) -> int:
    parser = _parser()
    asked = parser.parse_args(arguments)
    record = Record.of(full=asked.full)
    if asked.report:
        say(f"written: {write_report()}")
        return 0
    chosen = [campaign for campaign in CAMPAIGNS if not asked.only or campaign.name in asked.only]
    plan = Plan.of(chosen, full=asked.full, part=asked.part, code=money_code_hash())
    if asked.part is not None and not plan.steps:
        parser.error(f"there is no part {asked.part}")
    left = plan if asked.again else plan.without(record.read())
    if asked.list:
        _list(plan, left)
        return 0
    if min(asked.jobs, len(left.steps)) > 1:
        return run_side_by_side(arguments, asked.jobs)
    # The engine's own story is in the logs of its processes.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    if asked.backwards:
        left = replace(left, steps=left.steps[::-1])
    with tempfile.TemporaryDirectory(prefix="claims-") as own:
        claims = Claims(asked.claims or Path(own))
        return asyncio.run(run_plan(left, record, claims, already=len(plan.steps) - len(left.steps)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="Breaks the engine, and counts.")
    names = [campaign.name for campaign in CAMPAIGNS]
    parser.add_argument("--full", action="store_true", help="the figures of proof.md, not the seeded slice")
    parser.add_argument("--only", action="append", choices=names, help="this campaign; may be given again")
    parser.add_argument("--part", help="only the part of this name")
    parser.add_argument("--again", action="store_true", help="also what ended clean at this code already")
    parser.add_argument("--jobs", type=int, default=1, help="so many parts beside each other, on servers of their own")
    parser.add_argument("--claims", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--backwards", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--list", action="store_true", help="say what would run")
    parser.add_argument("--report", action="store_true", help="write docs/fault-report.md from the results")
    return parser


def _list(plan: Plan, left: Plan) -> None:
    for campaign in plan.campaigns:
        parts = [step.part for step in plan.steps if step.campaign is campaign]
        waiting = {step.part for step in left.steps}
        say(f"{campaign.name}: {campaign.figure}")
        for part in parts:
            say(f"    {part.name} (seed {part.seed}){'' if part in waiting else ': clean at this code'}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
