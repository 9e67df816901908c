"""Put the contracts on a sandbox chain and fill them: for the sandbox, the demo and the tests, never for real money.

Everything that can be sent together is sent together, with consecutive nonces and fixed gas limits, and waited for once:
so it is as quick on a chain that mines by the clock as on one that mines at once.
"""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from eth_abi.abi import encode
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_typing import ChecksumAddress
from web3.types import Nonce
from web3.utils.address import get_create_address

from chain.client import ChainClient
from chain.codec import Function, checksum
from chain.errors import ChainError
from chain.types import Receipt, SendOk, TxHash, Wei

ARTIFACTS = Path(__file__).resolve().parent / "artifacts"
CREATION_GAS = 4_000_000
CALL_GAS = 600_000
PRIORITY_FEE = 10**9
_POLL_SECONDS = 0.05
_STILL_SECONDS = 60
_MOST_BLOCKS = 300

SET_SOLVENCY_VAULT = Function("setSolvencyVault(address)")


class SandboxError(ChainError):
    """A transaction of the sandbox was refused, reverted or not mined in time."""


@dataclass(frozen=True, slots=True)
class Contracts:
    """Where the contracts of one sandbox are."""

    usdc: ChecksumAddress
    collateral: ChecksumAddress
    oaid: ChecksumAddress
    pool: ChecksumAddress
    vault: ChecksumAddress


@dataclass(frozen=True, slots=True)
class Transaction:
    """What to send: calldata to a contract, or, without a target, the code of a new one."""

    to: ChecksumAddress | None
    data: bytes


class Sender:
    """An account of the sandbox. Use one object per account at a time: it asks the chain for its nonce."""

    def __init__(self, client: ChainClient, key: str) -> None:
        self.client = client
        self._account: LocalAccount = Account.from_key(key)
        self.address = checksum(self._account.address)

    async def send(self, *transactions: Transaction) -> list[Receipt]:
        """The receipts, all successful. Raises SandboxError where one is not."""
        return await send_all([(self, transactions)])

    async def sign(self, transactions: Sequence[Transaction], max_fee: Wei, chain_id: int) -> list[bytes]:
        nonce = await self.client.nonce(self.address, "pending")
        return [self._sign_one(each, nonce + place, max_fee, chain_id) for place, each in enumerate(transactions)]

    def _sign_one(self, transaction: Transaction, nonce: int, max_fee: Wei, chain_id: int) -> bytes:
        fields: dict[str, Any] = {
            "type": 2,
            "chainId": chain_id,
            "nonce": nonce,
            "gas": CREATION_GAS if transaction.to is None else CALL_GAS,
            "maxFeePerGas": max_fee,
            "maxPriorityFeePerGas": PRIORITY_FEE,
            "value": 0,
            "data": transaction.data,
        }
        if transaction.to is not None:
            fields["to"] = transaction.to
        return bytes(self._account.sign_transaction(fields).raw_transaction)


async def send_all(batches: Sequence[tuple[Sender, Sequence[Transaction]]]) -> list[Receipt]:
    """Send the transactions of several senders together, and wait for all: receipts in the same order.

    Raises SandboxError where one was not accepted, not mined, or reverted.
    """
    client = batches[0][0].client
    chain_id = await client.chain_id()
    max_fee = Wei(2 * (await client.head()).base_fee + PRIORITY_FEE)
    raws = [raw for sender, batch in batches for raw in await sender.sign(batch, max_fee, chain_id)]
    hashes = [_accepted(answer) for answer in await client.send_raw(raws)]
    return [_successful(receipt) for receipt in await mined(client, hashes)]


async def deploy(sender: Sender, *, custodial: bool = False) -> Contracts:
    """Deploy and wire all contracts; the sender owns them.

    `custodial` takes the vault as others deployed it: only a position's user may borrow and repay.
    """
    owner = sender.address
    first = await sender.client.nonce(owner, "pending")
    usdc, collateral, oaid, pool, vault = (_created(owner, first + place) for place in range(5))
    vault_name = "CustodialVault" if custodial else "SolvencyVault"
    await sender.send(
        Transaction(None, _creation("USDC", owner)),
        Transaction(None, _creation("CollateralToken", owner)),
        Transaction(None, _creation("OAID", owner)),
        Transaction(None, _creation("SeniorPool", owner, usdc)),
        Transaction(None, _creation(vault_name, owner, usdc, oaid, pool)),
        Transaction(oaid, SET_SOLVENCY_VAULT.encode(vault)),
        Transaction(pool, SET_SOLVENCY_VAULT.encode(vault)),
    )
    return Contracts(usdc, collateral, oaid, pool, vault)


async def mined(client: ChainClient, hashes: Sequence[TxHash]) -> list[Receipt]:
    """The receipts, successful or not. Raises SandboxError where the chain stands still, or goes on without them.

    A machine under load mines fewer blocks, so patience is counted in those; in seconds only where no block comes at all.
    """
    progress = _Progress(len(hashes))
    while True:
        receipts = await client.receipts(hashes)
        found = [receipt for receipt in receipts if receipt is not None]
        if len(found) == len(hashes):
            return found
        progress.note((await client.head()).number, len(found))
        if progress.has_ended:
            raise SandboxError(f"{progress}; {await _state_of(client)}")
        await asyncio.sleep(_POLL_SECONDS)


class _Progress:
    def __init__(self, wanted: int) -> None:
        self._wanted = wanted
        self._first: int | None = None
        self._seen = (-1, 0)
        self._since = time.monotonic()

    def note(self, block: int, found: int) -> None:
        self._first = block if self._first is None else self._first
        if (block, found) != self._seen:
            self._seen, self._since = (block, found), time.monotonic()

    @property
    def has_ended(self) -> bool:
        return self._blocks > _MOST_BLOCKS or time.monotonic() - self._since > _STILL_SECONDS

    @property
    def _blocks(self) -> int:
        return self._seen[0] - (self._seen[0] if self._first is None else self._first)

    def __str__(self) -> str:
        return f"{self._seen[1]} of {self._wanted} transactions were mined in {self._blocks} blocks"


async def _state_of(client: ChainClient) -> str:
    """What a person needs to see why: whether it mines, whether a nonce is missing, and what a transaction must pay."""
    asked = ("anvil_getAutomine", "anvil_getIntervalMining", "txpool_status")
    automine, interval, pool = [await client.rpc.call(method) for method in asked]
    base_fee = (await client.head()).base_fee
    return f"automine {automine}, interval {interval}, pool {pool}, base fee {base_fee} wei"


def _created(sender: ChecksumAddress, nonce: int) -> ChecksumAddress:
    return checksum(get_create_address(sender, Nonce(nonce)))


def _creation(contract: str, *addresses: ChecksumAddress) -> bytes:
    return _bytecode(contract) + encode(["address"] * len(addresses), addresses)


@cache
def _bytecode(contract: str) -> bytes:
    artifact = json.loads((ARTIFACTS / f"{contract}.json").read_text())
    return bytes.fromhex(artifact["bytecode"][2:])


def _accepted(answer: object) -> TxHash:
    if not isinstance(answer, SendOk):
        raise SandboxError(f"a transaction was not accepted: {answer}")
    return answer.tx_hash


def _successful(receipt: Receipt) -> Receipt:
    if not receipt.succeeded:
        raise SandboxError(f"transaction {receipt.tx_hash} reverted")
    return receipt
