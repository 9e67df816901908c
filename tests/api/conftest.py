from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
import pytest_asyncio
from anyio.from_thread import BlockingPortal
from eth_account import Account
from pydantic import SecretStr

from chain.client import ChainClient
from contracts.deploy import Sender, deploy
from contracts.funding import fund_gas, fund_pool, open_line
from models.tables.session import Transaction, open_database, transactions
from models.tables.transactions import ChainSigner
from sandbox.services import Anvil, Temporal
from settings import Settings
from tests.api.admin import Admin, new_admin
from tests.api.desk import USD, Desk, approve_engine, new_partner, served, working
from tests.chain.world import World, new_sender


@pytest_asyncio.fixture(scope="session")
async def chain_client(anvil: Anvil) -> AsyncIterator[ChainClient]:
    async with ChainClient(anvil.url) as client:
        yield client


@pytest.fixture(scope="session")
def user_key() -> str:
    return str(Account.create().key.hex())


@pytest_asyncio.fixture(scope="session")
async def lent_world(chain_client: ChainClient, user_key: str) -> World:
    """One set of contracts for all tests that only decide: with no lane running, no decision changes the chain."""
    user = Sender(chain_client, user_key)
    await fund_gas(chain_client, user.address)
    owner, operator = await new_sender(chain_client), await new_sender(chain_client)
    contracts = await deploy(owner)
    await fund_pool(owner, contracts, 1_000_000 * USD)
    line = await open_line(owner, contracts, user, 10_000 * USD)
    world = World(chain_client, contracts, owner, user, operator, line)
    await approve_engine(world)
    return world


@pytest.fixture
def namespace(temporal_server: Temporal, services_portal: BlockingPortal) -> str:
    name = f"api-{uuid4().hex}"
    services_portal.call(temporal_server.create_namespace, name)
    return name


@pytest_asyncio.fixture
async def settings(
    database_url: str, temporal_server: Temporal, namespace: str, anvil: Anvil, lent_world: World
) -> Settings:
    contracts = lent_world.contracts
    return Settings(
        database_url=SecretStr(database_url),
        temporal_address=temporal_server.address,
        temporal_namespace=namespace,
        rpc_url=SecretStr(anvil.url),
        chain_id=await lent_world.client.chain_id(),
        usdc_address=contracts.usdc,
        oaid_address=contracts.oaid,
        vault_address=contracts.vault,
        pool_address=contracts.pool,
        platform_wallet=lent_world.operator.address,
        confirmations=1,
        key_mode="sandbox",
    )


@pytest_asyncio.fixture
async def transaction(database_url: str) -> AsyncIterator[Transaction]:
    engine = open_database(database_url)
    yield transactions(engine)
    await engine.dispose()


@pytest_asyncio.fixture
async def desk(settings: Settings, transaction: Transaction, lent_world: World, user_key: str) -> AsyncIterator[Desk]:
    """No worker runs: what is asked for stays undecided."""
    partner = await new_partner(transaction, "acme")
    async with served(settings) as http:
        yield Desk(http, settings, transaction, lent_world, partner, user_key)


@pytest_asyncio.fixture
async def admin(desk: Desk) -> Admin:
    return await new_admin(desk, "Ada")


@pytest_asyncio.fixture
async def second_admin(desk: Desk) -> Admin:
    return await new_admin(desk, "Grace")


@pytest_asyncio.fixture
async def working_desk(desk: Desk) -> AsyncIterator[Desk]:
    """With the engine's own workers, and the chain signer that they queue legs for."""
    await _add_signer(desk)
    async with working(desk.settings):
        yield desk


async def _add_signer(desk: Desk) -> None:
    async with desk.transaction() as session:
        session.add(
            ChainSigner(
                chain_id=desk.settings.chain_id, address=desk.settings.platform_wallet, first_nonce=0, next_nonce=0
            )
        )
