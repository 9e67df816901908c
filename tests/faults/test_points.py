"""The crash points against the benchmark's counts: what hooks hear from outside is what one operation costs, and no less."""

import asyncio
from collections import Counter
from pathlib import Path

from bench.counting import Tally
from bench.counts import COUNTED_LINES, SETTLES
from bench.history import temporal_cost
from bench.inside import Inside, running_inside
from bench.world import borrow_body, open_world
from tests.faults.arming import Orders, Post
from tests.faults.enumerate import read_points
from tests.faults.points import ACTIVITY, AFTER, BEFORE, COMMIT, UPDATE, Arrival, attached

_ACTIVITY_EVENTS = ("marker recorded", "activity task completed")


class Heard:
    """Every arrival of this process, by point."""

    def __init__(self) -> None:
        self.points: Counter[str] = Counter()

    async def reached(self, arrival: Arrival) -> None:
        self.points[arrival.point] += 1

    def number(self, what: str, when: str) -> int:
        return sum(number for point, number in self.points.items() if point.split(" | ")[1:] == [what, when])

    def requests(self, when: str) -> int:
        return sum(number for point, number in self.points.items() if "eth_" in point and point.endswith(when))


async def test_the_points_are_what_the_benchmark_counts(tmp_path: Path) -> None:
    """Of a borrow and its payoff: as many commits that write, requests to the node and activities as bench/counts.py finds.

    And each of the points is one that is enumerated, so that code that has moved is noticed.
    """
    heard = Heard()
    with attached(heard.reached):
        async with open_world(tmp_path, COUNTED_LINES) as world, running_inside(world) as inside:
            (line,) = world.take_lines(1)
            await counts_agree(inside, heard, "/v1/loans", borrow_body(line))
            path = f"/v1/loans/loan-{line.credit_line_id}/repayments"
            await counts_agree(inside, heard, path, {"payoff": True})


async def counts_agree(inside: Inside, heard: Heard, path: str, body: dict[str, str] | dict[str, bool]) -> None:
    await asyncio.sleep(SETTLES.total_seconds())
    before, points_before = inside.tally.copy(), heard.points.copy()
    operation_id = await inside.post(path, body, **{"Idempotency-Key": f"key-{len(points_before)}"})
    await inside.wait_until_done(operation_id)
    await asyncio.sleep(SETTLES.total_seconds())
    counted, here = inside.tally.since(before), Heard()
    here.points = heard.points - points_before
    cost = await temporal_cost(inside.temporal, operation_id)
    assert here.number(COMMIT, BEFORE) == commits_that_write(counted)
    assert here.requests(BEFORE) == counted.rpc.total()
    assert here.number(ACTIVITY, BEFORE) == sum(cost.events[name] for name in _ACTIVITY_EVENTS)
    assert here.number(UPDATE, BEFORE) == 1
    for what in (COMMIT, ACTIVITY, UPDATE):
        assert here.number(what, AFTER) == here.number(what, BEFORE) > 0
    assert here.requests(AFTER) == here.requests(BEFORE) > 0
    enumerated = {point.name for point in read_points()}
    assert here.points.keys() - enumerated == set(), "enumerate anew: python -m tests.faults.enumerate"


def commits_that_write(counted: Tally) -> int:
    return sum(kind.commits * number for kind, number in counted.sql.items() if kind.writes)


def test_every_point_has_both_its_sides() -> None:
    """What can be killed before can be killed after: the enumeration has either for each thing that is done."""
    sides: dict[tuple[str, str], set[str]] = {}
    for point in read_points():
        what, _, when = point.name.rpartition(" | ")
        sides.setdefault((point.process, what), set()).add(when)
    assert len(sides) > 80
    assert [what for what, when in sides.items() if when != {BEFORE, AFTER}] == []


def test_orders_are_given_in_one_piece(tmp_path: Path) -> None:
    """New orders replace the old ones, and what was told under the old ones is forgotten."""
    post = Post(tmp_path, "lane")
    post.give(Orders("here"))
    post.told.write_text('{"reached": "there"}\n{"died": {"point": "here", "operations": 2, "weight": 3}}\n')
    assert post.arrivals() == {"there": 1}
    death = post.death()
    assert death is not None
    assert (death.operations, death.weight) == (2, 3)
    post.give(Orders())
    assert post.death() is None
