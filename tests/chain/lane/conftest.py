from collections.abc import AsyncIterator

import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncEngine

from chain.client import ChainClient
from models.tables.session import open_database
from tests.chain.lane.desk import Desk, open_desk
from tests.chain.world import World


@pytest_asyncio.fixture
async def database(database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = open_database(database_url, pool_size=20)
    yield engine
    await engine.dispose()


@pytest_asyncio.fixture
async def desk(world: World, database: AsyncEngine) -> Desk:
    return await open_desk(world, database)


@pytest_asyncio.fixture
async def manual_mining(client: ChainClient) -> AsyncIterator[ChainClient]:
    """Blocks come only when a test mines them."""
    await client.rpc.call("evm_setAutomine", False)
    yield client
    await client.rpc.call("evm_setAutomine", True)
    await client.rpc.call("evm_mine")
