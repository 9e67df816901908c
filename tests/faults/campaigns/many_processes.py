"""One signer and many processes: eight that submit, and eight lanes of which one works until it is killed."""

import asyncio
import random
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from multiprocessing.process import BaseProcess

from models.statuses import TransactionState
from tests.engine import until
from tests.faults.campaign import Part, Report
from tests.faults.grounds import Grounds
from tests.faults.lanes.processes import Crew, crew_of
from tests.faults.lanes.witness import install_witness, terms, zombies
from tests.faults.lanes.yard import Yard, open_yard

PROCESSES = 8
EACH, EACH_IN_FULL = 12, 2_000
BLOCK_TIME = timedelta(milliseconds=100)
PATIENCE_SECONDS = 15 * 60


class ManyProcesses:
    name = "one-signer-many-processes"
    title = "8 worker processes, 2,000 transactions each, one signer"
    figure = "16,000 transactions: no nonce gap, none used twice"
    unit = "transactions"

    def parts(self, *, full: bool) -> list[Part]:
        each = EACH_IN_FULL if full else EACH
        return [Part(self.name, f"{PROCESSES}x{each}", seed=1)]

    async def run(self, part: Part, grounds: Grounds) -> Report:
        async with open_yard(grounds, BLOCK_TIME, silence_limit=timedelta(seconds=5)) as yard:
            await install_witness(yard)
            async with crew_of(yard, grounds.folder("lanes"), PROCESSES) as crew:
                report = await _load(crew, part)
            report.breaches += await yard.breaches()
            report.breaches += zombies(await terms(yard))
            return report


async def _load(crew: Crew, part: Part) -> Report:
    each = int(part.name.partition("x")[2])
    began = time.monotonic()
    submitters = [crew.start_submitter(range(first, first + each)) for first in range(1, PROCESSES * each, each)]
    report = Report(operations=PROCESSES * each, injections=PROCESSES * each)
    killer = asyncio.create_task(_kill_holders(crew, random.Random(part.seed), report))  # noqa: S311 - a seed plans the same again
    await until(lambda: _all_submitted(submitters), PATIENCE_SECONDS)
    report.breaches += await crew.yard.rests(PATIENCE_SECONDS, mining=False)
    killer.cancel()
    with suppress(asyncio.CancelledError):
        await killer
    seconds = time.monotonic() - began
    report.notes.append(
        f"{PROCESSES * each} transactions in {seconds:.0f} s, {PROCESSES * each / seconds:.0f} a second"
    )
    report.breaches += [f"a submitter ended with {each.exitcode}" for each in submitters if each.exitcode != 0]
    report.breaches += crew.died()
    return report


async def _all_submitted(submitters: Sequence[BaseProcess]) -> bool:
    return all(submitter.exitcode is not None for submitter in submitters)


async def _kill_holders(crew: Crew, dice: random.Random, report: Report) -> None:
    """At seeded numbers of final legs the lane that works is killed, and another one started to wait with the rest."""
    at = 0
    while True:
        at += dice.randint(20 + report.operations // 40, 40 + report.operations // 10)
        await until(partial(_has_finished, crew.yard, at), PATIENCE_SECONDS)
        crew.kill(await crew.some_holder())
        crew.start_lane()
        report.faults["holder killed"] += 1


async def _has_finished(yard: Yard, number: int) -> bool:
    return await yard.count_in({TransactionState.FINAL_OK}) >= number
