"""What every benchmark stands on: throw-away services, a seeded chain, one partner, and credit lines nobody borrowed on.

All parts run on this machine and share its cores with what is measured, the floors as well as the engine. Each borrow takes
a line of its own, as a position carries one loan at a time.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncEngine

from api.administration import create_partner
from chain.client import ChainClient
from contracts.deploy import Sender
from contracts.funding import OpenedLine, open_lines, set_operator
from models.ids import new_id
from models.statuses import GrantEvidence, PartnerTier
from models.tables.partners import CreditLineGrant
from models.tables.session import open_database, transactions
from sandbox.accounts import Accounts, address_of, key_of, sandbox_accounts
from sandbox.engine import Engine, EngineConfig
from sandbox.seed import USDC, SeededChain, mined_at_once, seed_chain
from sandbox.services import Anvil, AnvilOptions, Postgres, PostgresOptions, Temporal, Valkey
from sandbox.services.process import Process

BLOCK_TIME = timedelta(seconds=1)
NUDGE = timedelta(milliseconds=500)
PARTNER_ID = "bench"
PRINCIPAL = 100 * USDC
COLLATERAL_VALUE = 1_000 * USDC
NO_LIMIT = 10**15
NO_RATE_LIMIT = 10_000_000
DATABASE = "bench"
FLOOR_NAMESPACE = "floor"
PATIENT = {"HEAD_WAIT": "PT60S"}
"""A machine that others use may decide late; a decision that an answer did not wait for could not be measured."""


@dataclass
class World:
    """The engine's processes are known, and none of them runs."""

    folder: Path
    postgres: Postgres
    temporal: Temporal
    valkey: Valkey
    anvil: Anvil
    chain: SeededChain
    database: AsyncEngine
    engine: Engine
    partner_key: str = field(repr=False)
    lines: list[OpenedLine] = field(repr=False)

    @property
    def services(self) -> dict[str, Process]:
        return {
            "Temporal server": self.temporal.process,
            "PostgreSQL": self.postgres.process,
            "Valkey": self.valkey.process,
            "Anvil": self.anvil.process,
        }

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.partner_key}"}

    def take_lines(self, number: int) -> list[OpenedLine]:
        """Lines that were not used before."""
        taken, self.lines = self.lines[:number], self.lines[number:]
        assert len(taken) == number, "the benchmarks asked for fewer lines than they use"
        return taken


def borrow_body(line: OpenedLine) -> dict[str, str]:
    return {
        "oaid_token_id": str(line.credit_line_id),
        "user_wallet": line.user,
        "amount": str(PRINCIPAL),
        "partner_loan_id": f"loan-{line.credit_line_id}",
    }


@asynccontextmanager
async def open_world(folder: Path, lines: int) -> AsyncIterator[World]:
    """PostgreSQL without fsync, Temporal's dev server in memory, Valkey, Anvil with a block every second; all end with the block."""
    async with AsyncExitStack() as opened:
        enter = opened.enter_async_context
        postgres = await enter(Postgres.start(folder / "postgres", PostgresOptions(durable=False)))
        temporal = await enter(Temporal.start(folder / "temporal"))
        valkey = await enter(Valkey.start(folder / "valkey"))
        anvil = await enter(Anvil.start(folder / "anvil", AnvilOptions(block_time=BLOCK_TIME)))
        await temporal.create_namespace(FLOOR_NAMESPACE)
        client = await enter(ChainClient(anvil.url))
        accounts = sandbox_accounts(anvil.mnemonic, folder / "signer.key")
        async with mined_at_once(client, BLOCK_TIME), _nudged(client):
            chain = await seed_chain(client, accounts)
            opened_lines = await _open_lines(chain, lines)
        config = _config(
            database_url=await postgres.create_database(DATABASE),
            temporal=temporal,
            valkey=valkey,
            anvil=anvil,
            chain=chain,
            key=folder / "signer.key",
        )
        engine = await enter(Engine.open(folder / "engine", config))
        await engine.migrate()
        database = open_database(config.database_url, pool_size=2, application_name="bench")
        opened.push_async_callback(database.dispose)
        key = await _admit_partner(database, chain, opened_lines)
        yield World(folder, postgres, temporal, valkey, anvil, chain, database, engine, key, opened_lines)


@asynccontextmanager
async def _nudged(client: ChainClient) -> AsyncIterator[None]:
    """A node that mines each transaction when it comes may miss one of thousands, and mines it with the next block."""

    async def nudge() -> None:
        while True:
            await asyncio.sleep(NUDGE.total_seconds())
            await client.rpc.call("evm_mine")

    nudging = asyncio.create_task(nudge())
    try:
        yield
    finally:
        nudging.cancel()


def _config(
    *, database_url: str, temporal: Temporal, valkey: Valkey, anvil: Anvil, chain: SeededChain, key: Path
) -> EngineConfig:
    return EngineConfig(
        database_url=database_url,
        temporal_address=temporal.address,
        rate_limit_url=valkey.url,
        rpc_url=anvil.url,
        chain_id=anvil.chain_id,
        contracts=chain.contracts,
        platform_wallet=address_of(chain.accounts.platform),
        signer_key_file=key,
        treasuries=(address_of(chain.accounts.treasury),),
        settings=PATIENT,
    )


async def _open_lines(chain: SeededChain, number: int) -> list[OpenedLine]:
    """All of one user, who has approved the engine."""
    accounts: Accounts = chain.accounts
    owner, user = Sender(chain.client, key_of(accounts.owner)), Sender(chain.client, key_of(accounts.users[0]))
    await set_operator(user, chain.contracts, address_of(accounts.platform))
    return await open_lines(owner, chain.contracts, [user], COLLATERAL_VALUE, lines_each=number)


async def _admit_partner(database: AsyncEngine, chain: SeededChain, lines: list[OpenedLine]) -> str:
    """A partner without limits, with a grant for each line; its key. The signatures, which no borrow reads, are left out."""
    async with transactions(database)() as session:
        issued = await create_partner(
            session,
            partner_id=PARTNER_ID,
            name="Bench",
            tier=PartnerTier.ENTERPRISE,
            settlement_address=address_of(chain.accounts.settlement),
            mode="sandbox",
            daily_limit=NO_LIMIT,
            total_limit=NO_LIMIT,
            requests_per_minute=NO_RATE_LIMIT,
        )
        chain_id = await chain.client.chain_id()
        session.add_all(_grant(line, chain_id, chain.contracts.oaid, nonce) for nonce, line in enumerate(lines))
    return issued.key


def _grant(line: OpenedLine, chain_id: int, oaid: str, nonce: int) -> CreditLineGrant:
    return CreditLineGrant(
        id=new_id("grant"),
        partner_id=PARTNER_ID,
        chain_id=chain_id,
        oaid_address=oaid,
        oaid_token_id=line.credit_line_id,
        position_id=line.position_id,
        user_wallet=line.user,
        max_amount=PRINCIPAL,
        expires_at=datetime.now(UTC) + timedelta(days=1),
        nonce=nonce,
        evidence_kind=GrantEvidence.USER_SIGNATURE,
        evidence={"scheme": "bench"},
    )
