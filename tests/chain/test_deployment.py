"""A process starts only against the chain and the contracts that are meant."""

from dataclasses import asdict, replace
from typing import Any

import pytest

from chain.client import ChainClient
from chain.deployment import Deployment, check_deployment
from chain.errors import ChainMisconfigured
from contracts.deploy import Contracts
from tests.chain.world import World

CHAIN_ID = 31337


async def test_our_own_vault_has_the_operator_path(world: World) -> None:
    assert await _check(world.client, world.contracts) == Deployment(CHAIN_ID, has_operator_path=True)


async def test_a_custodial_vault_has_none(custodial_world: World) -> None:
    """There the platform wallet must hold the positions, and the engine knows it from the start."""
    found = await _check(custodial_world.client, custodial_world.contracts)
    assert found == Deployment(CHAIN_ID, has_operator_path=False)


@pytest.mark.parametrize(
    ("setting", "field"),
    [("USDC_ADDRESS", "usdc"), ("OAID_ADDRESS", "oaid"), ("VAULT_ADDRESS", "vault"), ("POOL_ADDRESS", "pool")],
)
async def test_an_address_without_code_is_named(world: World, setting: str, field: str) -> None:
    wrong = replace(world.contracts, **{field: world.user.address})
    with pytest.raises(ChainMisconfigured, match="there is no contract") as raised:
        await _check(world.client, wrong)
    assert raised.value.setting == setting


@pytest.mark.parametrize(
    ("setting", "field", "taken_for"),
    [
        ("USDC_ADDRESS", "usdc", "pool"),
        ("USDC_ADDRESS", "usdc", "collateral"),
        ("OAID_ADDRESS", "oaid", "usdc"),
        ("VAULT_ADDRESS", "vault", "oaid"),
        ("POOL_ADDRESS", "pool", "vault"),
    ],
)
async def test_a_contract_of_another_kind_is_named(world: World, setting: str, field: str, taken_for: str) -> None:
    """Swapped addresses, and a token with other decimals."""
    wrong = replace(world.contracts, **{field: asdict(world.contracts)[taken_for]})
    with pytest.raises(ChainMisconfigured) as raised:
        await _check(world.client, wrong)
    assert raised.value.setting == setting


async def test_a_node_that_does_not_answer_is_named(world: World) -> None:
    async with ChainClient("http://127.0.0.1:1") as client:
        with pytest.raises(ChainMisconfigured) as raised:
            await _check(client, world.contracts)
    assert raised.value.setting == "RPC_URL"


async def test_another_chain_is_named(world: World) -> None:
    with pytest.raises(ChainMisconfigured, match="CHAIN_ID: it says 5000, but the node at RPC_URL serves chain 31337"):
        await _check(world.client, world.contracts, chain_id=5000)


async def _check(client: ChainClient, contracts: Contracts, chain_id: int = CHAIN_ID) -> Deployment:
    addresses: dict[str, Any] = asdict(contracts)
    del addresses["collateral"]
    return await check_deployment(client, chain_id=chain_id, **addresses)
