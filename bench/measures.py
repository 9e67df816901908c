"""Durations, rates and ratios as benchmarks speak of them: integers of nanoseconds, and decimals made of them."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

NANOSECONDS = 1_000_000_000
MILLISECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class Lap:
    """So many things done in so many nanoseconds."""

    number: int
    nanoseconds: int

    @property
    def rate(self) -> Decimal:
        """A second."""
        return Decimal(self.number * NANOSECONDS) / self.nanoseconds


class Stopwatch:
    def __init__(self) -> None:
        self._began = time.perf_counter_ns()

    def nanoseconds(self) -> int:
        return time.perf_counter_ns() - self._began

    def lap(self, number: int) -> Lap:
        return Lap(number, self.nanoseconds())


def median(values: Sequence[Decimal]) -> Decimal:
    return statistics.median(values)


def median_ratio(measured: Sequence[Lap], floor: Sequence[Lap]) -> Decimal:
    """Of rates that were measured in turns: a machine that is slow for a while is slow for both of a pair."""
    return median([one.rate / other.rate for one, other in zip(measured, floor, strict=True)])


def percentile(nanoseconds: Sequence[int], percent: int) -> int:
    """The smallest value that so many percent of the values do not exceed."""
    ordered = sorted(nanoseconds)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def milliseconds(nanoseconds: int) -> str:
    return f"{Decimal(nanoseconds) / MILLISECOND:.1f} ms"


def rates(laps: Sequence[Lap]) -> str:
    """The median of all rounds, and each of them where there are several."""
    middle = f"{median([lap.rate for lap in laps]):.1f}/s"
    return middle if len(laps) == 1 else f"{middle} ({', '.join(f'{lap.rate:.0f}' for lap in laps)})"
