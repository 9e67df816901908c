"""Bench 5: how many reads of a loan a second the API answers, with all that stands before its routes, and how a million loans change that."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from decimal import Decimal

import aiohttp

from bench import cpu
from bench.floor import FLOOR_API, running_floor
from bench.grown import Grown
from bench.load import GetAll, get_all, open_client
from bench.measures import Lap, Stopwatch, median_ratio, milliseconds, percentile, rates
from bench.report import Figure, Report
from bench.world import World
from sandbox.engine import API, Engine
from sandbox.services.process import Process

WARM_UP = 200
LEAST = Decimal("0.90")


class Reader:
    """One process that is read from, by so many at a time."""

    def __init__(self, http: aiohttp.ClientSession, process: Process, asked: GetAll) -> None:
        self._http = http
        self._process = process
        self._asked = asked
        self.laps: list[Lap] = []
        self.latencies: list[int] = []
        self.spent: list[cpu.Spent] = []

    async def turn(self, number: int) -> None:
        before = cpu.spent({API: self._process})
        watch = Stopwatch()
        self.latencies += await get_all(self._http, self._asked, number)
        self.laps.append(watch.lap(number))
        self.spent.append(cpu.between(before, cpu.spent({API: self._process})))

    def forget(self) -> None:
        self.laps, self.latencies, self.spent = [], [], []


async def reads(
    world: World, grown: Sequence[Grown], report: Report, *, rounds: int, number: int, concurrency: int
) -> None:
    report.heading(f"5. Reads of a loan over REST: {rounds} x {number}, {concurrency} at a time")
    report.note(
        "GET /v1/loans/{partner_loan_id} of one API process: the key is looked up, the request counted in Valkey, and its row\n"
        "committed to the request log before the answer leaves. Floor: a GET of a bare FastAPI process that does nothing.\n"
        "The engine's processes and the floor's are asked in turns."
    )
    async with AsyncExitStack() as opened:
        http = await opened.enter_async_context(open_client())
        floor = await opened.enter_async_context(running_floor(world))
        bare = Reader(http, floor.api, GetAll([f"{floor.url}/health"], {}, concurrency))
        readers = [await _reader(opened, world, http, each, concurrency) for each in grown]
        for reader in (bare, *readers):
            await reader.turn(WARM_UP)
            reader.forget()
        for _ in range(rounds):
            for reader in (bare, *readers):
                await reader.turn(number)
    _tell(report, grown, bare, readers, rounds * number)


async def _reader(
    opened: AsyncExitStack, world: World, http: aiohttp.ClientSession, grown: Grown, concurrency: int
) -> Reader:
    folder = world.folder / f"engine-{grown.loans}"
    engine = await opened.enter_async_context(Engine.open(folder, grown.config))
    process = await engine.start(API)
    urls = [f"{engine.api_url}/v1/loans/{name}" for name in grown.reader_loans()]
    return Reader(http, process, GetAll(urls, grown.headers, concurrency))


def _tell(report: Report, grown: Sequence[Grown], bare: Reader, readers: Sequence[Reader], number: int) -> None:
    ratios = [median_ratio(reader.laps, bare.laps) for reader in readers]
    figures = [
        Figure(f"reads at {each.loans:,} loans", rates(reader.laps), rates(bare.laps), f"{ratio:.2f}")
        for each, reader, ratio in zip(grown, readers, ratios, strict=True)
    ]
    kept = median_ratio(readers[-1].laps, readers[0].laps)
    aimed = f"changes <= 10 %: ratio >= {LEAST}"
    figures.append(
        Figure(
            "the most loans against the fewest",
            rates(readers[-1].laps),
            rates(readers[0].laps),
            f"{kept:.2f}",
            aimed,
            kept >= LEAST,
        )
    )
    for percent in (50, 99):
        told = [milliseconds(percentile(reader.latencies, percent)) for reader in (*readers, bare)]
        figures.append(Figure(f"p{percent} of one, under this load", " / ".join(told[:-1]), told[-1]))
    report.figures(figures)
    for name, reader in (
        (FLOOR_API, bare),
        *((f"{each.loans:,} loans", one) for each, one in zip(grown, readers, strict=True)),
    ):
        cpu.tell(report, f"CPU time of one, {name}", cpu.summed(reader.spent), number)
