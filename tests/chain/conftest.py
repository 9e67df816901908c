from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from chain.client import ChainClient
from tests.anvil import running_anvil
from tests.chain.world import World, new_world


@pytest.fixture(scope="session")
def anvil_url() -> Iterator[str]:
    with running_anvil() as url:
        yield url


@pytest_asyncio.fixture(scope="session")
async def client(anvil_url: str) -> AsyncIterator[ChainClient]:
    async with ChainClient(anvil_url) as client:
        yield client


@pytest_asyncio.fixture
async def world(client: ChainClient) -> World:
    return await new_world(client)


@pytest_asyncio.fixture
async def custodial_world(client: ChainClient) -> World:
    return await new_world(client, custodial=True)
