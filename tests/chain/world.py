"""A chain with contracts, a pool that can lend, a user with a credit line and the platform's operator."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from eth_account import Account
from eth_typing import ChecksumAddress

from chain.client import ChainClient
from chain.contracts.oaid import Oaid
from chain.contracts.senior_pool import SeniorPool
from chain.contracts.solvency_vault import SolvencyVault, TokenType, encode_borrow_usdc, encode_repay_loan
from chain.contracts.usdc import Usdc, encode_approve
from chain.contracts.vault_events import LoanRepaid, decode_loan_repaid
from chain.types import Block, CallRequest, Receipt
from contracts.deploy import Contracts, Sender, Transaction, deploy
from contracts.funding import OpenedLine, fund_gas, fund_pool, mint_usdc, open_line

T = TypeVar("T")

USD = 10**6
DAY = 24 * 60 * 60
LOAN_DURATION = 90 * DAY
INSTALLMENTS = 3


@dataclass(frozen=True)
class World:
    """`user` holds the position of `line`, worth 10,000 USD; `operator` is the platform wallet, not approved yet."""

    client: ChainClient
    contracts: Contracts
    owner: Sender
    user: Sender
    operator: Sender
    line: OpenedLine

    @property
    def usdc(self) -> Usdc:
        return Usdc(self.contracts.usdc)

    @property
    def oaid(self) -> Oaid:
        return Oaid(self.contracts.oaid)

    @property
    def vault(self) -> SolvencyVault:
        return SolvencyVault(self.contracts.vault)

    @property
    def pool(self) -> SeniorPool:
        return SeniorPool(self.contracts.pool)

    def to_vault(self, data: bytes) -> Transaction:
        return Transaction(self.contracts.vault, data)

    async def try_on_vault(self, caller: ChecksumAddress, data: bytes) -> int:
        """The gas of a call to the vault. Raises Reverted."""
        return await self.client.simulate(CallRequest(caller, self.contracts.vault, data))

    async def borrow(self, caller: Sender, amount: int) -> Receipt:
        data = encode_borrow_usdc(self.line.position_id, amount, LOAN_DURATION, INSTALLMENTS)
        (receipt,) = await caller.send(self.to_vault(data))
        return receipt

    async def approve_vault(self, caller: Sender, amount: int) -> None:
        await caller.send(Transaction(self.contracts.usdc, encode_approve(self.contracts.vault, amount)))

    async def repay(self, caller: Sender, amount: int) -> tuple[Receipt, LoanRepaid]:
        (receipt,) = await caller.send(self.to_vault(encode_repay_loan(self.line.position_id, amount)))
        return receipt, only(decode_loan_repaid(log) for log in receipt.logs)

    async def mine_at(self, timestamp: int) -> Block:
        """The block that is mined with this time."""
        await self.set_next_time(timestamp)
        await self.client.rpc.call("evm_mine")
        return await self.client.head()

    async def set_next_time(self, timestamp: int) -> None:
        await self.client.rpc.call("evm_setNextBlockTimestamp", timestamp)

    async def balance(self, account: ChecksumAddress) -> int:
        (balance,) = await self.client.read(self.usdc.balance_of(account), block="latest")
        return balance

    async def debt(self, block: int | str = "latest") -> int:
        (debt,) = await self.client.read(self.pool.get_outstanding_debt(self.line.position_id), block=block)
        return debt


async def new_sender(client: ChainClient) -> Sender:
    """A new account with gas."""
    sender = Sender(client, Account.create().key.hex())
    await fund_gas(client, sender.address)
    return sender


async def new_world(
    client: ChainClient,
    *,
    custodial: bool = False,
    value_usd: int = 10_000 * USD,
    liquidity: int = 1_000_000 * USD,
    token_type: TokenType = TokenType.RWA,
) -> World:
    """A world with contracts of its own, so that tests share nothing but the chain."""
    owner, user, operator = [await new_sender(client) for _ in range(3)]
    contracts = await deploy(owner, custodial=custodial)
    await fund_pool(owner, contracts, liquidity)
    await mint_usdc(owner, contracts, operator.address, 1_000 * USD)
    line = await open_line(owner, contracts, user, value_usd, token_type)
    return World(client, contracts, owner, user, operator, line)


def only(found: Iterable[T | None]) -> T:
    """The one value among these that is not None."""
    (value,) = (each for each in found if each is not None)
    return value
