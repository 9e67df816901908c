"""A database for each module, at the newest revision: tests share it, commit to it, and make rows of their own.

It has connections enough for a race.
"""

from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import pytest
import pytest_asyncio
from anyio.from_thread import BlockingPortal
from sqlalchemy.ext.asyncio import AsyncEngine

from models.tables.session import Transaction, open_database, transactions
from sandbox.services import Postgres

CONNECTIONS = 10


@pytest.fixture(scope="module")
def module_database_url(postgres: Postgres, services_portal: BlockingPortal, migrated_template: str) -> Iterator[str]:
    name = f"test_{uuid4().hex}"
    yield services_portal.call(postgres.create_database, name, migrated_template)
    services_portal.call(postgres.drop_database, name)


@pytest_asyncio.fixture(scope="module")
async def database(module_database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = open_database(module_database_url, pool_size=CONNECTIONS)
    yield engine
    await engine.dispose()


@pytest.fixture
def transaction(database: AsyncEngine) -> Transaction:
    return transactions(database)
