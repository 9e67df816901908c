"""USDC that somebody sends to the wallet."""

from collections.abc import Sequence

from eth_typing import ChecksumAddress
from sqlalchemy import select

from chain.client import ChainClient
from chain.contracts.usdc import encode_transfer
from chain.errors import RpcError
from chain.finality import Finality
from chain.types import BlockNumber, BlockRef, Log
from contracts.deploy import Transaction
from contracts.funding import mint_usdc
from models import accounts
from models.statuses import InboundState, TransactionState
from models.tables import book
from models.tables.transactions import ChainCursor, InboundTransfer
from tests.chain.lane.desk import Desk, eventually
from tests.chain.world import USD


class Lagging(ChainClient):
    """The first answers come from a node that does not have the newest blocks yet, and does not say so."""

    behind = 3

    async def logs(
        self,
        address: ChecksumAddress | Sequence[ChecksumAddress],
        topics: Sequence[str | Sequence[str] | None],
        from_block: BlockRef,
        to_block: BlockRef,
    ) -> list[Log]:
        found = await super().logs(address, topics, from_block, to_block)
        if found and self.behind > 0:
            self.behind -= 1
            await self.rpc.call("evm_mine")
            return []
        return found


class FewLogs(ChainClient):
    """A node that refuses to list more than a few logs at once."""

    refused = 0

    async def logs(
        self,
        address: ChecksumAddress | Sequence[ChecksumAddress],
        topics: Sequence[str | Sequence[str] | None],
        from_block: BlockRef,
        to_block: BlockRef,
    ) -> list[Log]:
        found = await super().logs(address, topics, from_block, to_block)
        if len(found) > 1:
            self.refused += 1
            raise RpcError(-32005, "query returned more than 1 results")
        return found


async def test_a_transfer_becomes_a_liability_once(desk: Desk) -> None:
    """Each inbound log is one row, and one movement from the wallet to unclaimed inbound, however often it is scanned."""
    async with desk.running():
        await eventually(lambda: _scanning(desk))
        await _send(desk, 3 * USD)
        await _send(desk, 4 * USD)
        await eventually(lambda: _found(desk, 2))
    async with desk.running():
        await _send(desk, 5 * USD)
        await eventually(lambda: _found(desk, 3))
    rows = await _rows(desk)
    assert [row.amount for row in rows] == [3 * USD, 4 * USD, 5 * USD]
    assert {(row.state, row.sender) for row in rows} == {(InboundState.UNCLAIMED, desk.world.user.address)}
    assert await _balance(desk, accounts.UNCLAIMED_INBOUND) == 12 * USD
    assert await _balance(desk, accounts.PLATFORM_WALLET) == -12 * USD


async def test_the_treasury_tops_up_the_float(desk: Desk) -> None:
    """A transfer from a registered treasury address credits the platform float, as the ledger and its cache say."""
    treasury = desk.world.user.address
    async with desk.running(desk.lane(treasury=frozenset({treasury}))):
        await eventually(lambda: _scanning(desk))
        await _send(desk, 3 * USD)
        await eventually(lambda: _found(desk, 1))
    (row,) = await _rows(desk)
    assert row.state is InboundState.TREASURY
    assert await _balance(desk, accounts.FLOAT) == 3 * USD
    async with desk.transaction() as session:
        assert await book.float_left(session) == 3 * USD


async def test_our_own_transactions_are_their_legs(desk: Desk) -> None:
    """USDC that a leg brings in is not an inbound transfer."""
    await desk.lane_known()
    operation_id = await desk.operation()
    await desk.queue_simulated(desk.borrow(operation_id))
    async with desk.running():
        await desk.until(operation_id, "borrow", TransactionState.FINAL_OK)
        await _send(desk, 3 * USD)
        await eventually(lambda: _found(desk, 1))
    assert [row.amount for row in await _rows(desk)] == [3 * USD]


async def test_the_scan_can_start_earlier(desk: Desk) -> None:
    """A first scan starts at the head, or at the block that is configured, in chunks of blocks."""
    before = await desk.world.client.head()
    await _send(desk, 3 * USD)
    for _ in range(8):
        await desk.world.client.rpc.call("evm_mine")
    async with desk.running(
        desk.lane(inbound_from_block=BlockNumber(before.number), inbound_chunk=4, inbound_overlap=2)
    ):
        await eventually(lambda: _found(desk, 1))


async def test_what_was_there_before_the_first_scan_is_left_alone(desk: Desk) -> None:
    """Without a configured block the wallet's past is not scanned, nor is it by a later term."""
    await _send(desk, 3 * USD)
    await desk.world.client.rpc.call("evm_mine")
    for _ in range(2):
        async with desk.running():
            await eventually(lambda: _scanning(desk))
            await _send(desk, USD)
            await eventually(lambda: _all_scanned(desk))
    assert [row.amount for row in await _rows(desk)] == [USD, USD]


async def test_a_node_that_lags_hides_no_transfer(desk: Desk, anvil_url: str) -> None:
    """Blocks are scanned again for a while, since an empty answer may come from a node that did not have them."""
    async with Lagging(anvil_url) as node, desk.running(desk.lane(node)):
        await eventually(lambda: _scanning(desk))
        await _send(desk, 3 * USD)
        await eventually(lambda: _found(desk, 1))
    assert node.behind == 0


async def test_dust_stops_no_scan(desk: Desk, anvil_url: str) -> None:
    """Where strangers send more transfers than a node lists in one answer, the blocks are read in smaller parts."""
    start = (await desk.world.client.head()).number
    for _ in range(5):
        await _send(desk, 1)
    async with FewLogs(anvil_url) as node, desk.running(desk.lane(node, inbound_from_block=BlockNumber(start))):
        await eventually(lambda: _found(desk, 5))
        await eventually(lambda: _all_scanned(desk))
    assert node.refused > 0


async def test_a_transfer_that_moved_is_not_credited_twice(desk: Desk) -> None:
    """If the block of a recorded transfer leaves the chain after all, its transaction is never credited a second time."""
    async with desk.running():
        await eventually(lambda: _scanning(desk))
        await _send(desk, 3 * USD)
        await eventually(lambda: _found(desk, 1))
        async with desk.transaction() as session:
            row = (await session.scalars(select(InboundTransfer))).one()
            row.block_hash, row.log_index = "0x" + "00" * 32, 77
        await desk.world.client.rpc.call("evm_mine")
        await eventually(lambda: _all_scanned(desk))
    assert len(await _rows(desk)) == 1
    assert await _balance(desk, accounts.UNCLAIMED_INBOUND) == 3 * USD


async def test_inbound_transfers_wait_for_their_depth(desk: Desk) -> None:
    """A transfer is a liability once its block is final, and not earlier."""
    async with desk.running(desk.lane(finality=Finality(confirmations=3))):
        await eventually(lambda: _scanning(desk))
        await _send(desk, 3 * USD)
        await desk.world.client.rpc.call("evm_mine")
        await eventually(lambda: _scanned_to(desk, -2))
        assert await _rows(desk) == []
        await desk.world.client.rpc.call("evm_mine")
        await eventually(lambda: _found(desk, 1))


async def _send(desk: Desk, amount: int) -> None:
    await mint_usdc(desk.world.owner, desk.world.contracts, desk.world.user.address, amount)
    await desk.world.user.send(Transaction(desk.config.usdc, encode_transfer(desk.wallet, amount)))


async def _scanning(desk: Desk) -> bool:
    async with desk.transaction() as session:
        return (await session.scalars(select(ChainCursor))).one_or_none() is not None


async def _all_scanned(desk: Desk) -> bool:
    return await _scanned_to(desk, 0)


async def _scanned_to(desk: Desk, behind_the_head: int) -> bool:
    head = await desk.world.client.head()
    async with desk.transaction() as session:
        cursor = (await session.scalars(select(ChainCursor))).one()
        return cursor.block_number >= head.number + behind_the_head


async def _rows(desk: Desk) -> Sequence[InboundTransfer]:
    async with desk.transaction() as session:
        return (await session.scalars(select(InboundTransfer).order_by(InboundTransfer.id))).all()


async def _found(desk: Desk, number: int) -> bool:
    return len(await _rows(desk)) == number


async def _balance(desk: Desk, account: str) -> int:
    async with desk.transaction() as session:
        return await book.balance(session, account)
