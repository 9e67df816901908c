"""Every point of points.json, five times: ``kill -9`` of the process that stands there, with real operations under way."""

import asyncio
import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256

from sandbox.engine import API
from tests.faults.campaign import Grounds, Part, Report
from tests.faults.crashing import TOGETHER, Crash, crash
from tests.faults.desk import LANE, LOANS, Desk, open_desk
from tests.faults.enumerate import Point, read_points
from tests.faults.stories import STORIES

NAME = "crash-points"
DEMANDED = 5
MOST_CRASHES = 20
MOST_MISSED = 5
"""In a row, of a point that is not on every operation's way: an allowance that is short, an event of the vault."""
DESKS = 2
"""What recovers after a crash waits for its heartbeat to be missed, so two engines share the time; more would starve each other."""
POINTS_A_PART = 18
SLICE = {API: 1, LANE: 1, LOANS: 2}
SLICE_SEED = 20


class CrashPoints:
    name = NAME
    title = "`kill -9` before and after every commit and every external call"
    figure = "every point x 5, 0 breaches, all terminal within 60 s of restart"
    unit = "operations or legs that stood at a point when its process was killed there"

    def parts(self, *, full: bool) -> list[Part]:
        return list(_full() if full else _slice())

    async def run(self, part: Part, grounds: Grounds) -> Report:
        """The part's points, taken by several engines in turn."""
        points = [*{**_full(), **_slice()}[part]]
        waiting = iter(enumerate(points))
        processes = {point.process for point in points}
        report = Report()
        workers = (_work(grounds, processes, waiting, part.seed, report) for _ in range(min(DESKS, len(points))))
        recoveries = await asyncio.gather(*workers)
        report.notes.append(f"{len(points)} points, longest recovery {max(map(max, recoveries))} s")
        return report


@cache
def _full() -> dict[Part, Sequence[Point]]:
    """A part's name carries what its points are, so that a changed enumeration is not taken for one that ran."""
    parts: dict[Part, Sequence[Point]] = {}
    for process in (API, LANE, LOANS):
        of_process = [point for point in read_points() if point.process == process]
        for start in range(0, len(of_process), POINTS_A_PART):
            points = of_process[start : start + POINTS_A_PART]
            digest = sha256("\n".join(point.name for point in points).encode()).hexdigest()[:6]
            parts[Part(NAME, f"{process}-{start // POINTS_A_PART + 1}-{digest}", start)] = points
    return parts


@cache
def _slice() -> dict[Part, Sequence[Point]]:
    chance = random.Random(SLICE_SEED)  # noqa: S311 - a plan, not a secret
    chosen = [
        point
        for process, number in SLICE.items()
        for point in chance.sample([each for each in read_points() if each.process == process], number)
    ]
    return {Part(NAME, "slice", SLICE_SEED): chosen}


async def _work(
    grounds: Grounds, processes: Collection[str], waiting: "enumerate[Point]", seed: int, report: Report
) -> list[int]:
    """On an engine of its own. Returns how long each recovery took, in seconds."""
    took = [0]
    async with open_desk(grounds, processes) as desk:
        for number, point in waiting:
            tally = _Tally(point)
            chance = random.Random(seed * 1_000 + number)  # noqa: S311 - a plan, not a secret
            while tally.wants_more:
                took.append(tally.add(await tally.next_crash(desk, chance), report).recovered_in)
    return took


@dataclass
class _Tally:
    """How often a point was hit, and how often it was not reached though it was expected."""

    point: Point
    hits: int = 0
    crashes: int = 0
    missed: int = 0
    broken: bool = False

    @property
    def wants_more(self) -> bool:
        return self.hits < DEMANDED and not self.broken

    async def next_crash(self, desk: Desk, chance: random.Random) -> Crash:
        """After a miss, at the first arrival of the story that reaches the point most surely, and with more to wait for."""
        if self.missed > 0:
            story, passing = self.point.stories[0], 0
        else:
            story = self.point.stories[self.crashes % len(self.point.stories)]
            passing = chance.randrange(max(1, self.point.each // 2) if self.point.process == LANE else self.point.each)
        self.crashes += 1
        behind = self.missed > 0 and self.point.process == LOANS
        return await crash(desk, self.point.process, self.point.name, STORIES[story], passing, lane_behind=behind)

    def add(self, crashed: Crash, report: Report) -> Crash:
        report.operations += crashed.operations
        report.breaches += crashed.breaches
        if crashed.hit is None:
            self.missed += 1
        else:
            self.missed = 0
            self.hits += min(crashed.hit, TOGETHER)
            report.injections += crashed.hit
            report.faults[f"kill -9 of {self.point.process}"] += 1
        self._judge(report)
        return crashed

    def _judge(self, report: Report) -> None:
        """A point that cannot be hit as often as demanded is a breach: the claim is about every point."""
        self.broken = bool(report.breaches)
        if self.missed > MOST_MISSED or (self.crashes >= MOST_CRASHES and self.hits < DEMANDED):
            self.broken = True
            report.breaches.append(
                f"{self.point.process} at {self.point.name}: hit {self.hits} times in {self.crashes} attempts"
            )
