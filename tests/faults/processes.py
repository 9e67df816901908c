"""The engine as real processes, which a test kills, freezes and starts again; driven as the engine in one process is.

``Running.engine`` is the same driver as in ``tests/engine.py``, only that its requests go to a real server over a socket
and that no role of it runs in the test's own process.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
from pydantic import SecretStr
from sqlalchemy import select
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from api.administration import record_grant
from chain.contracts.usdc import TRANSFER_EVENT
from chain.contracts.vault_events import USDC_BORROWED_EVENT
from chain.types import Log
from contracts.deploy import Contracts, Sender, deploy
from contracts.funding import fund_pool, mint_usdc, open_lines, set_operator
from models.statuses import OperationState
from models.tables import session as database
from models.tables.loans import Loan
from models.tables.operations import Operation
from sandbox.accounts import write_private
from sandbox.engine import Engine as Processes
from sandbox.engine import EngineConfig
from sandbox.services import Anvil, Temporal
from settings import ENV_PREFIX, Settings
from startup import describe_chain
from tests.chain.world import USD, new_sender
from tests.engine import FLOAT, Borrower, Engine, PartnerAccount, WatchedClient, keyed_sender, until
from tests.invariants import breaches
from wiring import Parts

BLOCK_POLL = timedelta(milliseconds=50)
CONNECTIONS = 250
SCAN_SECONDS = 20
RECOVERY_SECONDS = 60
"""A killed worker's waits are taken up once their heartbeat has been missing for 30 s (workflows/options.py)."""


@dataclass(frozen=True)
class Site:
    """Where an engine is set up. ``rpc_url`` where its processes reach the node by another way than the test.

    ``inside`` is EngineConfig's: the program in which the program of a process runs. So is ``own``: its own settings.
    """

    folder: Path
    database_url: str
    temporal: Temporal
    anvil: Anvil
    rpc_url: str | None = None
    rate_limit_url: str | None = None
    inside: Callable[[str], Sequence[str]] = lambda _: ()
    own: Callable[[str], Mapping[str, str]] = lambda _: {}


@dataclass(frozen=True)
class Running:
    engine: Engine
    processes: Processes

    async def mine(self) -> None:
        await self.engine.client.rpc.call("evm_mine")

    @asynccontextmanager
    async def mining_by_hand(self) -> AsyncIterator[None]:
        """Blocks come only when the test mines them; at the end what waits is mined, and so is what comes later."""
        call = self.engine.client.rpc.call
        await call("evm_setAutomine", False)
        try:
            yield
        finally:
            await call("evm_setAutomine", True)
            await self.mine()

    async def reaches(self, operation_id: str, leg: str, *states: str, seconds: int = 20) -> None:
        """Returns once the first generation of a leg is in one of these states."""

        async def there() -> bool:
            legs = await self.engine.legs(operation_id)
            return any((leg, 1, state) in legs for state in states)

        await until(there, seconds)

    async def borrowed_on_chain(self, borrower: Borrower) -> int:
        """How often the vault has lent on this line."""
        position = f"0x{borrower.line.position_id:064x}"
        return len(await self._logs(self.engine.contracts.vault, [USDC_BORROWED_EVENT.topic0, position]))

    async def paid_on_chain(self, partner: PartnerAccount, amount: int) -> int:
        """How often the platform wallet has paid exactly this to the partner."""
        ends = [_topic(self.engine.chain.wallet), _topic(partner.settlement.address)]
        logs = await self._logs(self.engine.contracts.usdc, [TRANSFER_EVENT.topic0, *ends])
        return sum(int(log.data, 16) == amount for log in logs)

    async def _logs(self, contract: Any, topics: list[str | Sequence[str] | None]) -> list[Log]:
        return await self.engine.client.logs(contract, topics, 0, "latest")

    async def loan_states(self, partner: PartnerAccount) -> list[str]:
        """The status of every loan of the partner."""
        query = select(Loan.status).where(Loan.partner_id == partner.id).order_by(Loan.created_at)
        async with self.engine.transaction() as session:
            return [str(status) for status in await session.scalars(query)]

    async def many_lines(self, partner: PartnerAccount, number: int) -> list[Borrower]:
        """One user with many credit lines, all of which an administrator has granted to the partner."""
        engine = self.engine
        user, key = await keyed_sender(engine.client)
        lines = await open_lines(engine.owner, engine.contracts, [user], 10_000 * USD, lines_each=number)
        await set_operator(user, engine.contracts, engine.chain.wallet)
        async with engine.transaction() as session:
            for line in lines:
                await record_grant(
                    session,
                    partner_id=partner.id,
                    chain_id=engine.chain.chain_id,
                    oaid_address=engine.contracts.oaid,
                    oaid_token_id=line.credit_line_id,
                    position_id=line.position_id,
                    user_wallet=user.address,
                    max_amount=10_000 * USD,
                    expires_at=datetime.now(UTC) + timedelta(days=1),
                    reason="the test says so",
                )
        return [Borrower(user, key, line) for line in lines]

    async def comes_to_rest_sound(self) -> None:
        """Nothing is open any more, and every invariant holds: while legs are in flight, ledger and chain may differ."""
        await until(self.rests, RECOVERY_SECONDS)
        await self.engine.assert_sound()

    async def rests(self) -> bool:
        return not await self._open()

    async def _open(self) -> list[tuple[str, str | None]]:
        query = select(Operation.id, Operation.review_reason).where(Operation.state == OperationState.OPEN)
        async with self.engine.transaction() as session:
            return [(row.id, row.review_reason) for row in await session.execute(query)]

    async def breaches_at_rest(self, seconds: int = RECOVERY_SECONDS) -> list[str]:
        """What is wrong once nothing is open any more; or what is open still, after so many seconds.

        The scan of what comes in by itself is a little behind the chain: what it has not seen is no breach yet.
        """
        found: list[str] = []

        async def sound() -> bool:
            found[:] = await breaches(self.engine.transaction, self.engine.chain)
            return not found

        try:
            await until(self.rests, seconds)
        except TimeoutError:
            return [f"still open after {seconds} s: {each}" for each in await self._open()]
        with suppress(TimeoutError):
            await until(sound, SCAN_SECONDS)
        return found

    async def finishes(self, operation_id: str, seconds: int = RECOVERY_SECONDS, **of: Any) -> dict[str, Any]:
        """The operation once it is DONE, asked for again and again: long polls end after half a minute."""
        async with asyncio.timeout(seconds):
            while True:
                found = await self.engine.operation(operation_id, wait=20, **of)
                if found["state"] == "DONE":
                    return found


@asynccontextmanager
async def open_running(site: Site, **settings: str) -> AsyncIterator[Running]:
    """A migrated engine with contracts, a namespace and a partner of its own, of which no process runs yet."""
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(WatchedClient(site.anvil.url))
        ground = await _prepare_ground(site, client)
        config = await _config(site, ground, settings)
        processes = await stack.enter_async_context(Processes.open(site.folder / "engine", config))
        await processes.migrate()
        engine = await _driver(stack, site, ground, processes)
        yield Running(engine, processes)


async def start_and_fund(running: Running, *names: str) -> None:
    """Starts the processes, one of which holds the lane, and sees the platform float booked and a partner ready."""
    await running.processes.start_all(*names)
    await until(running.engine.signer_is_known, RECOVERY_SECONDS)
    running.engine.partner = await running.engine.new_partner()
    await running.engine.fund_float()
    await until(running.engine.float_is_booked, RECOVERY_SECONDS)


@dataclass(frozen=True)
class _Ground:
    """What is on the chain before the engine: contracts with liquidity, and the accounts that matter."""

    client: WatchedClient
    owner: Sender
    treasury: Sender
    wallet: Sender
    signer_file: Path
    contracts: Contracts


async def _prepare_ground(site: Site, client: WatchedClient) -> _Ground:
    owner, treasury = [await new_sender(client) for _ in range(2)]
    wallet, wallet_key = await keyed_sender(client)
    contracts = await deploy(owner)
    await fund_pool(owner, contracts, 10_000_000 * USD)
    await mint_usdc(owner, contracts, treasury.address, 10 * FLOAT)
    signer_file = site.folder / "signer.key"
    write_private(signer_file, wallet_key)
    return _Ground(client, owner, treasury, wallet, signer_file, contracts)


async def _config(site: Site, ground: _Ground, settings: dict[str, str]) -> EngineConfig:
    namespace = f"faults-{uuid4().hex}"
    await site.temporal.create_namespace(namespace)
    head = await ground.client.head()
    return EngineConfig(
        database_url=site.database_url,
        temporal_address=site.temporal.address,
        temporal_namespace=namespace,
        rpc_url=site.rpc_url or site.anvil.url,
        chain_id=site.anvil.chain_id,
        contracts=ground.contracts,
        platform_wallet=ground.wallet.address,
        signer_key_file=ground.signer_file,
        rate_limit_url=site.rate_limit_url,
        treasuries=(ground.treasury.address,),
        block_poll=BLOCK_POLL,
        settings={"INBOUND_FROM_BLOCK": str(head.number), **settings},
        inside=site.inside,
        own=site.own,
    )


async def _driver(stack: AsyncExitStack, site: Site, ground: _Ground, processes: Processes) -> Engine:
    told = {name.removeprefix(ENV_PREFIX).lower(): value for name, value in processes.variables.items()}
    settings = Settings.model_validate(told | {"rpc_url": SecretStr(site.anvil.url)})
    opened = database.open_database(site.database_url)
    stack.push_async_callback(opened.dispose)
    api = httpx.AsyncClient(
        base_url=processes.api_url,
        timeout=60,
        trust_env=False,
        limits=httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS),
    )
    return Engine(
        settings=settings,
        parts=Parts(settings, opened, await describe_chain(settings, ground.client)),
        temporal=await Client.connect(
            site.temporal.address, namespace=settings.temporal_namespace, data_converter=pydantic_data_converter
        ),
        api=await stack.enter_async_context(api),
        contracts=ground.contracts,
        owner=ground.owner,
        treasury=ground.treasury,
        signer_file=ground.signer_file,
        partner=None,  # type: ignore[arg-type]  # made when the processes run, through the engine's own API
    )


def _topic(address: str) -> str:
    return "0x" + "00" * 12 + address[2:].lower()
