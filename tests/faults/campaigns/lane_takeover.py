"""The lane that works is killed, frozen past its lock and thawed, or started twice, while legs keep coming in."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

from models.statuses import IN_FLIGHT_STATES, TransactionState
from tests.engine import until
from tests.faults.campaign import Part, Report
from tests.faults.grounds import Grounds
from tests.faults.lanes.processes import Crew, crew_of
from tests.faults.lanes.witness import install_witness, terms, zombies
from tests.faults.lanes.yard import REST_SECONDS, Yard, open_yard

KILL, FREEZE, TWICE = "killed", "frozen past its lock", "started twice"
LANES = 2
BLOCK_TIME = timedelta(milliseconds=100)
SILENCE = timedelta(seconds=1)
ROUNDS, FULL_PARTS, FULL_ROUNDS = 1, 10, 3
LEGS_A_TURN, TURN_SECONDS = 5, 0.05
TRIES = 50


class LaneTakeover:
    name = "lane-takeover"
    title = "the lane killed, frozen (SIGSTOP) past its lock, started twice"
    figure = "30 of each under load: one nonce sequence, no double send, a thawed lane writes nothing"
    unit = "lanes killed, frozen or doubled while legs were in flight"

    def parts(self, *, full: bool) -> list[Part]:
        rounds = FULL_ROUNDS if full else ROUNDS
        return [Part(self.name, f"rounds-{rounds}-{number}", number) for number in range(FULL_PARTS if full else 1)]

    async def run(self, part: Part, grounds: Grounds) -> Report:
        report = Report()
        async with open_yard(grounds, BLOCK_TIME, silence_limit=SILENCE) as yard:
            await install_witness(yard)
            async with crew_of(yard, grounds.folder("lanes"), LANES) as crew:
                takeovers = _Takeovers(crew, random.Random(part.seed), report)  # noqa: S311 - a seed plans the same again
                async with _load(yard):
                    await takeovers.run(int(part.name.split("-")[1]))
                report.breaches += await yard.rests(mining=False)
                report.breaches += crew.died()
            report.breaches += await yard.breaches()
            written = await terms(yard)
            report.breaches += zombies(written)
        report.operations = len(await yard.rows())
        report.notes.append(f"{len(written)} terms of {crew.started} processes")
        return report


@asynccontextmanager
async def _load(yard: Yard) -> AsyncIterator[None]:
    """Payments come in at a steady pace until the block ends."""

    async def keep_queueing() -> None:
        while True:
            await yard.queue(LEGS_A_TURN)
            await asyncio.sleep(TURN_SECONDS)

    queueing = asyncio.create_task(keep_queueing())
    try:
        yield
    finally:
        queueing.cancel()
        with suppress(asyncio.CancelledError):
            await queueing


class _Takeovers:
    def __init__(self, crew: Crew, dice: random.Random, report: Report) -> None:
        self._crew = crew
        self._dice = dice
        self._report = report

    async def run(self, rounds: int) -> None:
        """Each thing that may happen to a lane, so many times, in an order and at moments that the seed chooses."""
        plan = [KILL, FREEZE, TWICE] * rounds
        self._dice.shuffle(plan)
        for what in plan:
            try:
                await self._take_over(what)
            except TimeoutError:
                states = await self._crew.yard.states()
                self._report.breaches.append(f"no lane went on after one was {what}: {states}")
                return

    async def _take_over(self, what: str) -> None:
        holder = await self._crew.some_holder()
        await until(self._in_flight, REST_SECONDS)
        await asyncio.sleep(self._dice.randrange(300) / 1_000)
        await self._inflict(what, holder)
        self._report.injections += 1
        self._report.faults[what] += 1

    async def _inflict(self, what: str, holder: str) -> None:
        if what == TWICE:
            double = self._crew.start_lane()
            await self._progress()
            self._crew.kill(self._dice.choice([holder, double]))
            return
        await self._freeze_in_the_act(holder)
        if what == KILL:
            self._crew.kill(holder)
            self._crew.start_lane()
        else:
            await self._crew.some_holder(but=holder)
            await self._progress()
            self._crew.thaw(holder)

    async def _freeze_in_the_act(self, holder: str) -> None:
        """Stops the lane where it has stored transactions, and has not yet written what the node said of them."""
        for _ in range(TRIES):
            self._crew.freeze(holder)
            if await self._crew.yard.count_in({TransactionState.PREPARED}) > 0:
                self._report.faults["in the act of sending"] += 1
                return
            self._crew.thaw(holder)
            await asyncio.sleep(self._dice.randrange(50) / 1_000)
        self._crew.freeze(holder)

    async def _in_flight(self) -> bool:
        return await self._crew.yard.count_in(IN_FLIGHT_STATES) > 0

    async def _progress(self) -> None:
        """Some more legs become final."""
        done = {TransactionState.FINAL_OK}
        before = await self._crew.yard.count_in(done)

        async def more() -> bool:
            return await self._crew.yard.count_in(done) > before + LEGS_A_TURN

        await until(more, REST_SECONDS)
