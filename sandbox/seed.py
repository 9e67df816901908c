"""What a sandbox needs before anyone can borrow: contracts, liquidity, gas, users with credit lines, and a partner."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from eth_typing import ChecksumAddress
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine

from api.administration import create_partner
from chain.client import ChainClient
from chain.contracts.solvency_vault import SolvencyVault, TokenType
from chain.contracts.usdc import Usdc, encode_approve, encode_transfer
from contracts.deploy import Contracts, Sender, Transaction, deploy
from contracts.funding import OpenedLine, fund_gas, fund_pool, mint_usdc, open_line, set_operator
from models.money import USDC_DECIMALS
from models.statuses import PartnerTier
from models.tables.book import float_left
from models.tables.session import transactions
from sandbox.accounts import Accounts, address_of, key_of
from sandbox.errors import SandboxError

USDC = 10**USDC_DECIMALS
POOL_LIQUIDITY = 1_000_000 * USDC
SETTLEMENT_BALANCE = 50_000 * USDC
SETTLEMENT_ALLOWANCE = 1_000_000_000 * USDC
PLATFORM_FLOAT = 10_000 * USDC
LEAST_FLOAT = 1_000 * USDC
# Both lines promise 70% of their collateral; of a private asset the vault lends only 60%.
COLLATERAL = ((100_000 * USDC, TokenType.RWA), (50_000 * USDC, TokenType.PRIVATE_ASSET))
PARTNER_ID = "acme"
FLOAT_POLL = timedelta(milliseconds=100)
FLOAT_PATIENCE = timedelta(seconds=60)


@dataclass(frozen=True)
class SeededChain:
    """A chain with contracts on it, and the accounts that can sign there."""

    client: ChainClient
    contracts: Contracts
    accounts: Accounts

    async def balance(self, account: ChecksumAddress) -> int:
        """USDC in base units."""
        (balance,) = await self.client.read(Usdc(self.contracts.usdc).balance_of(account), block="latest")
        return balance

    async def open_line(self, user: int) -> OpenedLine:
        """One more credit line of this user (0 or 1), on which the platform wallet may borrow."""
        owner = Sender(self.client, key_of(self.accounts.owner))
        sender = Sender(self.client, key_of(self.accounts.users[user]))
        value, kind = COLLATERAL[user]
        line = await open_line(owner, self.contracts, sender, value, kind)
        await set_operator(sender, self.contracts, address_of(self.accounts.platform))
        return line

    async def is_free(self, line: OpenedLine) -> bool:
        """Whether nothing is borrowed on the line: a position carries one loan at a time."""
        vault = SolvencyVault(self.contracts.vault)
        (plan,) = await self.client.read(vault.get_repayment_plan(line.position_id), block="latest")
        return not plan.is_active


@asynccontextmanager
async def mined_at_once(client: ChainClient, block_time: timedelta | None) -> AsyncIterator[None]:
    """Mine each transaction when it comes, then go on by the clock, of whole seconds: a dozen blocks cost no dozen seconds."""
    await client.rpc.call("evm_setAutomine", True)
    try:
        yield
    finally:
        if block_time is not None:
            await client.rpc.call("evm_setIntervalMining", int(block_time.total_seconds()))


async def seed_chain(client: ChainClient, accounts: Accounts) -> SeededChain:
    """Deploy and wire the contracts, fund the pool, and let the partner's settlement address be pulled from."""
    owner = Sender(client, key_of(accounts.owner))
    settlement = Sender(client, key_of(accounts.settlement))
    await fund_gas(client, address_of(accounts.platform))
    contracts = await deploy(owner)
    await fund_pool(owner, contracts, POOL_LIQUIDITY)
    await mint_usdc(owner, contracts, settlement.address, SETTLEMENT_BALANCE)
    approval = encode_approve(address_of(accounts.platform), SETTLEMENT_ALLOWANCE)
    await settlement.send(Transaction(contracts.usdc, approval))
    return SeededChain(client, contracts, accounts)


async def seed_partner(
    database: AsyncEngine, settlement_address: ChecksumAddress, pepper: SecretStr | None = None
) -> str:
    """A partner of the PREMIUM tier; its key."""
    async with transactions(database)() as session:
        issued = await create_partner(
            session,
            partner_id=PARTNER_ID,
            name="Acme Lending",
            tier=PartnerTier.PREMIUM,
            settlement_address=settlement_address,
            mode="sandbox",
            pepper=pepper,
        )
    return issued.key


async def fund_float(chain: SeededChain, database: AsyncEngine) -> None:
    """Fill up the platform float as an operator does: USDC from the treasury, which the lane finds and books.

    Needs a running lane: it looks for transfers from the block at which it first ran.
    """
    if await _float(database) >= LEAST_FLOAT:
        return
    await send_float(chain)
    try:
        async with asyncio.timeout(FLOAT_PATIENCE.total_seconds()):
            # Another process books it, so there is no event of ours to wait for.
            while await _float(database) < LEAST_FLOAT:  # noqa: ASYNC110
                await asyncio.sleep(FLOAT_POLL.total_seconds())
    except TimeoutError:
        raise SandboxError("the lane did not book the treasury's transfer within a minute") from None


async def send_float(chain: SeededChain) -> None:
    """USDC from the treasury to the platform wallet, for whatever lane looks at this block."""
    owner = Sender(chain.client, key_of(chain.accounts.owner))
    treasury = Sender(chain.client, key_of(chain.accounts.treasury))
    await mint_usdc(owner, chain.contracts, treasury.address, PLATFORM_FLOAT)
    transfer = encode_transfer(address_of(chain.accounts.platform), PLATFORM_FLOAT)
    await treasury.send(Transaction(chain.contracts.usdc, transfer))


async def _float(database: AsyncEngine) -> int:
    async with transactions(database)() as session:
        return await float_left(session)
