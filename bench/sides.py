"""The two that are measured against each other, behind one interface: the engine's processes, and the floor's.

Both are asked in the same way, by the same client in this process, and both are left to finish before the other's turn.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

import aiohttp
from sqlalchemy import ColumnElement, func, select
from temporalio.client import Client

from bench.floor import FLOOR_API, FLOOR_WORKER, Floor
from bench.load import PostAll, post_all
from bench.measures import Stopwatch
from bench.world import BLOCK_TIME, World, borrow_body
from models.statuses import OperationKind, OperationState
from models.tables.operations import Operation
from models.tables.session import transactions
from sandbox.engine import API
from sandbox.seed import fund_float
from sandbox.services.process import Process

LOANS, LANE = "loans", "lane"
POLL = timedelta(milliseconds=50)
PATIENCE = timedelta(minutes=5)
NO_PAUSE = timedelta()


@dataclass(frozen=True, slots=True)
class Burst:
    """One round: each decision's latency, and how long it took until the last was decided and until the last was done."""

    latencies: Sequence[int]
    decided: int
    finished: int


class Side(Protocol):
    async def burst(self, number: int, concurrency: int, pause: timedelta = NO_PAUSE) -> Burst:
        """So many borrows, so many at a time, each sender pausing after each; returns when all have ended."""

    def processes(self) -> Mapping[str, Process]: ...


class EngineSide:
    """The API, the loans role and the lane, a process each."""

    def __init__(self, world: World, http: aiohttp.ClientSession) -> None:
        self._world = world
        self._http = http
        self._transaction = transactions(world.database)

    @classmethod
    @asynccontextmanager
    async def running(cls, world: World, http: aiohttp.ClientSession) -> AsyncIterator["EngineSide"]:
        engine = world.engine
        async with AsyncExitStack() as stopping:
            stopping.push_async_callback(engine.stop_all)
            await asyncio.gather(engine.start(LANE, "lane"), engine.start(LOANS, "loans"), engine.start(API))
            await fund_float(world.chain, world.database)
            yield cls(world, http)

    def processes(self) -> Mapping[str, Process]:
        return {name: self._world.engine.process(name) for name in (API, LOANS, LANE)}

    async def burst(self, number: int, concurrency: int, pause: timedelta = NO_PAUSE) -> Burst:
        done_before = await self._done()
        bodies = [borrow_body(line) for line in self._world.take_lines(number)]
        asked = PostAll(f"{self._world.engine.api_url}/v1/loans", self._world.headers, bodies, concurrency, pause)
        watch = Stopwatch()
        answers = await post_all(self._http, asked)
        decided = watch.nanoseconds()
        assert all(answer.body["decision"] == "accepted" for answer in answers), "a decision took too long"
        await _until(self._done, done_before + number)
        finished = watch.nanoseconds()
        await self._assert_active()
        return Burst([answer.nanoseconds for answer in answers], decided, finished)

    async def _done(self) -> int:
        return await self._count(Operation.state == OperationState.DONE)

    async def _assert_active(self) -> None:
        """Fast is worth nothing where loans fail."""
        borrowed = (Operation.kind == OperationKind.BORROW) & (Operation.state == OperationState.DONE)
        failed = Operation.outcome["status"].astext != "ACTIVE"
        assert await self._count(borrowed & failed) == 0, "not every loan became ACTIVE"

    async def _count(self, which: ColumnElement[bool]) -> int:
        async with self._transaction() as session:
            return await session.scalar(select(func.count()).select_from(Operation).where(which)) or 0


class FloorSide:
    """A bare application and a worker; ``waits`` says whether a confirmation waits for a block of the clock."""

    def __init__(self, floor: Floor, temporal: Client, http: aiohttp.ClientSession, *, waits: bool) -> None:
        self._floor = floor
        self._temporal = temporal
        self._http = http
        self._body: dict[str, Any] = {"block_time": BLOCK_TIME // timedelta(milliseconds=1) if waits else 0}

    def processes(self) -> Mapping[str, Process]:
        return {FLOOR_API: self._floor.api, FLOOR_WORKER: self._floor.worker}

    async def burst(self, number: int, concurrency: int, pause: timedelta = NO_PAUSE) -> Burst:
        done_before = await self._done()
        asked = PostAll(f"{self._floor.url}/borrow", {}, [self._body] * number, concurrency, pause)
        watch = Stopwatch()
        answers = await post_all(self._http, asked)
        decided = watch.nanoseconds()
        await _until(self._done, done_before + number)
        return Burst([answer.nanoseconds for answer in answers], decided, watch.nanoseconds())

    async def _done(self) -> int:
        return (await self._temporal.count_workflows("ExecutionStatus = 'Completed'")).count


async def _until(done: Callable[[], Awaitable[int]], number: int) -> None:
    async with asyncio.timeout(PATIENCE.total_seconds()):
        while await done() < number:  # noqa: ASYNC110 - other processes do it
            await asyncio.sleep(POLL.total_seconds())
