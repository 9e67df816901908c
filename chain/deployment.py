"""Check at start-up that the configured chain is the one we mean, and the contracts are those we know.

A process that starts against a wrong chain or address would move money somewhere nobody chose. It stops instead, with
the name of the setting at fault (contracts.md, trap 6).
"""

from dataclasses import dataclass
from typing import Any

from eth_typing import ChecksumAddress

from chain.client import ChainClient
from chain.codec import Call, attempt, checksum
from chain.contracts.oaid import Oaid
from chain.contracts.senior_pool import SeniorPool
from chain.contracts.solvency_vault import SolvencyVault
from chain.contracts.usdc import Usdc
from chain.errors import ChainMisconfigured, MalformedAnswer, Reverted, RevertKind, RpcError, RpcUnavailable
from chain.types import BlockNumber

USDC_DECIMALS = 6
_NOBODY = checksum("0x" + "00" * 19 + "01")


@dataclass(frozen=True, slots=True)
class Deployment:
    """What was found. Without the operator path the platform wallet must hold the positions itself."""

    chain_id: int
    has_operator_path: bool


async def check_deployment(
    client: ChainClient,
    *,
    chain_id: int,
    usdc: ChecksumAddress,
    oaid: ChecksumAddress,
    vault: ChecksumAddress,
    pool: ChecksumAddress,
) -> Deployment:
    """Raises ChainMisconfigured naming RPC_URL, CHAIN_ID, USDC_ADDRESS, OAID_ADDRESS, VAULT_ADDRESS or POOL_ADDRESS."""
    await _check_chain_id(client, chain_id)
    addresses = {"USDC_ADDRESS": usdc, "OAID_ADDRESS": oaid, "VAULT_ADDRESS": vault, "POOL_ADDRESS": pool}
    await _check_code(client, addresses)
    head = (await client.head()).number
    for setting, call in _probes(usdc, oaid, vault, pool):
        if not await _answers(client, call, head):
            raise ChainMisconfigured(setting, f"the contract at {call.to} has no {call.name}")
    await _check_decimals(client, usdc, head)
    return Deployment(chain_id, await knows_operators(client, vault, head))


async def knows_operators(client: ChainClient, vault: ChecksumAddress, block: BlockNumber) -> bool:
    """Whether the vault lets an operator borrow whom a position's user has approved (contracts.md, trap 1)."""
    return await _answers(client, SolvencyVault(vault).is_operator(_NOBODY, _NOBODY), block)


def _probes(
    usdc: ChecksumAddress, oaid: ChecksumAddress, vault: ChecksumAddress, pool: ChecksumAddress
) -> list[tuple[str, Call[Any]]]:
    """Every view that the engine uses, of a position and a user that need not exist."""
    token, lines, positions, debts = Usdc(usdc), Oaid(oaid), SolvencyVault(vault), SeniorPool(pool)
    of_usdc = (token.decimals(), token.balance_of(_NOBODY), token.allowance(_NOBODY, _NOBODY))
    of_oaid = (
        lines.get_credit_line(0),
        lines.get_user_credit_lines(_NOBODY),
        lines.get_credit_score(_NOBODY),
        lines.get_credit_profile(_NOBODY),
        lines.is_user_registered(_NOBODY),
    )
    of_vault = (positions.get_position(0), positions.get_repayment_plan(0), positions.positions(0))
    of_pool = (debts.get_available_liquidity(), debts.get_outstanding_debt(0), debts.loans(0))
    return [
        *(("USDC_ADDRESS", call) for call in of_usdc),
        *(("OAID_ADDRESS", call) for call in of_oaid),
        *(("VAULT_ADDRESS", call) for call in of_vault),
        *(("POOL_ADDRESS", call) for call in of_pool),
    ]


async def _check_chain_id(client: ChainClient, expected: int) -> None:
    try:
        found = await client.chain_id()
    except (RpcUnavailable, RpcError) as error:
        raise ChainMisconfigured("RPC_URL", f"the node does not answer: {error}") from error
    if found != expected:
        raise ChainMisconfigured("CHAIN_ID", f"it says {expected}, but the node at RPC_URL serves chain {found}")


async def _check_code(client: ChainClient, addresses: dict[str, ChecksumAddress]) -> None:
    codes = await client.code(list(addresses.values()))
    for (setting, address), code in zip(addresses.items(), codes, strict=True):
        if not code:
            raise ChainMisconfigured(setting, f"there is no contract at {address} on this chain")


async def _check_decimals(client: ChainClient, usdc: ChecksumAddress, block: BlockNumber) -> None:
    (decimals,) = await client.read(Usdc(usdc).decimals(), block=block)
    if decimals != USDC_DECIMALS:
        raise ChainMisconfigured("USDC_ADDRESS", f"the token has {decimals} decimals, and USDC has {USDC_DECIMALS}")


async def _answers(client: ChainClient, call: Call[Any], block: BlockNumber) -> bool:
    """Whether a view exists. A missing one reverts without a word, or answers nothing where a fallback takes the call.

    A refusal with a reason comes from the view itself, so it is there.
    """
    try:
        (answer,) = await client.read(attempt(call), block=block)
    except MalformedAnswer:
        return False
    return not (isinstance(answer, Reverted) and answer.kind is RevertKind.EMPTY)
