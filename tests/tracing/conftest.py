"""Where the fault tests find servers: a database and a namespace of each module's own, on the servers of the session."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
from anyio.from_thread import BlockingPortal

from sandbox.services import Anvil, Postgres, Temporal
from tests.faults.processes import Site


@pytest.fixture(scope="module")
def module_database(postgres: Postgres, services_portal: BlockingPortal, migrated_template: str) -> Iterator[str]:
    """One for a whole module: processes take too long to start for each test."""
    name = f"faults_{uuid4().hex}"
    yield services_portal.call(postgres.create_database, name, migrated_template)
    services_portal.call(postgres.drop_database, name)


@pytest.fixture(scope="module")
def site(
    module_database: str, temporal_server: Temporal, anvil: Anvil, tmp_path_factory: pytest.TempPathFactory
) -> Site:
    return Site(tmp_path_factory.mktemp("faults"), module_database, temporal_server, anvil)
