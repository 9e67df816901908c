from collections.abc import AsyncIterator

import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncEngine

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
