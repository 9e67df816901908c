from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from uuid import uuid4

import pytest
import pytest_asyncio
from anyio.from_thread import BlockingPortal

from sandbox.services import Anvil, Postgres, Temporal
from tests.engine import Engine, engine_builder, until


@pytest.fixture(scope="module")
def shared_url(postgres: Postgres, services_portal: BlockingPortal, migrated_template: str) -> Iterator[str]:
    """A database of the file's own."""
    name = f"test_{uuid4().hex}"
    yield services_portal.call(postgres.create_database, name, migrated_template)
    services_portal.call(postgres.drop_database, name)


@pytest_asyncio.fixture(scope="module")
async def shared(
    anvil: Anvil, temporal_server: Temporal, shared_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Engine]:
    """One engine for a file, with a funded float, of which no role runs: each test leaves it as sound as it was."""
    build = engine_builder(anvil, temporal_server, shared_url, tmp_path_factory.mktemp("shared"))
    async with build(leg_patience=timedelta(hours=1), head_wait=timedelta(seconds=1)) as engine:
        async with engine.lane():
            await engine.fund_float()
            await until(engine.float_is_booked)
        yield engine
