"""``python -m bench``: measure everything, or only what is named; ``--quick`` for a small run of about a minute."""

import argparse
import asyncio
import logging
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from bench.analytics import analytics
from bench.borrows import Scale, open_sides
from bench.counts import COUNTED_LINES, counts
from bench.decisions import decisions
from bench.gate import gate
from bench.grown import grow
from bench.loans import loans
from bench.reads import reads
from bench.report import Report
from bench.steps import steps
from bench.tracing import lines_for, tracing
from bench.world import World, open_world

BENCHES = ("counts", "steps", "decisions", "loans", "tracing", "reads", "gate", "analytics")
COUNTS, STEPS, DECISIONS, LOANS, TRACING, READS, GATE, ANALYTICS = BENCHES
FEW = 1_000


@dataclass(frozen=True)
class Plan:
    chosen: Sequence[str]
    decisions: Scale
    loans: Scale
    tracing: Scale
    steps_rounds: int
    steps_number: int
    grown: int
    analytics_rounds: int
    reads_rounds: int
    reads_number: int
    gate_requests: int
    steps_concurrency: int = 32

    @property
    def lines(self) -> int:
        scales = [scale for name, scale in ((DECISIONS, self.decisions), (LOANS, self.loans)) if name in self.chosen]
        traced = lines_for(self.tracing) if TRACING in self.chosen else 0
        return COUNTED_LINES + traced + sum(scale.lines for scale in scales)


def full(chosen: Sequence[str]) -> Plan:
    return Plan(
        chosen,
        decisions=Scale(rounds=3, borrows=150, concurrency=32, unloaded=100),
        loans=Scale(rounds=3, borrows=200, concurrency=32),
        tracing=Scale(rounds=3, borrows=100, concurrency=32),
        steps_rounds=5,
        steps_number=200,
        grown=1_000_000,
        analytics_rounds=100,
        reads_rounds=5,
        reads_number=1_000,
        gate_requests=2_000,
    )


def quick(chosen: Sequence[str]) -> Plan:
    return Plan(
        chosen,
        decisions=Scale(rounds=1, borrows=20, concurrency=10, unloaded=5),
        loans=Scale(rounds=1, borrows=20, concurrency=10),
        tracing=Scale(rounds=1, borrows=20, concurrency=10),
        steps_rounds=1,
        steps_number=32,
        grown=10_000,
        analytics_rounds=5,
        reads_rounds=1,
        reads_number=100,
        gate_requests=100,
    )


async def measure(plan: Plan, report: Report, folder: Path) -> None:
    """The counts come first: their engine is in this process, and there is one lane of a signer at a time."""
    async with open_world(folder, plan.lines) as world:
        if COUNTS in plan.chosen:
            await counts(world, report)
        if STEPS in plan.chosen:
            await steps(world, plan.steps_rounds, plan.steps_number, plan.steps_concurrency, report)
        if {DECISIONS, LOANS} & set(plan.chosen):
            await _measure_borrows(world, plan, report)
        if TRACING in plan.chosen:
            await tracing(world, plan.tracing, report)
        if {READS, GATE, ANALYTICS} & set(plan.chosen):
            await _measure_grown(world, plan, report)


async def _measure_borrows(world: World, plan: Plan, report: Report) -> None:
    async with open_sides(world) as sides:
        if DECISIONS in plan.chosen:
            await decisions(world, sides, plan.decisions, report)
        if LOANS in plan.chosen:
            await loans(world, sides, plan.loans, report)


async def _measure_grown(world: World, plan: Plan, report: Report) -> None:
    few = await grow(world, FEW)
    if GATE in plan.chosen:
        await gate(few, plan.gate_requests, report)
    if {READS, ANALYTICS} & set(plan.chosen):
        many = await grow(world, plan.grown)
        if READS in plan.chosen:
            scale = {"rounds": plan.reads_rounds, "number": plan.reads_number, "concurrency": 16}
            await reads(world, (few, many), report, **scale)
        if ANALYTICS in plan.chosen:
            await analytics(many, plan.analytics_rounds, report)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Rates against floors of the same run, and counts."
    )
    parser.add_argument("benches", nargs="*", metavar="bench", help=f"one or more of {', '.join(BENCHES)}; all if none")
    parser.add_argument(
        "--quick", action="store_true", help="small numbers, about a minute: whether it runs, not how fast"
    )
    asked = parser.parse_args(arguments)
    if unknown := set(asked.benches) - set(BENCHES):
        parser.error(f"there is no bench {', '.join(sorted(unknown))}")
    plan = (quick if asked.quick else full)(asked.benches or BENCHES)
    # The engine in this process would tell its story between the figures; the others tell it to their log files.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    report = Report()
    report.machine()
    if asked.quick:
        report.note("A quick run shows that everything runs. Its numbers are too small to judge an aim by.")
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        asyncio.run(measure(plan, report, folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
