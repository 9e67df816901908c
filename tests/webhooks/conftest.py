from collections.abc import AsyncIterator
from dataclasses import replace
from uuid import uuid4

import pytest_asyncio
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from models.tables.session import open_database, transactions
from sandbox.services import Temporal
from tests import factories as make
from tests.api.desk import new_partner, served
from tests.webhooks.desk import Desk, sandbox_settings
from tests.webhooks.partner import Partner


@pytest_asyncio.fixture
async def temporal(temporal_server: Temporal) -> AsyncIterator[Client]:
    """A client of a namespace of the test's own."""
    namespace = f"webhooks-{uuid4().hex}"
    await temporal_server.create_namespace(namespace)
    yield await Client.connect(temporal_server.address, namespace=namespace, data_converter=pydantic_data_converter)
    await temporal_server.delete_namespace(namespace)


@pytest_asyncio.fixture
async def desk(database_url: str, temporal: Client) -> AsyncIterator[Desk]:
    """A partner without endpoints; nothing is delivered yet."""
    database = open_database(database_url)
    async with transactions(database)() as session:
        partner = await make.new_partner(session)
    yield Desk(database, temporal, sandbox_settings(database_url), partner.id)
    await database.dispose()


@pytest_asyncio.fixture
async def partner(desk: Desk) -> AsyncIterator[Partner]:
    key = await new_partner(desk.transaction, "acme")
    async with served(desk.settings) as http:
        yield Partner(http, key, replace(desk, partner_id="acme"))


@pytest_asyncio.fixture
async def other(partner: Partner) -> Partner:
    key = await new_partner(partner.desk.transaction, "other")
    return Partner(partner.http, key, replace(partner.desk, partner_id="other"))
