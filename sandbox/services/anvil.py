"""Anvil, the EVM node of the sandbox chain.

With `persistent` the chain outlives a restart: blocks, receipts, logs and nonces are what they were. The state *at*
earlier blocks is not kept (`--preserve-historical-states` would: 1.8 GB and half a minute for ten thousand blocks), so a
read below the old head fails with BlockOutOfRangeError. Two blocks are therefore mined after a restart, which brings
`finalized` up to where reads work. Transactions that were still pending are gone, as after any node's restart.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx

from contracts import node
from sandbox.accounts import MNEMONIC
from sandbox.services.ports import LOOPBACK, leased_port
from sandbox.services.process import LEFTOVERS_LIMIT, Process, Program, ensured, locked_folder, running

# `finalized` is two blocks behind the head when an epoch has one slot.
BLOCKS_BEHIND_FINALITY = 2
SAVE_EVERY = timedelta(seconds=5)


@dataclass(frozen=True)
class AnvilOptions:
    """Without `block_time` each transaction is mined at once; a block time may be a fraction of a second.

    `history` is the number of blocks whose state can be read: older ones would fill the disk for as long as it runs.
    """

    port: int | None = None
    block_time: timedelta | None = None
    persistent: bool = False
    chain_id: int = 31337
    mnemonic: str = MNEMONIC
    history: int = 256
    start_limit: timedelta = timedelta(seconds=60)


DEFAULTS = AnvilOptions()


@dataclass(frozen=True)
class Anvil:
    port: int
    chain_id: int
    mnemonic: str
    process: Process

    @classmethod
    @asynccontextmanager
    async def start(cls, folder: Path, options: AnvilOptions = DEFAULTS) -> AsyncIterator["Anvil"]:
        folder = ensured(folder)
        binary = await asyncio.to_thread(node.anvil)  # may install the npm packages first
        async with locked_folder(folder, LEFTOVERS_LIMIT) as lock:
            resumed = options.persistent and _state(folder).exists()
            with leased_port(options.port) as port:
                program = _server(binary, folder, port, options)
                async with running(program, lock, lambda: _answers(port), options.start_limit) as process:
                    if resumed:
                        await _call(port, "anvil_mine", hex(BLOCKS_BEHIND_FINALITY))
                    yield cls(port, options.chain_id, options.mnemonic, process)

    @property
    def url(self) -> str:
        return _url(self.port)


def _url(port: int) -> str:
    return f"http://{LOOPBACK}:{port}"


def _state(folder: Path) -> Path:
    return folder / "state.json"


async def _call(port: int, method: str, *params: str) -> Any:
    # trust_env off: a proxy named in the environment has no business between us and our own machine.
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(_url(port), json={"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        return answer.raise_for_status().json()["result"]


async def _answers(port: int) -> bool:
    try:
        await _call(port, "eth_chainId")
    except httpx.HTTPError:
        return False
    return True


def _server(binary: Path, folder: Path, port: int, options: AnvilOptions) -> Program:
    argv = [
        *(str(binary), "--host", LOOPBACK, "--port", str(port), "--quiet"),
        *("--chain-id", str(options.chain_id), "--mnemonic", options.mnemonic),
        *("--slots-in-an-epoch", "1", "--prune-history", str(options.history)),
    ]
    if options.block_time is not None:
        argv += ("--block-time", str(options.block_time.total_seconds()))
    if options.persistent:
        argv += ("--state", str(_state(folder)), "--state-interval", str(SAVE_EVERY.seconds))
    return Program("Anvil", tuple(argv), folder=folder, log=folder / "anvil.log")
