"""Worker, API, lane, PostgreSQL, Temporal and the node are killed or frozen at random moments under load, and come back.

The servers are the part's own and keep what they knew. The node is stopped rather than killed: one that is killed forgets
blocks that it called final, which is a promise of the chain and not of the engine.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import cycle

from sqlalchemy import func, select

from models.statuses import OperationState
from models.tables.operations import Operation
from sandbox.engine import API
from sandbox.services import AnvilOptions, PostgresOptions, Stack, StackOptions, TemporalOptions, ValkeyOptions
from sandbox.services.process import Process
from tests.faults.campaign import Grounds, Part, Report
from tests.faults.desk import BLOCK_TIME, LANE, LOANS
from tests.faults.processes import Running, Site, open_running, start_and_fund
from tests.faults.stories import BORROW, STORIES, Business, Request, Story, answered

NAME = "kills"
SEEDS = 12
BLOWS = 9
SLICE = "short-1"
OPERATIONS = 36
POSTGRES, TEMPORAL, NODE = "PostgreSQL", "Temporal", "the node"
VICTIMS = (LOANS, LANE, API, POSTGRES, TEMPORAL, NODE)
PAUSE_MS = (300, 2_000)
LASTS_MS = (300, 1_500, 4_000, 13_000)
"""The longest outlasts the heartbeat of a waiting activity and the silence for which a lane is ended."""
QUIET = timedelta(minutes=3)
KEPT = StackOptions(
    PostgresOptions(durable=False),
    TemporalOptions(persistent=True),
    ValkeyOptions(),
    AnvilOptions(persistent=True, block_time=BLOCK_TIME),
)


@dataclass(frozen=True, slots=True)
class Blow:
    """One thing that happens to one victim: after a pause, for a while."""

    victim: str
    frozen: bool
    pause_ms: int
    lasts_ms: int

    @property
    def kind(self) -> str:
        return f"{self.victim} {'frozen' if self.frozen else 'stopped' if self.victim == NODE else 'killed'}"


def planned(part: Part) -> list[Blow]:
    """Each victim at least once, in an order of the seed's own; in the slice each once, and none for long."""
    chance = random.Random(part.seed)  # noqa: S311 - a plan, not a secret
    blows, lasts = (len(VICTIMS), LASTS_MS[:-1]) if part.name == SLICE else (BLOWS, LASTS_MS)
    victims = [*VICTIMS, *chance.choices(VICTIMS, k=blows - len(VICTIMS))]
    chance.shuffle(victims)
    return [
        Blow(victim, chance.random() < 1 / 2, chance.randint(*PAUSE_MS), chance.choice(lasts)) for victim in victims
    ]


class Kills:
    name = NAME
    title = "Worker, API, lane, PostgreSQL, Temporal and the node killed or frozen under load"
    figure = f"{SEEDS} seeds, each part of the engine hit in each, 0 operations lost"
    unit = "operations that were under way when a part was killed or frozen"

    def parts(self, *, full: bool) -> list[Part]:
        return [Part(NAME, f"seed-{seed}", seed) for seed in range(1, SEEDS + 1)] if full else [Part(NAME, SLICE, 1)]

    async def run(self, part: Part, grounds: Grounds) -> Report:
        """The load lasts as long as the blows; then the engine has a few minutes to come to rest."""
        async with _open(grounds) as struck:
            return await struck.run(planned(part))


@dataclass(frozen=True)
class _Struck:
    stack: Stack
    running: Running
    business: Business

    async def run(self, blows: Sequence[Blow]) -> Report:
        report = Report(operations=OPERATIONS)
        requests = await self._prepare()
        load = asyncio.create_task(self._load(requests, blows))
        for blow in blows:
            await asyncio.sleep(blow.pause_ms / 1000)
            report.injections += await self._under_way()
            report.faults[blow.kind] += 1
            await self._strike(blow)
        report.breaches += [f"{name} ended by itself" for name in (API, LOANS, LANE) if not self._runs(name)]
        report.breaches += await self._judge(load)
        return report

    async def _prepare(self) -> list[tuple[Story, Request]]:
        """Requests of all kinds in turn; what must be on the chain before them is."""
        chosen = [story for story, _ in zip(cycle(STORIES.values()), range(OPERATIONS), strict=False)]
        loans = [story for story in chosen if story.on_a_loan]
        subjects = {
            True: iter(await self.business.subjects(loans[0], len(loans))),
            False: iter(await self.business.subjects(BORROW, OPERATIONS - len(loans))),
        }
        return [(story, await self.business.prepare(story, next(subjects[story.on_a_loan]))) for story in chosen]

    async def _load(self, requests: Sequence[tuple[Story, Request]], blows: Sequence[Blow]) -> dict[str, Story]:
        """Spread over the time of the blows. The operation of each answered request, with its story."""
        seconds = sum(blow.pause_ms + blow.lasts_ms for blow in blows) / 1000
        asked = []
        for _, request in requests:
            asked.append(asyncio.create_task(answered(request)))
            await asyncio.sleep(seconds / len(requests))
        answers = await asyncio.gather(*asked)
        return {operation: story for operation, (story, _) in zip(answers, requests, strict=True)}

    async def _under_way(self) -> int:
        open_now = select(func.count()).where(Operation.state.in_([OperationState.RECEIVED, OperationState.OPEN]))
        async with self.running.engine.transaction() as session:
            return int(await session.scalar(open_now) or 0)

    async def _strike(self, blow: Blow) -> None:
        process = self._process(blow.victim)
        if blow.frozen:
            process.freeze()
        elif blow.victim == NODE:
            await process.stop()
        else:
            await process.kill()
        await asyncio.sleep(blow.lasts_ms / 1000)
        await self._bring_back(blow, process)

    async def _bring_back(self, blow: Blow, process: Process) -> None:
        """A node that was stopped reads no state below its old head: two blocks bring ``finalized`` there."""
        if blow.frozen:
            process.thaw()
        elif blow.victim in (API, LOANS, LANE):
            await self.running.processes.start(blow.victim)
        else:
            await process.start()
        if blow.victim == NODE and not blow.frozen:
            await self.running.engine.client.rpc.call("anvil_mine", "0x2")
        if blow.victim == POSTGRES:
            await self.running.engine.parts.database.dispose()

    def _process(self, victim: str) -> Process:
        servers = {
            POSTGRES: self.stack.postgres.process,
            TEMPORAL: self.stack.temporal.process,
            NODE: self.stack.anvil.process,
        }
        return servers.get(victim) or self.running.processes.process(victim)

    def _runs(self, name: str) -> bool:
        return self.running.processes.running(name)

    async def _judge(self, load: "asyncio.Task[dict[str, Story]]") -> list[str]:
        try:
            async with asyncio.timeout(QUIET.total_seconds()):
                stories = await load
                await self.business.done([*stories])
        except TimeoutError:
            return [f"not done {QUIET} after the last blow", *await self.running.breaches_at_rest(0)]
        outcomes = {each: await self.business.outcome(each) for each in stories}
        wrong = [f"{each} ended {outcome}" for each, outcome in outcomes.items() if outcome != stories[each].ends]
        lost = [] if len(outcomes) == OPERATIONS else [f"{OPERATIONS - len(outcomes)} operations were lost"]
        return [*wrong, *lost, *await self.running.breaches_at_rest()]


@asynccontextmanager
async def _open(grounds: Grounds) -> AsyncIterator[_Struck]:
    folder = grounds.folder("kills")
    async with Stack.start(folder / "stack", KEPT) as stack:
        site = Site(folder, await stack.postgres.create_database("faults"), stack.temporal, stack.anvil)
        async with open_running(site) as running:
            await asyncio.gather(*(running.processes.start(role, role) for role in (LOANS, LANE)))
            await start_and_fund(running, API)
            yield _Struck(stack, running, await Business.open(running))
