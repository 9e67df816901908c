"""One crash: operations are begun, one process dies at one point with as many of them as stand there, and all must end well."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, field

from sqlalchemy import Select, func, select

from models.statuses import IN_FLIGHT_STATES, TransactionState
from models.tables.transactions import ChainTransaction
from sandbox.engine import API
from tests.faults.arming import Orders
from tests.faults.desk import LANE, Desk
from tests.faults.stories import PARTNERS, Story, Subject

TOGETHER = PARTNERS
RECOVERY_SECONDS = 60
"""proof.md: all terminal within 60 s of restart."""
HOLD_MS = {API: 2_000, LANE: 300}
"""A lane has one transaction at a time, so nobody joins who stands there, except at a simulation."""
HOLD_LOANS_MS = 2_500
_REACH_SECONDS = 30
_BY_THE_CLOCK_SECONDS = 8
"""What is done by the clock comes within this time, whether operations are under way or not."""
_QUEUED_SECONDS = 2
_POLL_SECONDS = 0.02


@dataclass
class Crash:
    """``hit`` operations or legs stood at the point; None where the process never came there."""

    hit: int | None = None
    operations: int = 0
    recovered_in: int = 0
    breaches: list[str] = field(default_factory=list)


async def crash(
    desk: Desk, process: str, point: str, story: Story, passing: int, *, lane_behind: bool = False
) -> Crash:
    """Begins operations, has the process die at the point, where its launcher starts it anew, and judges what became of them.

    With ``lane_behind`` the lane does not see for a while what is mined, which some points are on the way of only then.
    """
    subjects = await desk.business.subjects(story, TOGETHER)
    orders = Orders(point, passing, TOGETHER, HOLD_MS.get(process, HOLD_LOANS_MS))
    armed = _armed(desk, process, orders, lambda: _begin(desk, story, subjects))
    async with armed as begun, _behind(desk) if lane_behind else nullcontext():
        hit = await _wait_for_death(desk, process, begun)
    result = Crash(hit, len(subjects))
    restarted = time.monotonic()
    result.breaches += [f"{process} at {point}, {story.name}: {each}" for each in await _judge(desk, story, begun)]
    result.recovered_in = int(time.monotonic() - restarted)
    if not result.breaches:
        desk.business.returned(story, subjects)
    return result


def _begin(desk: Desk, story: Story, subjects: Sequence[Subject]) -> list[asyncio.Task[str]]:
    return [asyncio.create_task(desk.business.begin(story, subject)) for subject in subjects]


@asynccontextmanager
async def _armed(
    desk: Desk, process: str, orders: Orders, begin: Callable[[], list[asyncio.Task[str]]]
) -> AsyncIterator[list[asyncio.Task[str]]]:
    """A lane stands still until legs wait for it, so that it takes several at once and dies with all of them."""
    post = desk.posts[process]
    if process != LANE:
        post.give(orders)
        yield begin()
    else:
        lane = desk.running.processes.process(LANE)
        lane.freeze()
        try:
            begun = begin()
            await _legs_queue_up(desk)
            post.give(orders)
        finally:
            lane.thaw()
        yield begun
    post.give(Orders())


async def _legs_queue_up(desk: Desk) -> None:
    """Briefly: some stories need the lane before they have a leg."""
    queued = select(func.count()).where(ChainTransaction.state == TransactionState.QUEUED)
    with suppress(TimeoutError):
        async with asyncio.timeout(_QUEUED_SECONDS):
            await _comes_to(desk, queued, TOGETHER)


@asynccontextmanager
async def _behind(desk: Desk) -> AsyncIterator[None]:
    falling = asyncio.create_task(_falls_behind(desk))
    try:
        yield
    finally:
        falling.cancel()
        with suppress(asyncio.CancelledError):
            await falling


async def _falls_behind(desk: Desk) -> None:
    """Stopped once a loan or a repayment is sent, until what is done by the clock has looked at the block that it is in."""
    to_vault = ChainTransaction.call["call"].astext.in_(["borrow", "repay"])
    unseen = ChainTransaction.state.in_(IN_FLIGHT_STATES) & ChainTransaction.result_block.is_(None)
    await _comes_to(desk, select(func.count()).where(to_vault, unseen), 1)
    lane = desk.running.processes.process(LANE)
    lane.freeze()
    try:
        await asyncio.sleep(_BY_THE_CLOCK_SECONDS)
    finally:
        lane.thaw()


async def _comes_to(desk: Desk, counting: Select[int], number: int) -> None:
    while True:
        async with desk.running.engine.transaction() as session:
            if (await session.scalar(counting) or 0) >= number:
                return
        await asyncio.sleep(_POLL_SECONDS)


async def _wait_for_death(desk: Desk, process: str, begun: Sequence[asyncio.Task[str]]) -> int | None:
    """How many died with it; None where the operations ended without it, or nothing came to the point."""
    post = desk.posts[process]
    ended = asyncio.create_task(_ended(desk, begun))
    until = time.monotonic() + _REACH_SECONDS
    try:
        while (death := post.death()) is None:
            if (time.monotonic() > until or ended.done()) and not post.somebody_stands():
                return None
            await asyncio.sleep(_POLL_SECONDS)
    finally:
        ended.cancel()
    return death.weight if process == LANE else death.operations


async def _ended(desk: Desk, begun: Sequence[asyncio.Task[str]]) -> None:
    await desk.business.done([await asyncio.shield(task) for task in begun])
    await asyncio.sleep(_BY_THE_CLOCK_SECONDS)


async def _judge(desk: Desk, story: Story, begun: Sequence[asyncio.Task[str]]) -> list[str]:
    """What is wrong once all is quiet: an operation that did not end, or ended otherwise, or an invariant."""
    try:
        async with asyncio.timeout(RECOVERY_SECONDS):
            operations = await asyncio.gather(*begun)
            await desk.business.done(operations)
    except TimeoutError:
        return [f"not done {RECOVERY_SECONDS} s after the restart", *await desk.running.breaches_at_rest(0)]
    outcomes = {each: await desk.business.outcome(each) for each in operations}
    wrong = [f"{each} ended {outcome}" for each, outcome in outcomes.items() if outcome != story.ends]
    return [*wrong, *await desk.running.breaches_at_rest(RECOVERY_SECONDS)]
