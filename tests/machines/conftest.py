"""A database for each machine; its examples leave nothing behind."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
from anyio.from_thread import BlockingPortal

from models.tables.session import open_database
from sandbox.services import Postgres
from tests.machines.stage import Stage


@pytest.fixture
def stage(postgres: Postgres, services_portal: BlockingPortal, migrated_template: str) -> Iterator[Stage]:
    name = f"test_{uuid4().hex}"
    engine = open_database(services_portal.call(postgres.create_database, name, migrated_template), pool_size=1)
    yield Stage(services_portal, engine)
    services_portal.call(engine.dispose)
    services_portal.call(postgres.drop_database, name)
