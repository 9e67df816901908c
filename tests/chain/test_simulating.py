"""A refusal of a leg that spends the allowance is one only where the allowance was there, whatever the node mixes up."""

from dataclasses import dataclass
from itertools import combinations, product
from typing import Any

import pytest

from chain.client import ChainClient
from chain.codec import checksum
from chain.contracts.usdc import Usdc
from chain.errors import Reverted
from chain.simulating import simulate_spender
from chain.types import BlockNumber, CallRequest
from tests.chain.scripted_node import RpcItem, error, result, scripted_node

WALLET, VAULT, USDC = (checksum(f"0x{digit * 40}") for digit in "123")
LEG = CallRequest(WALLET, VAULT, b"\x12\x34\x56\x78")
QUESTION = Usdc(USDC).allowance(WALLET, VAULT)
AMOUNT, GAS, BLOCK = 6, 90_000, BlockNumber(7)
REQUESTS = 4
"""As many as one judgement makes."""


@dataclass(frozen=True)
class State:
    allowance: int
    owes: bool

    @property
    def refusal(self) -> str | None:
        if self.allowance < AMOUNT:
            return "ERC20InsufficientAllowance"
        return None if self.owes else "nothing is owed"

    def answer(self, item: RpcItem) -> RpcItem:
        if item["params"][0]["data"] == QUESTION.data:
            return result(item, f"0x{self.allowance:064x}")
        if self.refusal is not None:
            return error(item, 3, f"execution reverted: {self.refusal}")
        return result(item, hex(GAS) if item["method"] == "eth_estimateGas" else "0x")


STATES = [State(allowance, owes) for allowance, owes in product((0, AMOUNT), (False, True))]


async def _judged(block: State, next_block: State, early: range) -> int | str | None:
    """What is said by a node that answers the requests in ``early`` of the block with the state of the next one."""
    seen = 0

    def script(batch: list[RpcItem]) -> Any:
        nonlocal seen
        state = next_block if seen in early else block
        seen += 1
        return [state.answer(item) for item in batch]

    async with scripted_node(script) as url, ChainClient(url) as client:
        found = await simulate_spender(client, LEG, QUESTION, AMOUNT, BLOCK)
    return found.reason if isinstance(found, Reverted) else found


@pytest.mark.parametrize(
    ("state", "told"),
    [
        (State(AMOUNT, owes=True), GAS),
        (State(AMOUNT, owes=False), "nothing is owed"),
        (State(0, owes=True), None),
        (State(0, owes=False), None),
    ],
)
async def test_a_node_that_keeps_to_the_block(state: State, told: int | str | None) -> None:
    """The gas, a refusal, or nothing where the allowance is not there."""
    assert await _judged(state, state, range(0)) == told


@pytest.mark.parametrize(("block", "next_block"), list(product(STATES, repeat=2)))
async def test_a_node_that_is_early_for_a_while(block: State, next_block: State) -> None:
    """For whichever of the requests: the allowance is never why a leg is refused, and what nobody refuses is not."""
    refusals = {state.refusal for state in (block, next_block)}
    for begun, ended in combinations(range(REQUESTS + 1), 2):
        told = await _judged(block, next_block, range(begun, ended))
        assert told in (None, GAS) or (told == "nothing is owed" and told in refusals), (begun, ended)
