"""Bench 3: the same seven steps with empty bodies, as local activities of a workflow and as steps of DBOS."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from bench import cpu
from bench.floor import running_worker
from bench.floor_activities import Nothing
from bench.floor_workflows import SevenSteps
from bench.measures import Lap, Stopwatch, median_ratio, rates
from bench.report import Figure, Report
from bench.world import FLOOR_NAMESPACE, World
from sandbox.engine import ROOT
from sandbox.services.process import Process
from settings import surroundings
from workflows.options import LOANS_QUEUE

FLOOR_AIM, AIM = Decimal("1.0"), Decimal("1.5")


@dataclass
class Turns:
    laps: list[Lap] = field(default_factory=list)
    spent: list[cpu.Spent] = field(default_factory=list)

    async def turn(self, parts: Mapping[str, Process], work: Awaitable[Lap]) -> None:
        before = cpu.spent(parts)
        self.laps.append(await work)
        self.spent.append(cpu.between(before, cpu.spent(parts)))


async def steps(world: World, rounds: int, number: int, concurrency: int, report: Report) -> None:
    report.heading(f"3. Seven empty steps: {rounds} x {number} workflows, {concurrency} at a time")
    report.note(
        "Ours: one workflow with seven local activities, started and awaited by this process, run by a worker process. DBOS:\n"
        "asynchronous workflows of seven asynchronous steps, run by the process that starts them, on the same PostgreSQL server.\n"
        "Neither side is durable against a crash of the machine: PostgreSQL runs without fsync, and Temporal's dev server keeps\n"
        "its state in SQLite in memory. A Temporal cluster on PostgreSQL is not measured here: no package brings one."
    )
    ours, theirs = await _in_turns(world, rounds, number, concurrency)
    ratio = median_ratio(ours.laps, theirs.laps)
    aimed = f"ratio >= {FLOOR_AIM}, aim {AIM}"
    met = ratio >= FLOOR_AIM
    report.figures(
        [Figure("workflows of seven steps", rates(ours.laps), rates(theirs.laps), f"{ratio:.2f}", aimed, met)]
    )
    for name, turns in (("ours", ours), ("of DBOS, which is started by this process and counted with it", theirs)):
        cpu.tell(report, f"CPU time of one, {name}", cpu.summed(turns.spent), rounds * number)


async def _in_turns(world: World, rounds: int, number: int, concurrency: int) -> tuple[Turns, Turns]:
    database_url = await world.postgres.create_database("dbos")
    ours, theirs = Turns(), Turns()
    async with running_worker(world) as worker:
        temporal = await Client.connect(
            world.temporal.address, namespace=FLOOR_NAMESPACE, data_converter=pydantic_data_converter
        )
        await _seven(temporal, concurrency, concurrency, "warm")
        parts = {"worker": worker, **world.services}
        for turn in range(rounds):
            await ours.turn(parts, _seven(temporal, number, concurrency, str(turn)))
            await theirs.turn(parts, _dbos(database_url, number, concurrency))
    return ours, theirs


async def _seven(temporal: Client, number: int, concurrency: int, name: str) -> Lap:
    waiting = iter(range(number))

    async def one_after_the_other() -> None:
        for each in waiting:
            await temporal.execute_workflow(
                SevenSteps.run, Nothing(), id=f"seven-{name}-{each}", task_queue=LOANS_QUEUE
            )

    watch = Stopwatch()
    await asyncio.gather(*(one_after_the_other() for _ in range(concurrency)))
    return watch.lap(number)


async def _dbos(database_url: str, number: int, concurrency: int) -> Lap:
    """In a process of its own, which warms up before it measures; DBOS keeps its state in module globals."""
    program = (sys.executable, "-m", "bench.dbos_steps", database_url, str(number), str(concurrency))
    process = await asyncio.create_subprocess_exec(
        *program, cwd=ROOT, env=surroundings(), stdout=asyncio.subprocess.PIPE
    )
    told, _ = await process.communicate()
    assert process.returncode == 0, "the DBOS process failed; its words are above"
    return Lap(number, json.loads(told.splitlines()[-1])["nanoseconds"])
