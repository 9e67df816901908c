"""What benches 1 and 2 share: the engine and its floor side by side, asked for borrows in turns."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from temporalio.client import Client

from bench import cpu
from bench.floor import running_floor
from bench.load import open_client
from bench.measures import Lap
from bench.report import Figure, Report
from bench.sides import Burst, EngineSide, FloorSide, Side
from bench.world import FLOOR_NAMESPACE, World

WARM_UP = 10


@dataclass(frozen=True, slots=True)
class Scale:
    """``unloaded`` are asked for one after the other, beside the rounds."""

    rounds: int
    borrows: int
    concurrency: int
    unloaded: int = 0

    @property
    def lines(self) -> int:
        return WARM_UP + self.rounds * self.borrows + self.unloaded


@dataclass
class Rounds:
    """What one side did in all of its turns."""

    side: Side
    bursts: list[Burst] = field(default_factory=list)
    spent: list[cpu.Spent] = field(default_factory=list)

    async def turn(self, world: World, scale: Scale) -> None:
        parts = {**self.side.processes(), **world.services}
        before = cpu.spent(parts)
        self.bursts.append(await self.side.burst(scale.borrows, scale.concurrency))
        self.spent.append(cpu.between(before, cpu.spent(parts)))

    def decided(self) -> list[Lap]:
        return [Lap(len(burst.latencies), burst.decided) for burst in self.bursts]

    def finished(self) -> list[Lap]:
        return [Lap(len(burst.latencies), burst.finished) for burst in self.bursts]

    def latencies(self) -> list[int]:
        return [latency for burst in self.bursts for latency in burst.latencies]

    @property
    def number(self) -> int:
        return sum(len(burst.latencies) for burst in self.bursts)

    def tell_spent(self, report: Report, title: str) -> None:
        cpu.tell(report, title, cpu.summed(self.spent), self.number)


def spent_figure(measured: Rounds, floor: Rounds) -> Figure:
    return cpu.figure(cpu.summed(measured.spent), cpu.summed(floor.spent), measured.number)


@dataclass(frozen=True)
class Sides:
    engine: EngineSide
    waiting: FloorSide
    """Its confirmations wait for the next whole second, as the chain's blocks make the engine wait."""
    hasty: FloorSide
    """Its confirmations return at once."""


@asynccontextmanager
async def open_sides(world: World) -> AsyncIterator[Sides]:
    async with AsyncExitStack() as opened:
        http = await opened.enter_async_context(open_client())
        floor = await opened.enter_async_context(running_floor(world))
        temporal = await Client.connect(world.temporal.address, namespace=FLOOR_NAMESPACE)
        engine = await opened.enter_async_context(EngineSide.running(world, http))
        waiting, hasty = (FloorSide(floor, temporal, http, waits=waits) for waits in (True, False))
        sides = Sides(engine, waiting, hasty)
        await asyncio.gather(*(side.burst(WARM_UP, WARM_UP) for side in (engine, waiting)))
        yield sides


async def in_turns(world: World, scale: Scale, sides: Sequence[Side]) -> list[Rounds]:
    """A B C A B C: a machine that others use is then as slow for one as for the other."""
    rounds = [Rounds(side) for side in sides]
    for _ in range(scale.rounds):
        for each in rounds:
            await each.turn(world, scale)
    return rounds
