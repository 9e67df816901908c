"""Which processes the processor's time went to: on few cores that, more than anything, is what a rate is made of.

Unlike a rate it does not depend on what else the machine does.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from decimal import Decimal

import psutil

from bench.report import Figure, Report
from sandbox.services.process import Process

CLIENT = "this process"
Spent = Mapping[str, int]
"""Milliseconds by process."""


def spent(parts: Mapping[str, Process]) -> Spent:
    """What each part has used since it started, and this process with them."""
    used = {name: sum(map(_used, process.pids)) for name, process in parts.items()}
    return {**used, CLIENT: _used(psutil.Process().pid)}


def between(before: Spent, after: Spent) -> Spent:
    return {name: after[name] - before[name] for name in after}


def summed(rounds: Sequence[Spent]) -> Spent:
    return {name: sum(one[name] for one in rounds) for name in rounds[0]}


def figure(measured: Spent, floor: Spent, number: int) -> Figure:
    """What one thing took together. The ratio is what the rates' would be on a machine that does nothing else."""
    ours, theirs = (Decimal(sum(each.values())) / number for each in (measured, floor))
    return Figure("CPU time of one, all processes", f"{ours:.0f} ms", f"{theirs:.0f} ms", f"{theirs / ours:.2f}")


def tell(report: Report, title: str, used: Spent, number: int) -> None:
    each = sorted(used.items(), key=lambda item: -item[1])
    report.note(f"{title}: {', '.join(f'{name} {Decimal(took) / number:.1f}' for name, took in each)} ms")


def _used(pid: int) -> int:
    """Children that have ended are counted with their parent, such as a server process whose client is gone."""
    with suppress(psutil.NoSuchProcess):
        times = psutil.Process(pid).cpu_times()
        return round((times.user + times.system + times.children_user + times.children_system) * 1000)
    return 0
