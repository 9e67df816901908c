"""The engine as processes, the way the demo, the benchmarks and the fault tests run it."""

from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from alive import is_alive
from chain.client import ChainClient
from sandbox.accounts import address_of, sandbox_accounts
from sandbox.engine import API, WORKER, Engine, EngineConfig
from sandbox.seed import seed_chain
from sandbox.services import Anvil, ServiceStartError, Temporal


@pytest.fixture
async def config(temporal_server: Temporal, anvil: Anvil, database_url: str, tmp_path: Path) -> EngineConfig:
    """An engine with contracts, a database and a namespace of the test's own."""
    namespace = f"engine-{uuid4().hex}"
    await temporal_server.create_namespace(namespace)
    accounts = sandbox_accounts(anvil.mnemonic, tmp_path / "signer.key")
    async with ChainClient(anvil.url) as client:
        chain = await seed_chain(client, accounts)
    return EngineConfig(
        database_url=database_url,
        temporal_address=temporal_server.address,
        temporal_namespace=namespace,
        rpc_url=anvil.url,
        chain_id=anvil.chain_id,
        contracts=chain.contracts,
        platform_wallet=address_of(accounts.platform),
        signer_key_file=tmp_path / "signer.key",
        settings={"DATABASE_POOL_SIZE": "3", "ALIVE_FILE": str(tmp_path / "alive")},
    )


async def test_processes_are_started_killed_and_started_again_by_name(config: EngineConfig, tmp_path: Path) -> None:
    """Each is ready when its start returns; a worker takes up its role again; all end with the engine."""
    async with Engine.open(tmp_path / "engine", config) as engine:
        await engine.migrate()
        await engine.start_all(API, WORKER)
        assert is_alive(tmp_path / "alive")
        await engine.kill(WORKER)
        assert not engine.running(WORKER)
        await engine.start("lane", role="lane")
        await engine.start(WORKER, role="loans")
        await engine.kill(WORKER)
        await engine.start(WORKER)
        assert "loans" in engine.process(WORKER).program.argv
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.get(f"{engine.api_url}/v1/health/live")).is_success
        await engine.stop(API)
        assert not engine.running(API)
        last = engine.process("lane")
    assert not last.running


async def test_a_worker_that_cannot_start_names_the_setting_at_fault(config: EngineConfig, tmp_path: Path) -> None:
    """The words of the process itself are in the error."""
    wrong = replace(config, chain_id=config.chain_id + 1)
    async with Engine.open(tmp_path / "engine", wrong) as engine:
        with pytest.raises(ServiceStartError, match="ENGINE_CHAIN_ID"):
            await engine.start(WORKER)
