"""PostgreSQL, Temporal, the node or Valkey away while partners keep asking, and back: nothing is lost.

Each part is killed as kill -9 does, on servers that keep what they knew; the node is cut off at the proxy, where it goes on
by itself, as a provider that cannot be reached does.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

from sandbox.services import AnvilOptions, PostgresOptions, Stack, StackOptions, TemporalOptions, ValkeyOptions
from sandbox.services.process import Process
from tests.faults.campaign import Grounds, Part, Report
from tests.faults.driver import ROLES, Driven, driven
from tests.faults.processes import Site

KEPT = StackOptions(
    PostgresOptions(durable=False),
    TemporalOptions(persistent=True),
    ValkeyOptions(persistent=True),
    AnvilOptions(block_time=timedelta(milliseconds=200)),
)
AWAY = {"postgresql": 30, "temporal": 60, "node": 300, "valkey": 30}
"""Seconds, as proof.md says; of Valkey it names none."""
OF_THE_SLICE, SLICE_SECONDS = ("postgresql", "temporal", "node", "valkey"), 6
"""Longer than the quick retries of a step (workflows/options.py), so that the slow way is gone, too."""
BETWEEN_SECONDS, SCENES_AT_ONCE = 3, 3
Outage = Callable[[], Awaitable[None]]


class PartsAway:
    name = "parts-away"
    title = "PostgreSQL away 30 s, Temporal 60 s, RPC 5 min, Valkey away"
    figure = "0 operations lost"
    unit = "operations asked for while a part was away"

    def parts(self, *, full: bool) -> list[Part]:
        if not full:
            return [Part(self.name, f"{'+'.join(OF_THE_SLICE)} {SLICE_SECONDS} s", 1)]
        return [Part(self.name, f"{what} {seconds} s", seed) for seed, (what, seconds) in enumerate(AWAY.items(), 1)]

    async def run(self, part: Part, grounds: Grounds) -> Report:
        """On servers of its own: those of the grounds forget what they knew."""
        what, seconds, _ = part.name.split(" ")
        async with _engine(grounds, part.seed, int(seconds)) as (stack, engine):
            report = Report()
            for each in what.split("+"):
                await _without(each, int(seconds), stack, engine, report)
            report.breaches += await engine.comes_to_rest()
            report.operations = len({request.operation_id for request, _ in engine.partners.told})
            report.notes.append(f"{engine.partners.repeats} requests repeated")
            return report


async def _without(what: str, seconds: int, stack: Stack, engine: Driven, report: Report) -> None:
    """Some load before, while and after the part is away; who asked meanwhile is answered when it is back."""
    leave, come_back = _outage(what, stack, engine)
    async with asyncio.TaskGroup() as under_way:
        under_way.create_task(engine.scenes.play(2 * SCENES_AT_ONCE))
        await asyncio.sleep(1)
        await leave()
        asked = engine.partners.asked
        for _ in range(0, seconds, BETWEEN_SECONDS):
            under_way.create_task(engine.scenes.play(SCENES_AT_ONCE))
            await asyncio.sleep(BETWEEN_SECONDS)
        hit = engine.partners.asked - asked
        await come_back()
        await engine.running.engine.parts.database.dispose()
        under_way.create_task(engine.scenes.play(SCENES_AT_ONCE))
    await _revive(engine, report)
    report.injections += hit
    report.faults += Counter({f"{what} away": hit})


async def _revive(engine: Driven, report: Report) -> None:
    """A supervisor starts again what has ended; that it had to is worth telling."""
    for name in ROLES:
        if not engine.running.processes.running(name):
            report.notes.append(f"{name} had ended by itself")
            await engine.running.processes.start(name)


def _outage(what: str, stack: Stack, engine: Driven) -> tuple[Outage, Outage]:
    if what == "node":
        return _as_step(engine.proxy.leave), _as_step(engine.proxy.come_back)
    process = _processes(stack)[what]
    return process.kill, process.start


def _processes(stack: Stack) -> dict[str, Process]:
    return {
        "postgresql": stack.postgres.process,
        "temporal": stack.temporal.process,
        "valkey": stack.valkey.process,
    }


def _as_step(act: Callable[[], None]) -> Outage:
    async def step() -> None:
        act()

    return step


@asynccontextmanager
async def _engine(grounds: Grounds, seed: int, seconds: int) -> AsyncIterator[tuple[Stack, Driven]]:
    folder = grounds.folder("away")
    lines = 15 + SCENES_AT_ONCE * seconds // BETWEEN_SECONDS
    async with Stack.start(folder / "stack", KEPT) as stack:
        database_url = await stack.postgres.create_database("faults")
        site = Site(folder, database_url, stack.temporal, stack.anvil, rate_limit_url=stack.valkey_url)
        async with driven(site, seed, lines=lines) as engine:
            yield stack, engine
