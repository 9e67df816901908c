"""Which processes the processor's time went to: on few cores that, more than anything, is what a rate is made of."""

from collections.abc import Mapping, Sequence
from contextlib import suppress

import psutil

from bench.sides import Side
from bench.world import World

CLIENT = "this client"
Spent = Mapping[str, int]
"""Milliseconds by process."""


def spent(world: World, side: Side) -> Spent:
    """What each part has used since it started, its children included."""
    parts = {
        **side.processes(),
        "Temporal server": world.temporal.process,
        "PostgreSQL": world.postgres.process,
        "Anvil": world.anvil.process,
    }
    used = {name: sum(map(_used, process.pids)) for name, process in parts.items()}
    return {**used, CLIENT: _used(psutil.Process().pid)}


def between(before: Spent, after: Spent) -> Spent:
    return {name: after[name] - before[name] for name in after}


def rows(spent_by_round: Sequence[Spent], number: int) -> list[tuple[str, str]]:
    """Milliseconds for each of so many things, by process."""
    total = {name: sum(one[name] for one in spent_by_round) for name in spent_by_round[0]}
    each = sorted(total.items(), key=lambda item: -item[1])
    shown = [(name, f"{used / number:.1f}") for name, used in each]
    return [*shown, ("together", f"{sum(total.values()) / number:.1f}")]


def _used(pid: int) -> int:
    with suppress(psutil.NoSuchProcess):
        times = psutil.Process(pid).cpu_times()
        return round((times.user + times.system) * 1000)
    return 0
