"""The real parts, as fixtures: each is started when a test first asks for it, once per session and test worker.

Registered as a plugin (`pytest_plugins = ["tests.services"]`). The fixtures are synchronous, so tests of both kinds can
use them; the services live on an event loop of their own thread. Isolation inside a server is cheap and is up to the
tests: a database per test is a copy of a template (0.05 s), a Temporal namespace is usable at once (0.02 s).
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from sandbox.services import (
    Anvil,
    AnvilOptions,
    Postgres,
    PostgresOptions,
    Temporal,
    TemporalOptions,
    Valkey,
)

BLOCK_TIME = timedelta(milliseconds=100)


Service = TypeVar("Service")


@pytest.fixture(scope="session")
def services_portal() -> Iterator[BlockingPortal]:
    """The event loop that watches over the services, for synchronous code: `services_portal.call(...)`."""
    with start_blocking_portal() as portal:
        yield portal


@contextmanager
def throwaway(
    portal: BlockingPortal, folder: Path, start: Callable[[Path], AbstractAsyncContextManager[Service]]
) -> Iterator[Service]:
    """A service on a folder that is gone afterwards."""
    try:
        with portal.wrap_async_context_manager(start(folder)) as service:
            yield service
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres(services_portal: BlockingPortal, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A server that survives a crash of its process, but not of the machine."""
    options = PostgresOptions(durable=False)
    folder = tmp_path_factory.mktemp("postgres")
    with throwaway(services_portal, folder, lambda path: Postgres.start(path, options)) as service:
        yield service


@pytest.fixture(scope="session")
def temporal_server(services_portal: BlockingPortal, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Temporal]:
    """A server in memory, able to skip time where a workflow test asks for it."""
    options = TemporalOptions(dynamic_config={"frontend.workflowTimeSkippingEnabled": "true"})
    folder = tmp_path_factory.mktemp("temporal")
    with throwaway(services_portal, folder, lambda path: Temporal.start(path, options)) as service:
        yield service


@pytest.fixture(scope="session")
def anvil(services_portal: BlockingPortal, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Anvil]:
    """A chain that mines each transaction at once."""
    with throwaway(services_portal, tmp_path_factory.mktemp("anvil"), Anvil.start) as service:
        yield service


@pytest.fixture(scope="session")
def anvil_interval(services_portal: BlockingPortal, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Anvil]:
    """A chain with a block every tenth of a second, where transactions stay pending for a while."""
    options = AnvilOptions(block_time=BLOCK_TIME)
    folder = tmp_path_factory.mktemp("anvil-interval")
    with throwaway(services_portal, folder, lambda path: Anvil.start(path, options)) as service:
        yield service


@pytest.fixture(scope="session")
def valkey(services_portal: BlockingPortal, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with throwaway(services_portal, tmp_path_factory.mktemp("valkey"), Valkey.start) as service:
        yield service
