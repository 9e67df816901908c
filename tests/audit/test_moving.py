"""What changes while an audit looks: a chain that is replaced under it, and a position that its user moves by himself."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
from eth_typing import ChecksumAddress

from activities.audit.checker import audit
from chain.client import ChainClient
from chain.errors import RpcUnavailable
from chain.types import BlockRef
from models.tables.transactions import ChainCursor
from tests.chain.world import USD
from tests.engine import BuildEngine, Engine, until
from tests.workflows.moments import leg_is, no_blocks
from tests.workflows.outside import followed
from tests.workflows.test_repay_table import user_repays


class Reorganised(ChainClient):
    """A client whose node replaces its newest block, and drops what was in it, while the audit asks for a nonce."""

    async def nonce(self, address: ChecksumAddress, block: BlockRef) -> int:
        nonce = await super().nonce(address, block)
        await self.rpc.call("anvil_reorg", 1, [])
        return nonce


async def test_a_block_that_is_replaced_says_nothing(engine: Engine) -> None:
    """Where block B is another one after the reading than before it, the audit does not take one for the other."""
    await engine.transfer(engine.treasury, engine.owner.address, USD)
    async with Reorganised(engine.settings.rpc_url.get_secret_value()) as client:
        object.__setattr__(engine.chain, "client", client)
        with pytest.raises(RpcUnavailable):
            await audit(engine.transaction, engine.chain)


class OneBlockAhead(ChainClient):
    """A client whose node lets ``meanwhile`` happen before its first answer of state, and answers with the newest."""

    meanwhile: Callable[[], Awaitable[object]] | None = None

    async def read(self, *calls: Any, block: BlockRef) -> Any:
        if self.meanwhile is None:
            return await super().read(*calls, block=block)
        meanwhile, self.meanwhile = self.meanwhile, None
        await meanwhile()
        return await super().read(*calls, block="latest")


async def test_the_state_of_the_next_block_says_nothing_of_this_one(engine: Engine) -> None:
    """Beside the logs of block B it would be USDC that nobody knows, or that is gone, and then it would pause the signer."""
    await engine.transfer(engine.treasury, engine.owner.address, USD)
    async with OneBlockAhead(engine.settings.rpc_url.get_secret_value()) as client:
        object.__setattr__(engine.chain, "client", client)
        client.meanwhile = partial(engine.transfer, engine.treasury, engine.chain.wallet, USD)
        with pytest.raises(RpcUnavailable, match="two states"):
            await audit(engine.transaction, engine.chain)


async def test_a_position_that_its_user_moves_concerns_no_other(engine: Engine) -> None:
    """A repayment past the engine is drift of that position, and none while the reader of the vault has not come to it."""
    borrower, other = await engine.new_borrower(), await engine.new_borrower()
    await engine.active_loan(borrower)
    await engine.active_loan(other)
    before = (await engine.client.head()).number
    await user_repays(engine, borrower, USD)
    (breach,) = (await audit(engine.transaction, engine.chain)).breaches
    assert (breach.invariant, breach.subject) == (4, f"position {borrower.line.position_id}")
    assert not breach.pauses_signer
    async with engine.transaction() as session:
        reader = {"chain_id": engine.chain.chain_id, "address": engine.chain.vault_address}
        session.add(ChainCursor(**reader, first_block=before, block_number=before))
    report = await audit(engine.transaction, engine.chain)
    assert report.breaches == []
    assert any(f"position {borrower.line.position_id} was moved" in note for note in report.findings[3].notes)


async def test_a_movement_that_nobody_comes_to_read_is_drift(engine: Engine) -> None:
    """That the reader of the vault will come to it excuses a position for minutes only: a reader may be gone for good."""
    borrower = await engine.new_borrower()
    await engine.active_loan(borrower)
    await followed(engine)
    await user_repays(engine, borrower, USD)
    assert (await audit(engine.transaction, engine.chain)).breaches == []
    await engine.client.rpc.call("evm_increaseTime", hex(11 * 60))
    await engine.client.rpc.call("evm_mine")
    (breach,) = (await audit(engine.transaction, engine.chain)).breaches
    assert (breach.invariant, breach.subject) == (4, f"position {borrower.line.position_id}")
    await followed(engine)
    assert (await audit(engine.transaction, engine.chain)).breaches == []


async def test_a_borrow_that_no_lane_has_seen_yet_is_no_surplus(build_engine: BuildEngine) -> None:
    """A leg that was mined while the lane is away is read again by each audit until its receipt is known."""
    async with build_engine() as engine, engine.loans():
        borrower = await engine.new_borrower()
        async with no_blocks(engine):
            operation_id = (await engine.borrow(borrower)).json()["operation_id"]
            async with engine.lane():
                await until(partial(leg_is, engine, operation_id, ("borrow", 1, "BROADCAST")))
        await engine.client.rpc.call("anvil_mine", hex(3))
        whole = await audit(engine.transaction, engine.chain)
        assert whole.breaches == []
        assert (await audit(engine.transaction, engine.chain, since=whole.block)).breaches == []


async def test_a_transfer_that_no_lane_has_read_yet_is_no_surplus(build_engine: BuildEngine) -> None:
    """What comes in while the lane is away is counted by its log in each audit until the lane has read it."""
    async with build_engine() as engine:
        await engine.transfer(engine.treasury, engine.chain.wallet, USD)
        await engine.client.rpc.call("anvil_mine", hex(3))
        whole = await audit(engine.transaction, engine.chain)
        assert whole.breaches == []
        assert (await audit(engine.transaction, engine.chain, since=whole.block)).breaches == []
