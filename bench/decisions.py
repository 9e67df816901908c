"""Bench 1: how many borrows a second the engine decides over REST, and how long one decision takes when it is alone."""

from datetime import timedelta
from decimal import Decimal

from bench.borrows import Rounds, Scale, Sides, in_turns, spent_figure
from bench.measures import MILLISECOND, median_ratio, milliseconds, percentile, rates
from bench.report import Figure, Report
from bench.sides import Side
from bench.world import World

AIM = Decimal("0.5")
LATENCY_AIM = 80 * MILLISECOND
PAUSE = timedelta(milliseconds=200)


async def decisions(world: World, sides: Sides, scale: Scale, report: Report) -> None:
    report.heading(f"1. Borrow decisions over REST: {scale.rounds} x {scale.borrows}, {scale.concurrency} at a time")
    report.note(
        "Engine: API, loans role and lane, a process each; a decision is a 202 with its terms. Floor: a bare FastAPI process\n"
        "doing the same update-with-start to a workflow of the same shape, tail included, whose activities are empty, on a\n"
        "worker with the same options; its two confirmations wait for the next whole second, as blocks make the engine wait,\n"
        "so that the tails of both fall at the same times. The hasty floor's confirmations return at once."
    )
    engine, floor, hasty = await in_turns(world, scale, (sides.engine, sides.waiting, sides.hasty))
    ratio = median_ratio(engine.decided(), floor.decided())
    alone, floor_alone = [await _alone(side, scale) for side in (sides.engine, sides.waiting)]
    report.figures(
        [
            Figure(
                "decisions",
                rates(engine.decided()),
                rates(floor.decided()),
                f"{ratio:.2f}",
                f"ratio >= {AIM}",
                ratio >= AIM,
            ),
            _beside("against the hasty floor", engine, hasty),
            spent_figure(engine, floor),
            *_latencies("under this load", engine.latencies(), floor.latencies()),
            *_latencies("alone", alone, floor_alone, LATENCY_AIM),
        ]
    )
    engine.tell_spent(report, "CPU time of one borrow, to its end")
    floor.tell_spent(report, "CPU time of one of the floor")


def _beside(what: str, engine: Rounds, hasty: Rounds) -> Figure:
    ratio = median_ratio(engine.decided(), hasty.decided())
    return Figure(what, "", rates(hasty.decided()), f"{ratio:.2f}")


async def _alone(side: Side, scale: Scale) -> list[int]:
    return list((await side.burst(scale.unloaded, 1, PAUSE)).latencies)


def _latencies(where: str, measured: list[int], floor: list[int], aim: int | None = None) -> list[Figure]:
    p50, p99 = (percentile(measured, percent) for percent in (50, 99))
    floor_p50, floor_p99 = (milliseconds(percentile(floor, percent)) for percent in (50, 99))
    aimed = "" if aim is None else f"<= {aim // MILLISECOND} ms"
    return [
        Figure(f"p50 of one, {where}", milliseconds(p50), floor_p50, "", aimed, None if aim is None else p50 <= aim),
        Figure(f"p99 of one, {where}", milliseconds(p99), floor_p99),
    ]
