"""A small engine's state at rest, made once for each module: what a test does to it, it does to a copy of its database."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from uuid import uuid4

import pytest
import pytest_asyncio
from anyio.from_thread import BlockingPortal
from sqlalchemy.ext.asyncio import AsyncEngine

from activities.audit.checker import audit
from activities.audit.findings import AuditReport
from chain.client import ChainClient
from chain.engine_chain import EngineChain
from models.tables.session import open_database, transactions
from sandbox.services import Anvil, Postgres, Temporal
from settings import Settings
from tests.chain.world import USD
from tests.engine import Engine, engine_builder, until
from tests.workflows.test_repay_table import days_pass, seen

PRINCIPAL = 5_000 * USD
NAMES = """
    CREATE TEMP VIEW a_borrow AS SELECT id FROM operations WHERE kind = 'BORROW' ORDER BY id LIMIT 1;
    CREATE TEMP VIEW a_payout AS SELECT id FROM chain_transactions WHERE leg = 'settle' ORDER BY id LIMIT 1;
    CREATE TEMP VIEW a_position AS SELECT position_id FROM loans ORDER BY id LIMIT 1;
    CREATE TEMP VIEW unclaimed AS SELECT id FROM inbound_transfers WHERE state = 'UNCLAIMED';
    CREATE TEMP VIEW the_later AS SELECT operation_id FROM reservations ORDER BY created_at DESC LIMIT 1;
"""
"""Rows that tests tamper with."""


@dataclass(frozen=True)
class AtRest:
    """The name of its database, and the chain as the engine was configured for it."""

    database: str
    chain: EngineChain
    settings: Settings


@dataclass(frozen=True)
class Tampered:
    """A copy of the database, to change and to audit."""

    database: AsyncEngine
    chain: EngineChain

    async def execute(self, statements: str) -> None:
        """Changes rows past every trigger, as a person with the database's password could."""
        async with self.database.begin() as connection:
            await connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
            await connection.exec_driver_sql(NAMES)
            await connection.exec_driver_sql(statements)

    async def audit(self) -> AuditReport:
        return await audit(transactions(self.database), self.chain)


@pytest_asyncio.fixture(scope="module")
async def at_rest(  # noqa: PLR0917 - pytest hands fixtures over by name
    anvil: Anvil,
    temporal_server: Temporal,
    postgres: Postgres,
    services_portal: BlockingPortal,
    migrated_template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[AtRest]:
    name = f"at_rest_{uuid4().hex}"
    url = services_portal.call(postgres.create_database, name, migrated_template)
    build = engine_builder(anvil, temporal_server, url, tmp_path_factory.mktemp("at_rest"))
    async with build() as engine, engine.lane(), engine.loans():
        await live_a_little(engine)
    async with ChainClient(anvil.url) as client:
        yield AtRest(name, replace(engine.chain, client=client), engine.settings)
    services_portal.call(postgres.drop_database, name)


async def live_a_little(engine: Engine) -> None:
    """A loan that is repaid in part, one that is paid off with a residue, and a stranger's base unit."""
    await engine.fund_float()
    await until(engine.float_is_booked)
    lasting, short = await engine.new_borrower(), await engine.new_borrower()
    await engine.active_loan(lasting, PRINCIPAL)
    await engine.active_loan(short, PRINCIPAL)
    await days_pass(engine, 10)
    for borrower, body in ((lasting, {"amount": str(1_000 * USD)}), (short, {"payoff": True})):
        done = await engine.finished(await engine.repay(borrower, body))
        assert done["outcome"]["status"] == "APPLIED"
    tx_hash = await engine.transfer(engine.partner.settlement, engine.chain.wallet, 1)
    await until(lambda: seen(engine, tx_hash))
    await engine.assert_sound()


@pytest.fixture
def copy_url(at_rest: AtRest, postgres: Postgres, services_portal: BlockingPortal) -> Iterator[str]:
    name = f"tampered_{uuid4().hex}"
    yield services_portal.call(postgres.create_database, name, at_rest.database)
    services_portal.call(postgres.drop_database, name)


@pytest.fixture
async def tampered(at_rest: AtRest, copy_url: str) -> AsyncIterator[Tampered]:
    database = open_database(copy_url, pool_size=2)
    yield Tampered(database, at_rest.chain)
    await database.dispose()
