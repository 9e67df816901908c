"""The floor's two processes, started and stopped as the engine's are."""

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from bench.floor_worker import READY
from bench.world import FLOOR_NAMESPACE, World
from sandbox.engine import ROOT, STOPS
from sandbox.services.ports import LOOPBACK, leased_port
from sandbox.services.process import Process, Program, ensured, locked_folder
from settings import surroundings

FLOOR_API, FLOOR_WORKER = "floor api", "floor worker"

Ready = Callable[[], Awaitable[bool]]


@dataclass(frozen=True)
class Floor:
    url: str
    api: Process
    worker: Process


@asynccontextmanager
async def running_worker(world: World) -> AsyncIterator[Process]:
    """The floor's worker alone, for workflows that are started without an API."""
    folder = ensured(world.folder / "floor-worker")
    log = folder / "worker.log"

    async def ready() -> bool:
        return READY in log.read_text()

    async with running_module(
        folder, log, ready, "bench.floor_worker", world.temporal.address, FLOOR_NAMESPACE
    ) as worker:
        yield worker


@asynccontextmanager
async def running_floor(world: World) -> AsyncIterator[Floor]:
    folder = ensured(world.folder / "floor-api")
    async with AsyncExitStack() as opened:
        worker = await opened.enter_async_context(running_worker(world))
        port = opened.enter_context(leased_port())
        url = f"http://{LOOPBACK}:{port}"

        async def ready() -> bool:
            try:
                async with httpx.AsyncClient(trust_env=False) as client:
                    return (await client.get(f"{url}/health")).is_success
            except httpx.HTTPError:
                return False

        program = ("bench.floor_app", world.temporal.address, FLOOR_NAMESPACE, str(port))
        api = await opened.enter_async_context(running_module(folder, folder / "api.log", ready, *program))
        yield Floor(url, api, worker)


@asynccontextmanager
async def running_module(folder: Path, log: Path, ready: Ready, module: str, *arguments: str) -> AsyncIterator[Process]:
    async with locked_folder(folder) as lock:
        argv = (sys.executable, "-m", module, *arguments)
        program = Program(module, argv, folder=ROOT, log=log, stops=STOPS, environment=surroundings())
        process = Process(program, lock, ready)
        await process.start()
        try:
            yield process
        finally:
            await process.stop()
