"""How long the sandbox waits for its own transactions: for as long as the chain goes on, and not for ever."""

import asyncio

import pytest

from chain.client import ChainClient
from chain.types import TxHash
from contracts.deploy import SandboxError, mined
from sandbox.services import Anvil

UNKNOWN = TxHash("0x" + "ee" * 32)


async def test_a_chain_that_goes_on_without_a_transaction_is_not_waited_for(anvil: Anvil) -> None:
    """The error says in how many blocks it was not mined, and what the chain was doing meanwhile."""
    async with ChainClient(anvil.url) as client:
        waiting = asyncio.create_task(mined(client, [UNKNOWN]))
        while not waiting.done():
            await client.rpc.call("anvil_mine", hex(100))
        with pytest.raises(
            SandboxError, match=r"0 of 1 transactions were mined in \d{3} blocks; automine True, .*pool"
        ):
            await waiting
