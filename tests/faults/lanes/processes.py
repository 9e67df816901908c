"""Lanes and submitters as real processes, to be killed and frozen; forked from one that has imported everything.

A lane process runs the very ``SignerLane`` of worker.py, with a configuration of the campaign's, so that a term ends
after a second and not after ten. Each ends with the campaign, however that ended.
"""

import asyncio
import multiprocessing
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

import structlog
from sqlalchemy import text

from chain.client import ChainClient
from chain.lane import SignerLane
from chain.lane_config import LaneConfig
from chain.signer import KeyFileSigner
from models.tables.session import open_database, transactions
from sandbox.services.guard import PR_SET_PDEATHSIG, prctl
from tests.engine import until
from tests.faults.lanes.payments import queue_payment
from tests.faults.lanes.yard import Yard

_PATIENCE_SECONDS = 60
_HOLDER = text(
    "SELECT a.application_name FROM chain_signers s JOIN pg_stat_activity a ON a.pid = s.lane_backend_pid "
    "WHERE a.datname = current_database()"
)


@dataclass(frozen=True)
class LaneSpec:
    """What a lane process is told."""

    name: str
    config: LaneConfig
    key: bytes = field(repr=False)
    database_url: str
    rpc_url: str
    log: Path


@dataclass(frozen=True)
class SubmitterSpec:
    """What a submitter is told: it queues one payment for each amount, each in a transaction of its own."""

    config: LaneConfig
    database_url: str
    partner_id: str
    amounts: Sequence[int]


@dataclass
class Crew:
    """The lane processes of a yard, by the name that their database sessions bear."""

    yard: Yard
    key: bytes = field(repr=False)
    folder: Path
    processes: dict[str, BaseProcess] = field(default_factory=dict)
    started: int = 0

    def start_lane(self) -> str:
        self.started += 1
        name = f"lane-{self.started}"
        log = self.folder / f"{name}.log"
        yard = self.yard
        spec = LaneSpec(name, yard.desk.config, self.key, yard.database_url, yard.rpc_url, log)
        self.processes[name] = _forked(run_lane, spec)
        return name

    def start_submitter(self, amounts: Sequence[int]) -> BaseProcess:
        yard = self.yard
        return _forked(run_submitter, SubmitterSpec(yard.desk.config, yard.database_url, yard.partner_id, amounts))

    async def holder(self) -> str | None:
        """Whose session the signer's row names, as far as that session is alive."""
        async with self.yard.desk.transaction() as session:
            name: str | None = await session.scalar(_HOLDER)
            return name if name in self.processes else None

    async def some_holder(self, but: str | None = None) -> str:
        """The lane that works, once there is one; not this one."""
        found: list[str] = []

        async def other() -> bool:
            name = await self.holder()
            found[:] = [] if name is None or name == but else [name]
            return len(found) == 1

        await until(other, _PATIENCE_SECONDS)
        return found[0]

    def kill(self, name: str) -> None:
        process = self.processes.pop(name)
        process.kill()
        process.join()

    def freeze(self, name: str) -> None:
        self._signal(name, signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        self._signal(name, signal.SIGCONT)

    def _signal(self, name: str, number: signal.Signals) -> None:
        pid = self.processes[name].pid
        assert pid is not None, f"{name} was never started"
        os.kill(pid, number)

    def died(self) -> list[str]:
        """Lanes that ended although nobody ended them: an exception that the lane does not foresee."""
        return [
            f"{name} ended by itself with {process.exitcode}: {(self.folder / f'{name}.log').read_text()[-600:]}"
            for name, process in self.processes.items()
            if process.exitcode is not None
        ]


@asynccontextmanager
async def crew_of(yard: Yard, folder: Path, lanes: int) -> AsyncIterator[Crew]:
    """So many lanes of one signer, one of which works; all killed at the end."""
    crew = Crew(yard, yard.desk.signer._key.secret, folder)
    try:
        for _ in range(lanes):
            crew.start_lane()
        yield crew
    finally:
        for name in list(crew.processes):
            crew.kill(name)


def _forked(target: Callable[..., None], spec: LaneSpec | SubmitterSpec) -> BaseProcess:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", __name__])
    process = context.Process(target=target, args=(spec,), daemon=True)
    process.start()
    return process


def run_lane(spec: LaneSpec) -> None:
    """The whole life of a lane process."""
    with _logging_to(spec.log):
        asyncio.run(_lane(spec))


async def _lane(spec: LaneSpec) -> None:
    database = open_database(spec.database_url, pool_size=2, application_name=spec.name)
    async with ChainClient(spec.rpc_url) as client:
        await SignerLane(spec.config, database, client, KeyFileSigner(spec.key)).run()


def run_submitter(spec: SubmitterSpec) -> None:
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    asyncio.run(_submit(spec))


async def _submit(spec: SubmitterSpec) -> None:
    database = open_database(spec.database_url, pool_size=1, application_name="submitter")
    transaction = transactions(database)
    for amount in spec.amounts:
        async with transaction() as session:
            await queue_payment(session, spec.config, spec.partner_id, amount)
    await database.dispose()


@contextmanager
def _logging_to(path: Path) -> Iterator[None]:
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    with path.open("w", buffering=1) as file, os.fdopen(os.dup(file.fileno()), "w") as errors:
        os.dup2(errors.fileno(), 2)
        structlog.configure(logger_factory=structlog.WriteLoggerFactory(file))
        yield
