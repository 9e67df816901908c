"""A whole sandbox in one folder: the four parts, a seeded chain, and the engine, which goes on where it was stopped.

The chain, the database and Temporal belong together: a loan that one of them knows and another does not can never
finish. So either all are as the manifest says, or all are made afresh.
"""

import secrets
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from sqlalchemy.ext.asyncio import AsyncEngine

from chain.client import ChainClient
from contracts.funding import OpenedLine
from models.sealing import KEY_BYTES
from models.tables.session import open_database
from sandbox.accounts import Accounts, address_of, sandbox_accounts, write_private
from sandbox.engine import API, WORKER, Engine, EngineConfig
from sandbox.manifest import Manifest
from sandbox.seed import SeededChain, fund_float, mined_at_once, seed_chain, seed_partner
from sandbox.services import Stack, StackOptions
from sandbox.services.process import LEFTOVERS_LIMIT, ensured, locked_folder
from sandbox.services.stack import A_KILLED_PROCESS_ENDS

Doing = Callable[[str], AbstractContextManager[object]]
"""Says what is being done, for as long as the block lasts."""

Lines = tuple[OpenedLine, OpenedLine]

PARTS = ("postgres", "temporal", "valkey", "anvil", "engine")
MANIFEST = "manifest.json"
SIGNER_KEY = "signer.key"
SEALING_KEY = "sealing.key"
DATABASE = "loan_engine"
API_PORT = 8000
NO_SETTINGS: Mapping[str, str] = MappingProxyType({})


@dataclass
class Sandbox:
    """Everything runs; the contracts, the partner and the users' lines are as the manifest says."""

    folder: Path
    stack: Stack
    engine: Engine
    chain: SeededChain
    database: AsyncEngine
    manifest: Manifest

    async def free_line(self, user: int) -> OpenedLine:
        """The credit line of this user (0 or 1); a new one from now on, where a loan stands on the last."""
        line = self.manifest.lines[user]
        if not await self.chain.is_free(line):
            line = await self.chain.open_line(user)
            self.manifest = self.manifest.with_line(user, line)
            self.manifest.save(self.folder / MANIFEST)
        return line


@asynccontextmanager
async def open_sandbox(
    folder: Path, options: StackOptions, doing: Doing, settings: Mapping[str, str] = NO_SETTINGS
) -> AsyncIterator[Sandbox]:
    """Everything running, from the state of the folder where there is any. FolderInUseError where another one runs.

    `settings` are further ones of the engine, by their names without ENGINE_.
    """
    folder = ensured(folder)
    kept = Manifest.load(folder / MANIFEST)
    if kept is None:
        await _clear(folder)
    async with AsyncExitStack() as opened:
        opening = _Opening(folder, options, doing, opened, settings)
        parts = await opening.parts()
        if kept is not None and not await kept.describes(parts.client, parts.database):
            with doing("What is here does not belong together any more: starting afresh"):
                await opened.aclose()
                await _clear(folder)
            kept = None
            parts = await opening.parts()
        yield await opening.engine(parts, kept)


async def _clear(folder: Path) -> None:
    """Remove the state, once nothing of an earlier run works on it any more."""
    async with AsyncExitStack() as locks:
        await locks.enter_async_context(locked_folder(folder, A_KILLED_PROCESS_ENDS))
        (folder / MANIFEST).unlink(missing_ok=True)
        for part in [folder / name for name in PARTS if (folder / name).exists()]:
            await locks.enter_async_context(locked_folder(part, LEFTOVERS_LIMIT))
            shutil.rmtree(part)


@dataclass(frozen=True)
class _Parts:
    stack: Stack
    client: ChainClient
    database: AsyncEngine


@dataclass(frozen=True)
class _Opening:
    """One start; what it opens is closed with `opened`."""

    folder: Path
    options: StackOptions
    doing: Doing
    opened: AsyncExitStack
    settings: Mapping[str, str]

    async def parts(self) -> _Parts:
        with self.doing("PostgreSQL, Temporal, Valkey and Anvil"):
            stack = await self.opened.enter_async_context(Stack.start(self.folder, self.options))
        client = await self.opened.enter_async_context(ChainClient(stack.rpc_url))
        database = open_database(stack.postgres.database_url(DATABASE), pool_size=2, application_name="sandbox")
        self.opened.push_async_callback(database.dispose)
        return _Parts(stack, client, database)

    async def engine(self, parts: _Parts, kept: Manifest | None) -> Sandbox:
        accounts = sandbox_accounts(parts.stack.anvil.mnemonic, self.folder / SIGNER_KEY)
        if kept is None:
            chain, lines = await self._seed(parts, accounts)
        else:
            chain, lines = SeededChain(parts.client, kept.contracts, accounts), kept.lines
        config = _config(parts, chain, self.folder, self.settings)
        engine = await self.opened.enter_async_context(Engine.open(self.folder / "engine", config, API_PORT))
        with self.doing("Database migrations"):
            await engine.migrate()
        manifest = kept or await self._remember(parts, chain, lines)
        with self.doing("API and worker"):
            await engine.start_all(API, WORKER)
        with self.doing("USDC on the platform wallet"):
            await fund_float(chain, parts.database)
        return Sandbox(self.folder, parts.stack, engine, chain, parts.database, manifest)

    async def _seed(self, parts: _Parts, accounts: Accounts) -> tuple[SeededChain, Lines]:
        with self.doing("Contracts, pool, two credit lines"):
            async with mined_at_once(parts.client, self.options.anvil.block_time):
                chain = await seed_chain(parts.client, accounts)
                lines = (await chain.open_line(0), await chain.open_line(1))
            await parts.stack.postgres.create_database(DATABASE)
        return chain, lines

    async def _remember(self, parts: _Parts, chain: SeededChain, lines: Lines) -> Manifest:
        """The manifest is written last: without it, whatever else is there counts for nothing."""
        key = await seed_partner(parts.database, address_of(chain.accounts.settlement))
        head = await parts.client.head()
        manifest = Manifest(
            contracts=chain.contracts, lines=lines, seeded_block=head.number, seeded_hash=head.hash, partner_key=key
        )
        manifest.save(self.folder / MANIFEST)
        return manifest


def _config(parts: _Parts, chain: SeededChain, folder: Path, settings: Mapping[str, str]) -> EngineConfig:
    return EngineConfig(
        database_url=parts.stack.postgres.database_url(DATABASE),
        temporal_address=parts.stack.temporal_address,
        rpc_url=parts.stack.rpc_url,
        chain_id=parts.stack.anvil.chain_id,
        contracts=chain.contracts,
        platform_wallet=address_of(chain.accounts.platform),
        signer_key_file=folder / SIGNER_KEY,
        rate_limit_url=parts.stack.valkey_url,
        treasuries=(address_of(chain.accounts.treasury),),
        settings={"SEALING_KEY": _sealing_key(folder / SEALING_KEY), **settings},
    )


def _sealing_key(path: Path) -> str:
    """The one that secrets in the database are sealed with, made with the sandbox; whoever starts it afresh has none to open."""
    if not path.exists():
        write_private(path, secrets.token_hex(KEY_BYTES))
    return path.read_text()
