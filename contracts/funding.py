"""Give the accounts of a sandbox chain what they need: gas, USDC, liquidity, collateral with a credit line, consent.

The owner is the account that deployed the contracts. Amounts are base units of the token in question.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from eth_typing import ChecksumAddress

from chain.client import ChainClient
from chain.codec import Function
from chain.contracts.solvency_vault import TokenType, encode_deposit_collateral, encode_set_operator
from chain.contracts.usdc import encode_approve
from chain.contracts.vault_events import decode_oaid_credit_issued, decode_position_created
from chain.types import Receipt, Wei
from contracts.deploy import Contracts, SandboxError, Sender, Transaction, send_all

MINT = Function("mint(address,uint256)")
REGISTER_USER = Function("registerUser(address)")
COLLATERAL_AMOUNT = 10**18
ONE_THOUSAND_ETH = Wei(1_000 * 10**18)


@dataclass(frozen=True, slots=True)
class OpenedLine:
    """A position with its credit line; `credit_line_id` is the OAID token id that partners name."""

    user: ChecksumAddress
    position_id: int
    credit_line_id: int


async def fund_gas(client: ChainClient, address: ChecksumAddress, amount: Wei = ONE_THOUSAND_ETH) -> None:
    """Set an account's balance of the gas token. Anvil only."""
    await client.rpc.call("anvil_setBalance", address, hex(amount))


async def mint_usdc(owner: Sender, contracts: Contracts, to: ChecksumAddress, amount: int) -> None:
    await owner.send(Transaction(contracts.usdc, MINT.encode(to, amount)))


async def fund_pool(owner: Sender, contracts: Contracts, amount: int) -> None:
    """Give the pool USDC to lend."""
    await mint_usdc(owner, contracts, contracts.pool, amount)


async def register_users(owner: Sender, contracts: Contracts, users: Sequence[ChecksumAddress]) -> None:
    await owner.send(*(Transaction(contracts.oaid, REGISTER_USER.encode(user)) for user in users))


async def set_operator(user: Sender, contracts: Contracts, operator: ChecksumAddress, *, approved: bool = True) -> None:
    """The user's consent that an operator borrows for its positions."""
    await user.send(Transaction(contracts.vault, encode_set_operator(operator, approved=approved)))


async def open_line(
    owner: Sender,
    contracts: Contracts,
    user: Sender,
    value_usd: int,
    token_type: TokenType = TokenType.RWA,
) -> OpenedLine:
    """Register a user, and deposit collateral of this value in USDC base units with a credit line."""
    (line,) = await open_lines(owner, contracts, [user], value_usd, token_type)
    return line


async def open_lines(
    owner: Sender,
    contracts: Contracts,
    users: Sequence[Sender],
    value_usd: int,
    token_type: TokenType = TokenType.RWA,
    *,
    lines_each: int = 1,
) -> list[OpenedLine]:
    """The same for many users at once, in two rounds of transactions however many there are."""
    await owner.send(*(each for user in users for each in _preparation(contracts, user.address, lines_each)))
    amount = COLLATERAL_AMOUNT * lines_each
    approval = Transaction(contracts.collateral, encode_approve(contracts.vault, amount))
    deposit = Transaction(
        contracts.vault,
        encode_deposit_collateral(contracts.collateral, COLLATERAL_AMOUNT, value_usd, token_type, issue_oaid=True),
    )
    receipts = await send_all([(user, [approval, *[deposit] * lines_each]) for user in users])
    return [_opened(receipt) for receipt in receipts if receipt.target == contracts.vault]


def _preparation(contracts: Contracts, user: ChecksumAddress, lines: int) -> list[Transaction]:
    return [
        Transaction(contracts.oaid, REGISTER_USER.encode(user)),
        Transaction(contracts.collateral, MINT.encode(user, COLLATERAL_AMOUNT * lines)),
    ]


def _opened(receipt: Receipt) -> OpenedLine:
    created = [made for log in receipt.logs if (made := decode_position_created(log)) is not None]
    issued = [line for log in receipt.logs if (line := decode_oaid_credit_issued(log)) is not None]
    if not created or not issued:
        raise SandboxError(f"transaction {receipt.tx_hash} opened no credit line")
    return OpenedLine(created[0].user, created[0].position_id, issued[0].credit_line_id)
