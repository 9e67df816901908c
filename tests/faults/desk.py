"""An engine as API, ``loans`` and ``lane`` processes with a sentry at every point, on which operations are begun and crashed."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from sandbox.engine import API, Role
from tests.chain.world import USD
from tests.faults.arming import Post
from tests.faults.grounds import Grounds
from tests.faults.launcher import inside
from tests.faults.processes import Running, Site, open_running, start_and_fund
from tests.faults.stories import Business

LOANS: Role = "loans"
LANE: Role = "lane"
PROCESSES = (API, LOANS, LANE)
BLOCK_TIME = timedelta(milliseconds=100)
ALLOWANCE = 4_000 * USD
"""Less than a payoff, which the lane has to renew it for before it can be simulated, and more than a part."""
SWEEP = "PT2S"
BY_THE_CLOCK = {"RECONCILE_EVERY": "PT5S", "SYNC_EVERY": "PT5S"}
"""So often that what ``loans`` does by the clock is under way when it is to be killed; nobody else needs the load."""


@dataclass(frozen=True)
class Desk:
    running: Running
    business: Business
    posts: Mapping[str, Post]


@asynccontextmanager
async def open_desk(grounds: Grounds, processes: Collection[str] = PROCESSES) -> AsyncIterator[Desk]:
    """A running engine of its own, on servers that all desks share; ``processes`` are those whose points are of interest."""
    folder = grounds.folder("desk")
    anvil = await grounds.anvil(BLOCK_TIME)
    site = Site(folder, await grounds.database(), await grounds.temporal(), anvil, inside=partial(inside, folder))
    often = BY_THE_CLOCK if LOANS in processes else {}
    async with open_running(site, ALLOWANCE_TARGET=str(ALLOWANCE), SWEEP_EVERY=SWEEP, **often) as running:
        await asyncio.gather(*(running.processes.start(role, role) for role in (LOANS, LANE)))
        await start_and_fund(running, API)
        posts = {name: Post(folder, name) for name in PROCESSES}
        yield Desk(running, await Business.open(running), posts)
