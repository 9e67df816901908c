"""The engine's own processes on one machine: migrations, API and workers, started, killed and started again by name.

The demo, the benchmarks and the tests with real processes all run the engine through this module, so it knows nothing
of what they do with it. What the processes are told, they are told by ENGINE_* variables, as in production.
"""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Literal

import httpx
from eth_typing import ChecksumAddress

from contracts.deploy import Contracts
from sandbox.services.ports import LOOPBACK, leased_port
from sandbox.services.process import LEFTOVERS_LIMIT, Process, Program, ensured, locked_folder, run_to_end
from settings import ENV_PREFIX, surroundings

ROOT = Path(__file__).resolve().parents[1]
API = "api"
WORKER = "worker"
Role = Literal["all", "loans", "lane", "webhooks"]
READY = b"worker ready"
# A worker lets its steps finish for twenty seconds.
STOPS = ((signal.SIGTERM, 30),)


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """Where the engine finds what it works with. `settings` are further ones, by their names without ENGINE_.

    `own` answers, for the name of a process, settings of that one alone, such as the ports that it tells its metrics on.
    `inside` answers, for the name of a process, the words that start another program in which its own one then runs.
    """

    database_url: str
    temporal_address: str
    rpc_url: str
    chain_id: int
    contracts: Contracts
    platform_wallet: ChecksumAddress
    signer_key_file: Path
    rate_limit_url: str | None = None
    treasuries: tuple[ChecksumAddress, ...] = ()
    temporal_namespace: str = "default"
    confirmations: int = 1
    block_poll: timedelta = timedelta(milliseconds=250)
    settings: Mapping[str, str] = field(default_factory=dict)
    inside: Callable[[str], Sequence[str]] = lambda _: ()
    own: Callable[[str], Mapping[str, str]] = lambda _: {}

    def variables(self, api_url: str) -> dict[str, str]:
        """Every ENGINE_* variable that differs from the engine's defaults."""
        named = {
            "DATABASE_URL": self.database_url,
            "TEMPORAL_ADDRESS": self.temporal_address,
            "TEMPORAL_NAMESPACE": self.temporal_namespace,
            "RPC_URL": self.rpc_url,
            "CHAIN_ID": str(self.chain_id),
            "USDC_ADDRESS": self.contracts.usdc,
            "OAID_ADDRESS": self.contracts.oaid,
            "VAULT_ADDRESS": self.contracts.vault,
            "POOL_ADDRESS": self.contracts.pool,
            "PLATFORM_WALLET": self.platform_wallet,
            "TREASURY_ADDRESSES": ",".join(self.treasuries),
            "SIGNER_KEY_FILE": str(self.signer_key_file),
            "CONFIRMATIONS": str(self.confirmations),
            "BLOCK_POLL": f"PT{self.block_poll.total_seconds()}S",
            "KEY_MODE": "sandbox",
            "PUBLIC_URL": api_url,
            **({} if self.rate_limit_url is None else {"RATE_LIMIT_URL": self.rate_limit_url}),
            **self.settings,
        }
        return _named(named)


def _named(settings: Mapping[str, str]) -> dict[str, str]:
    return {f"{ENV_PREFIX}{name}": value for name, value in settings.items()}


class Engine:
    """Processes by name: `api`, and workers of any name, each with a role. All end when the engine is closed."""

    def __init__(self, folder: Path, lock: int, config: EngineConfig, api_port: int) -> None:
        self.folder = folder
        self.api_url = f"http://{LOOPBACK}:{api_port}"
        self.config = config
        self.variables = config.variables(self.api_url)
        self._lock = lock
        self._api_port = api_port
        self._processes: dict[str, Process] = {}
        self._roles: dict[str, Role] = {}

    @classmethod
    @asynccontextmanager
    async def open(cls, folder: Path, config: EngineConfig, api_port: int | None = None) -> AsyncIterator["Engine"]:
        """An engine of which nothing runs yet. The logs of its processes are in the folder."""
        folder = ensured(folder)
        async with locked_folder(folder, LEFTOVERS_LIMIT) as lock:
            with leased_port(api_port) as port:
                engine = cls(folder, lock, config, port)
                try:
                    yield engine
                finally:
                    await engine.stop_all()

    async def migrate(self) -> None:
        """Bring the database to the revision of this code."""
        await run_to_end(self._program("migrations", "-m", "alembic", "upgrade", "head"), self._lock)

    async def start(self, name: str, role: Role | None = None) -> Process:
        """Start `api`, or a worker, and return when it is ready. A role that is not given is what it was, or all."""
        if self.running(name):
            raise ValueError(f"{name} runs already")
        process = self._api() if name == API else self._worker(name, role or self._roles.get(name, "all"))
        self._processes[name] = process
        await process.start()
        return process

    async def start_all(self, *names: str) -> None:
        """Start several at the same time."""
        try:
            async with asyncio.TaskGroup() as group:
                for name in names:
                    group.create_task(self.start(name))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None  # one cause is enough for a message

    async def stop(self, name: str) -> None:
        """End it gracefully."""
        await self._processes[name].stop()

    async def kill(self, name: str) -> None:
        """End it as kill -9 does."""
        await self._processes[name].kill()

    def process(self, name: str) -> Process:
        """To freeze it, or to ask for its pids."""
        return self._processes[name]

    def running(self, name: str) -> bool:
        return name in self._processes and self._processes[name].running

    async def stop_all(self) -> None:
        await asyncio.gather(*(process.stop() for process in self._processes.values()))

    def _api(self) -> Process:
        serve = ("-m", "api.app", "--host", LOOPBACK, "--port", str(self._api_port))
        program = self._program(API, *self.config.inside(API), *serve)
        return Process(program, self._lock, self._api_answers)

    async def _api_answers(self) -> bool:
        try:
            async with httpx.AsyncClient(trust_env=False) as client:
                answer = await client.get(f"{self.api_url}/v1/health/ready")
        except httpx.HTTPError:
            return False
        return answer.is_success

    def _worker(self, name: str, role: Role) -> Process:
        self._roles[name] = role
        program = self._program(name, *self.config.inside(name), str(ROOT / "worker.py"), "--role", role)
        return Process(program, self._lock, _says(program.log, READY))

    def _program(self, name: str, *arguments: str) -> Program:
        return Program(
            name,
            (sys.executable, *arguments),
            folder=ROOT,
            log=self.folder / f"{name}.log",
            stops=STOPS,
            environment={**surroundings(), **self.variables, **_named(self.config.own(name))},
        )


def _says(log: Path, word: bytes) -> Callable[[], Awaitable[bool]]:
    """Whether the log has the word since now.

    Temporal's list of pollers would not do: it keeps those of a killed worker for minutes, and the lane polls nothing.
    """
    start = log.stat().st_size if log.exists() else 0

    async def said() -> bool:
        with log.open("rb") as lines:
            lines.seek(start)
            return word in lines.read()

    return said
