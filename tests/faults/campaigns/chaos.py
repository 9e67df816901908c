"""Seeded chaos: a proxy that mistreats 5 to 20 % of the engine's calls to its node, and processes that are killed.

The engine stays up from seed to seed, and what one seed began may end under the next: each puts a new plan into the proxy,
lets partners ask for some more operations, and mostly kills a process on the way. At the end of a part the faults are lifted
and every operation must have ended as its partner was told.
"""

import asyncio
from collections import Counter
from contextlib import suppress
from datetime import timedelta
from random import Random

from tests.engine import until
from tests.faults.campaign import Grounds, Part, Report
from tests.faults.driver import ROLES, Driven, driven
from tests.faults.plan import FaultPlan
from tests.faults.processes import Site

SEEDS, SEEDS_OF_A_PART, SEEDS_OF_THE_SLICE = 200, 40, 1
SCENES_OF_A_SEED = 10
HITS_OF_A_SEED = 20
LEAST_SECONDS, MOST_SECONDS = 2, 20
"""A seed lasts until it has done its share of harm; an engine that is being started again makes few calls."""
BLOCK_TIME = timedelta(milliseconds=200)
KILLS_OF_TEN = 7


class Chaos:
    name = "chaos"
    title = "seeded chaos: a proxy that drops, delays, duplicates, reorders, lies and lags, with random kills"
    figure = "200 seeds, 5-20% of the calls hit; a seed reproduces its fault plan"
    unit = "faults"

    def parts(self, *, full: bool) -> list[Part]:
        if not full:
            return [Part(self.name, f"seeds 1-{SEEDS_OF_THE_SLICE}", SEEDS_OF_THE_SLICE)]
        lasts = range(SEEDS_OF_A_PART, SEEDS + 1, SEEDS_OF_A_PART)
        return [Part(self.name, f"seeds {last - SEEDS_OF_A_PART + 1}-{last}", last) for last in lasts]

    async def run(self, part: Part, grounds: Grounds) -> Report:
        """The part's seed is its last one; its name says where it begins."""
        seeds = range(int(part.name.removeprefix("seeds ").partition("-")[0]), part.seed + 1)
        anvil = await grounds.anvil(BLOCK_TIME)
        site = Site(grounds.folder("chaos"), await grounds.database(), await grounds.temporal(), anvil)
        async with driven(site, part.seed, lines=SCENES_OF_A_SEED * (len(seeds) + 4) // 4) as engine:
            async with asyncio.TaskGroup() as under_way:
                for seed in seeds:
                    await _one(engine, seed, under_way)
                engine.proxy.follow(None)
            return await _report(engine, len(seeds))


async def _one(engine: Driven, seed: int, under_way: asyncio.TaskGroup) -> None:
    """New faults, some operations, and in most seeds one kill somewhere among them; none of it is waited for."""
    random = Random(seed)  # noqa: S311 - a seed is the point
    engine.proxy.follow(FaultPlan.of(seed))
    under_way.create_task(engine.scenes.play(SCENES_OF_A_SEED))
    if random.randrange(10) < KILLS_OF_TEN:
        under_way.create_task(_kill(engine, random.choice(ROLES), random.randrange(LEAST_SECONDS * 1000)))
    before = len(engine.proxy.log)
    await asyncio.sleep(LEAST_SECONDS)

    async def has_hit() -> bool:
        return len(engine.proxy.log) >= before + HITS_OF_A_SEED

    with suppress(TimeoutError):
        await until(has_hit, MOST_SECONDS)


async def _kill(engine: Driven, name: str, milliseconds: int) -> None:
    await asyncio.sleep(milliseconds / 1000)
    await engine.kill(name)


async def _report(engine: Driven, seeds: int) -> Report:
    faults = Counter(engine.proxy.injected) + engine.kills
    breaches = await engine.comes_to_rest()
    scenes = ", ".join(f"{number} {name}" for name, number in sorted(engine.scenes.played.items()))
    return Report(
        injections=faults.total(),
        faults=faults,
        operations=len({request.operation_id for request, _ in engine.partners.told}),
        breaches=breaches,
        notes=[f"{seeds} seeds, {engine.partners.repeats} requests repeated; {scenes}"],
    )
