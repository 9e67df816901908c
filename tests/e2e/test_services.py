"""The four parts start, answer, stop without a trace and keep what they should."""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest
from temporalio import workflow
from temporalio.client import Client
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from sandbox.services import (
    Anvil,
    AnvilOptions,
    FolderInUseError,
    Postgres,
    PostgresOptions,
    ServiceStartError,
    Stack,
    StackOptions,
    Temporal,
    TemporalOptions,
    Valkey,
    ValkeyOptions,
)
from sandbox.services.ports import leased_port
from sandbox.services.process import ensured, locked_folder

PATIENCE = timedelta(seconds=30)
STEP = SearchAttributeKey.for_keyword("Step")


async def execute(url: str, statement: str) -> list[tuple[object, ...]]:
    async with await psycopg.AsyncConnection.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        cursor = await connection.execute(statement.encode())
        return await cursor.fetchall() if cursor.description else []


async def rpc(url: str, method: str, *params: object) -> object:
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(url, json={"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        return answer.json()["result"]


async def say(port: int, command: str) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"{command}\r\n".encode())
        line = await reader.readline()
        return (await reader.readline() if line.startswith(b"$") else line).decode().strip()
    finally:
        writer.close()


def gone(pids: list[int]) -> bool:
    return bool(pids) and not any(psutil.pid_exists(pid) for pid in pids)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE.total_seconds()):
        while not await condition():  # noqa: ASYNC110  # another process does not set our events
            await asyncio.sleep(0.01)


async def until_free(folder: Path) -> None:
    """Return when no process of this service's folder is left: the folder's lock lives as long as they do."""
    async with locked_folder(folder, PATIENCE):
        pass


@workflow.defn
class Echo:
    @workflow.run
    async def run(self, word: str) -> str:
        return word


async def echo(temporal: Temporal, namespace: str, workflow_id: str) -> str:
    client = await Client.connect(temporal.address, namespace=namespace)
    attributes = TypedSearchAttributes([SearchAttributePair(STEP, "started")])
    async with Worker(client, task_queue="echo", workflows=[Echo], workflow_runner=UnsandboxedWorkflowRunner()):
        return await client.execute_workflow(
            Echo.run, workflow_id, id=workflow_id, task_queue="echo", search_attributes=attributes
        )


async def test_postgres_keeps_its_data_and_leaves_nothing_running(tmp_path: Path) -> None:
    """A second start on the folder finds the rows of the first, which left no process and no pid file."""
    async with Postgres.start(tmp_path) as postgres:
        template = await postgres.create_database("template_one")
        await execute(template, "CREATE TABLE note AS SELECT 'kept' AS word")
        pids = postgres.process.pids
    assert gone(pids)
    assert not (tmp_path / "data" / "postmaster.pid").exists()
    async with Postgres.start(tmp_path) as postgres:
        copy = await postgres.create_database("copy", template="template_one")
        assert await execute(copy, "SELECT word FROM note") == [("kept",)]
        await postgres.drop_database("copy")
        await postgres.drop_database("copy")
        assert await execute(postgres.url, "SHOW max_connections") == [("300",)]
        assert await execute(postgres.url, "SHOW fsync") == [("on",)]


async def test_postgres_returns_from_a_kill_on_the_same_port(tmp_path: Path) -> None:
    """After kill -9 of the postmaster the same object starts again, recovers, and leaves no shared memory."""
    pid_file = tmp_path / "data" / "postmaster.pid"
    async with Postgres.start(tmp_path, PostgresOptions(durable=False)) as postgres:
        await execute(postgres.url, "CREATE TABLE note AS SELECT 1 AS number")
        pids = postgres.process.pids
        await postgres.process.kill()
        assert gone(pids)
        await postgres.process.start()
        assert await execute(postgres.url, "SELECT number FROM note") == [(1,)]
        await postgres.process.kill()
        segment = pid_file.read_text().splitlines()[6].split()[1]
    assert segment not in shared_memory()


def shared_memory() -> set[str]:
    """The ids of the System V segments on this machine."""
    listing = Path("/proc/sysvipc/shm")
    return {line.split()[1] for line in listing.read_text().splitlines()} if listing.exists() else set()


async def test_postgres_ignores_a_pid_file_whose_pid_now_belongs_to_another(tmp_path: Path) -> None:
    """A stale pid file that names a living, unrelated process does not prevent the start."""
    options = PostgresOptions(durable=False)
    async with Postgres.start(tmp_path, options) as postgres:
        await postgres.process.kill()
    pid_file = tmp_path / "data" / "postmaster.pid"
    _, *rest = pid_file.read_text().split("\n")
    pid_file.write_text("\n".join([str(os.getpid()), *rest]))
    async with Postgres.start(tmp_path, options) as postgres:
        assert await execute(postgres.url, "SELECT 1") == [(1,)]


async def test_temporal_keeps_workflows_and_serves_new_namespaces_at_once(tmp_path: Path) -> None:
    """Our search attributes work in the default and in new namespaces; a second start finds both."""
    options = TemporalOptions(persistent=True, ui=True)
    async with Temporal.start(tmp_path, options) as temporal:
        await temporal.create_namespace("apart")
        assert await echo(temporal, "apart", "one") == "one"
        assert await echo(temporal, "default", "two") == "two"
        async with httpx.AsyncClient(trust_env=False) as browser:
            assert temporal.ui_url is not None
            assert (await browser.get(temporal.ui_url)).status_code == httpx.codes.OK
        pids = temporal.process.pids
    assert gone(pids)
    async with Temporal.start(tmp_path, options) as temporal:
        client = await Client.connect(temporal.address, namespace="apart")
        assert await client.get_workflow_handle_for(Echo.run, "one").result() == "one"
        await temporal.delete_namespace("apart")


async def test_valkey_keeps_its_keys_when_told_to(tmp_path: Path) -> None:
    """A key that was set is there after a kill and another start."""
    options = ValkeyOptions(persistent=True)
    async with Valkey.start(tmp_path, options) as valkey:
        assert await say(valkey.port, "SET word kept") == "+OK"
        pids = valkey.process.pids
    assert gone(pids)
    async with Valkey.start(tmp_path, options) as valkey:
        assert await say(valkey.port, "GET word") == "kept"


async def test_anvil_keeps_the_chain_when_told_to(tmp_path: Path) -> None:
    """Blocks, receipts and nonces survive a restart, and `finalized` can be read at once."""
    options = AnvilOptions(persistent=True)
    async with Anvil.start(tmp_path, options) as anvil:
        [sender, receiver, *_] = await accounts(anvil)
        transfer = {"from": sender, "to": receiver, "value": "0x1"}
        hashes = [await rpc(anvil.url, "eth_sendTransaction", transfer) for _ in range(5)]
        receipt = await rpc(anvil.url, "eth_getTransactionReceipt", hashes[0])
        assert receipt is not None
        pids = anvil.process.pids
    assert gone(pids)
    async with Anvil.start(tmp_path, options) as anvil:
        assert await rpc(anvil.url, "eth_getTransactionReceipt", hashes[0]) == receipt
        assert await rpc(anvil.url, "eth_getTransactionCount", sender, "finalized") == hex(len(hashes))


async def has_blocks(anvil: Anvil, number: int) -> bool:
    return int(str(await rpc(anvil.url, "eth_blockNumber")), 16) >= number


async def accounts(anvil: Anvil) -> list[object]:
    listed = await rpc(anvil.url, "eth_accounts")
    assert isinstance(listed, list)
    return listed


async def test_anvil_mines_by_the_clock(tmp_path: Path) -> None:
    """With a block time, blocks come without transactions."""
    async with Anvil.start(tmp_path, AnvilOptions(block_time=timedelta(milliseconds=50))) as anvil:
        await until(lambda: has_blocks(anvil, 3))


async def test_a_frozen_service_answers_again_when_thawed(tmp_path: Path) -> None:
    """Freezing is how the fault tests take a part away for a while."""
    async with Valkey.start(tmp_path) as valkey:
        valkey.process.freeze()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await say(valkey.port, "PING")
        valkey.process.thaw()
        assert await say(valkey.port, "PING") == "+PONG"
        valkey.process.freeze()  # and a frozen one can still be stopped


async def test_a_failed_start_names_the_part_the_command_and_its_last_words(tmp_path: Path) -> None:
    """The message is enough to understand a failure on somebody else's machine."""
    options = PostgresOptions(durable=False, settings={"shared_buffers": "nonsense"})
    with pytest.raises(
        ServiceStartError, match=r"(?s)PostgreSQL did not start.*command: .*nonsense.*(FATAL|invalid value)"
    ):
        async with Postgres.start(tmp_path, options):
            pass
    await until_free(tmp_path)


async def test_a_failing_part_stops_the_others(tmp_path: Path) -> None:
    """A stack either runs whole or not at all."""
    options = StackOptions(
        PostgresOptions(durable=False, settings={"port": "nonsense"}),
        TemporalOptions(),
        ValkeyOptions(),
        AnvilOptions(),
    )
    with pytest.raises(ServiceStartError, match="PostgreSQL"):
        async with Stack.start(tmp_path, options):
            pass
    for part in ("postgres", "temporal", "valkey", "anvil"):
        async with locked_folder(ensured(tmp_path / part)):
            pass


async def test_a_taken_port_is_left_alone(tmp_path: Path) -> None:
    """A preferred port that someone listens on, or that is leased, gives way to another one."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        async with Valkey.start(tmp_path, ValkeyOptions(port=taken)) as valkey:
            assert valkey.port != taken
            with leased_port(valkey.port) as port:
                assert port != valkey.port


async def test_two_stacks_never_share_a_folder(tmp_path: Path) -> None:
    """The second one says so at once; on another folder both run side by side."""
    async with Stack.start(tmp_path / "one", StackOptions.throwaway()):
        with pytest.raises(FolderInUseError, match="in use by another sandbox"):
            async with Stack.start(tmp_path / "one", StackOptions.throwaway()):
                pass
        async with Stack.start(tmp_path / "two", StackOptions.throwaway()) as second:
            assert await rpc(second.rpc_url, "eth_chainId") == hex(31337)
            assert await execute(second.database_url, "SELECT 1") == [(1,)]
