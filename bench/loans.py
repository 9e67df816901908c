"""Bench 2: how many loans a second go from the request to ACTIVE, with a block every second."""

from decimal import Decimal

from bench.borrows import Rounds, Scale, Sides, in_turns, spent_figure
from bench.measures import median_ratio, rates
from bench.report import Figure, Report
from bench.world import World

AIM = Decimal("0.6")


async def loans(world: World, sides: Sides, scale: Scale, report: Report) -> None:
    report.heading(f"2. Loans end to end: {scale.rounds} x {scale.borrows}, {scale.concurrency} requests at a time")
    report.note(
        "From the first request until the last loan is ACTIVE, over REST, so the wait for blocks at the end of each round is\n"
        "in it. Floor: the same number of workflows of the same shape (nine local activities, two regular ones on the waiting\n"
        "queue, an update) over its bare API, whose activities do nothing and wait for nothing. The waiting floor's\n"
        "confirmations wait for the next whole second, which is what a block costs an engine that itself costs nothing."
    )
    engine, hasty, waiting = await in_turns(world, scale, (sides.engine, sides.hasty, sides.waiting))
    ratio = median_ratio(engine.finished(), hasty.finished())
    aimed = f"ratio >= {AIM}"
    report.figures(
        [
            Figure("loans", rates(engine.finished()), rates(hasty.finished()), f"{ratio:.2f}", aimed, ratio >= AIM),
            _beside("against the waiting floor", engine, waiting),
            spent_figure(engine, hasty),
        ]
    )
    engine.tell_spent(report, "CPU time of one loan")
    hasty.tell_spent(report, "CPU time of one of the floor")


def _beside(what: str, engine: Rounds, waiting: Rounds) -> Figure:
    return Figure(what, "", rates(waiting.finished()), f"{median_ratio(engine.finished(), waiting.finished()):.2f}")
