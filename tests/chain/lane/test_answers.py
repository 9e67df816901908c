"""Anvil's own answers, asked of Anvil."""

from dataclasses import replace

from chain.classifier import SendClass, classify
from chain.signer import UnsignedTransaction
from chain.types import Wei
from tests.chain.lane.desk import CHAIN_ID, Desk


async def test_anvil_is_understood(desk: Desk) -> None:
    """Each refusal that Anvil can be made to give falls into its class."""
    client = desk.world.client
    await client.rpc.call("evm_setAutomine", False)
    try:
        head = await client.head()
        fair = UnsignedTransaction(
            CHAIN_ID, 0, desk.wallet, b"", Wei(0), 50_000, Wei(2 * head.base_fee + 10**9), Wei(10**9)
        )
        assert await _means(desk, fair) is SendClass.SENT
        assert await _means(desk, fair) is SendClass.SENT  # the same again
        assert await _means(desk, replace(fair, gas=60_000)) is SendClass.OURS_IS_LIVE
        assert await _means(desk, replace(fair, nonce=1, gas=20_000)) is SendClass.INVALID
        assert await _means(desk, replace(fair, nonce=1, gas=10**12)) is SendClass.INVALID
        assert await _means(desk, replace(fair, nonce=1, value=Wei(10**30))) is SendClass.FUNDS
        assert await _means(desk, replace(fair, nonce=1, chain_id=1)) is SendClass.STOP
        cheap = replace(fair, nonce=1, max_fee_per_gas=Wei(1), max_priority_fee_per_gas=Wei(0))
        assert await _means(desk, cheap) is SendClass.REPRICE
        await client.rpc.call("evm_mine")
        assert await _means(desk, replace(fair, gas=60_000)) is SendClass.RECONCILE
        assert await _means(desk, fair) is SendClass.RECONCILE
    finally:
        await client.rpc.call("evm_setAutomine", True)


async def _means(desk: Desk, unsigned: UnsignedTransaction) -> SendClass:
    signed = await desk.signer.sign(unsigned)
    (answer,) = await desk.world.client.send_raw([signed.raw])
    return classify(answer)
