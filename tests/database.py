"""A migrated database for each test: a copy of a template that the real migrations made."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from alembic import command
from alembic.config import Config
from anyio.from_thread import BlockingPortal

from sandbox.services import Postgres

ALEMBIC_INI = Path(__file__).parents[1] / "alembic.ini"


def migrate(url: str) -> None:
    config = Config(ALEMBIC_INI)
    config.set_main_option("sqlalchemy.url", url)
    command.upgrade(config, "head")


@pytest.fixture(scope="session")
def migrated_template(postgres: Postgres, services_portal: BlockingPortal) -> str:
    """The name of a database at the newest revision, to copy from."""
    name = f"template_{uuid4().hex}"
    migrate(services_portal.call(postgres.create_database, name))
    return name


@pytest.fixture
def database_url(postgres: Postgres, services_portal: BlockingPortal, migrated_template: str) -> Iterator[str]:
    """A database of the test's own."""
    name = f"test_{uuid4().hex}"
    yield services_portal.call(postgres.create_database, name, migrated_template)
    services_portal.call(postgres.drop_database, name)
