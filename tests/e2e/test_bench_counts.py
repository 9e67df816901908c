"""What one borrow and one payoff cost, on the real parts: a step that asks for more than it did fails here, not in a bill."""

from pathlib import Path

import pytest

from bench.counts import COMMITS, COUNTED_LINES, EVENTS, Cost, measure_costs
from bench.world import open_world

A_THIRD_LEG = 8
"""A payoff has a leg more than a borrow, its residue: a wait of three events with a workflow task of three. And two events say
in Temporal's lists whose it is and how it ended, for which a borrow had room."""
ROUND_TRIPS_NOW, REQUESTS_NOW = 175, 22
"""Above the aims of the design; `make bench ARGS=counts` shows where they go. To be lowered with the figures, never raised."""


TRIES = 3
"""On a machine that is busy a step may be tried twice, and is counted twice."""


def _excesses(borrow: Cost, payoff: Cost) -> list[str]:
    found = [("borrow events", borrow.events, EVENTS), ("payoff events", payoff.events, EVENTS + A_THIRD_LEG)]
    for name, cost in (("borrow", borrow), ("payoff", payoff)):
        found += [
            (f"{name} commits", cost.commits, COMMITS),
            (f"{name} round trips", cost.round_trips, ROUND_TRIPS_NOW),
            (f"{name} requests", cost.requests, REQUESTS_NOW),
        ]
    return [f"{what}: {number} > {limit}" for what, number, limit in found if number > limit]


@pytest.mark.timeout(300)
async def test_a_borrow_and_its_payoff_cost_no_more_than_they_may(tmp_path: Path) -> None:
    """The limits that hold today, in the best of three; the figures move with where in a block's second a leg is sent."""
    async with open_world(tmp_path, TRIES * COUNTED_LINES) as world:
        tries = 0
        while excesses := _excesses(*await measure_costs(world)):
            tries += 1
            assert tries < TRIES, excesses
