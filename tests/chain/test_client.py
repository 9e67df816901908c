"""The client against a real node: one HTTP request for many answers, each of the block that was named."""

import asyncio
from datetime import timedelta

import pytest

from chain.client import ChainClient
from chain.codec import attempt
from chain.contracts.solvency_vault import encode_borrow_usdc
from chain.contracts.usdc import TRANSFER_EVENT, Transfer, decode_transfer, encode_transfer
from chain.contracts.vault_events import decode_repayment_plan_created, decode_usdc_borrowed
from chain.errors import MalformedAnswer, Reverted, RevertKind, RpcError
from chain.types import BlockHash, BlockNumber, CallRequest, InBlock, SendError, SendOk, TxHash, Wei
from contracts.deploy import Transaction, deploy
from contracts.funding import open_lines
from tests.anvil import running_anvil
from tests.chain.world import DAY, INSTALLMENTS, LOAN_DURATION, USD, World, new_sender, new_world, only

UNKNOWN_HASH = TxHash("0x" + "77" * 32)


async def test_many_calls_are_one_request(world: World) -> None:
    """What a borrow reads before its decision costs one HTTP request, and arrives in order."""
    position_id, line_id = world.line.position_id, world.line.credit_line_id
    before = world.client.requests_sent
    line, available, position, plan, liquidity, debt, approved, balance = await world.client.read(
        world.oaid.get_credit_line(line_id),
        world.oaid.get_available_credit(line_id),
        world.vault.get_position(position_id),
        world.vault.get_repayment_plan(position_id),
        world.pool.get_available_liquidity(),
        world.pool.get_outstanding_debt(position_id),
        world.vault.is_operator(world.user.address, world.operator.address),
        world.usdc.balance_of(world.operator.address),
        block="latest",
    )
    assert world.client.requests_sent == before + 1
    assert (line.user, line.solvency_position_id, line.credit_limit) == (world.user.address, position_id, 7_000 * USD)
    assert (line.active, line.exists, line.liquidated) == (True, True, False)
    assert (position.user, position.credit_line_id) == (world.user.address, line_id)
    assert (position.token_value_usd, position.active, position.token_type) == (10_000 * USD, True, 0)
    assert (available, liquidity, debt) == (7_000 * USD, 1_000_000 * USD, 0)
    assert (plan.is_active, approved, balance) == (False, False, 1_000 * USD)


async def test_a_read_is_of_the_block_it_names(world: World) -> None:
    """By number or by hash, also after later blocks have changed the answer."""
    before = await world.client.head()
    await world.borrow(world.user, 500 * USD)
    balance = world.usdc.balance_of(world.user.address)
    assert await world.client.read(balance, block=before.number) == (0,)
    assert await world.client.read(balance, block=before.hash) == (0,)
    assert await world.client.read(balance, block="latest") == (500 * USD,)
    with pytest.raises(RpcError):
        await world.client.read(balance, block=before.number + 1_000)


async def test_an_unknown_credit_line_is_zeros(world: World) -> None:
    (line,) = await world.client.read(world.oaid.get_credit_line(999), block="latest")
    assert (line.exists, line.active, line.credit_limit) == (False, False, 0)


async def test_a_view_that_reverts_raises_or_is_a_value(custodial_world: World) -> None:
    """The vault of others has no isOperator: an exception, or with `attempt` an answer beside the others."""
    world = custodial_world
    missing = world.vault.is_operator(world.user.address, world.operator.address)
    with pytest.raises(Reverted, match=r"^isOperator: reverted without a reason$"):
        await world.client.read(missing, block="latest")
    refusal, most = await world.client.read(
        attempt(missing), world.vault.get_max_borrow(world.line.position_id), block="latest"
    )
    assert isinstance(refusal, Reverted)
    assert refusal.kind is RevertKind.EMPTY
    assert most == 7_000 * USD


async def test_an_address_without_code_answers_nothing(world: World) -> None:
    """Which is not a zero."""
    nothing = type(world.usdc)(world.user.address).balance_of(world.user.address)
    with pytest.raises(MalformedAnswer):
        await world.client.read(attempt(nothing), block="latest")


async def test_a_block_and_receipts_are_one_request(world: World) -> None:
    """One node says whether it has the block, and which receipts it has."""
    receipt = await world.borrow(world.user, 500 * USD)
    before = world.client.requests_sent
    block, receipts = await world.client.block_and_receipts(receipt.block_hash, [receipt.tx_hash, UNKNOWN_HASH])
    assert world.client.requests_sent == before + 1
    assert block is not None
    assert block.number == receipt.block_number
    assert receipts == [receipt, None]
    assert await world.client.block_and_receipts(BlockHash(UNKNOWN_HASH), []) == (None, [])


async def test_a_full_block_says_whose_nonce_it_used(world: World) -> None:
    receipt = await world.borrow(world.user, 500 * USD)
    nonce = await world.client.nonce(world.user.address, "latest") - 1
    (full,) = await world.client.full_blocks([receipt.block_number])
    assert full is not None
    assert full.header.hash == receipt.block_hash
    found = InBlock(receipt.tx_hash, world.user.address, nonce)
    assert full.transactions == (found,)
    assert await world.client.mined(receipt.tx_hash) == found
    assert await world.client.mined(UNKNOWN_HASH) is None


async def test_a_receipt_carries_what_happened(world: World) -> None:
    receipt = await world.borrow(world.user, 500 * USD)
    assert receipt.succeeded
    assert (receipt.sender, receipt.target) == (world.user.address, world.contracts.vault)
    assert receipt.gas_used > 21_000
    assert receipt.effective_gas_price > 0
    borrowed = only(decode_usdc_borrowed(log) for log in receipt.logs)
    assert (borrowed.position_id, borrowed.amount) == (world.line.position_id, 500 * USD)
    plan = only(decode_repayment_plan_created(log) for log in receipt.logs)
    assert (plan.loan_duration, plan.installment_interval) == (LOAN_DURATION, 30 * DAY)
    assert [log.tx_hash for log in receipt.logs] == [receipt.tx_hash] * len(receipt.logs)


async def test_blocks_link_to_their_parents(world: World) -> None:
    """A block beyond the head is None."""
    head = await world.client.head()
    parent, same, beyond = await world.client.blocks(
        [BlockNumber(head.number - 1), head.number, BlockNumber(head.number + 1_000)]
    )
    assert same == head
    assert parent is not None
    assert head.parent_hash == parent.hash
    assert beyond is None


async def test_finalized_is_a_block_behind_the_head(world: World) -> None:
    head = await world.client.head()
    finalized = await world.client.block_by_tag("finalized")
    assert finalized is not None
    assert finalized.number < head.number


async def test_logs_are_found_by_address_and_topic(world: World) -> None:
    """Every USDC transfer to a wallet, which is how inbound money is noticed."""
    receipt = await world.borrow(world.user, 500 * USD)
    wallet = "0x" + "00" * 12 + world.user.address[2:].lower()
    found = await world.client.logs(
        world.contracts.usdc, [TRANSFER_EVENT.topic0, None, wallet], 0, receipt.block_number
    )
    transfers = [decode_transfer(log) for log in found]
    assert transfers == [Transfer(world.contracts.vault, world.user.address, 500 * USD)]


async def test_a_simulation_gives_gas_or_the_reason(world: World) -> None:
    """In one request; the gas is enough for the transaction itself."""
    borrow = encode_borrow_usdc(world.line.position_id, 500 * USD, LOAN_DURATION, INSTALLMENTS)
    before = world.client.requests_sent
    gas = await world.try_on_vault(world.user.address, borrow)
    assert world.client.requests_sent == before + 1
    receipt = await world.borrow(world.user, 500 * USD)
    assert receipt.gas_used <= gas
    with pytest.raises(Reverted, match=r"^Plan already active$"):
        await world.try_on_vault(world.user.address, borrow)
    overdraft = CallRequest(world.operator.address, world.contracts.usdc, encode_transfer(world.user.address, 10**12))
    with pytest.raises(Reverted, match=r"^ERC20InsufficientBalance\(.*, 1000000000, 1000000000000\)$"):
        await world.client.simulate(overdraft)


async def test_a_transaction_sent_twice_says_so(world: World) -> None:
    """The same bytes again are an error of the node, never a second effect."""
    data = encode_transfer(world.user.address, USD)
    (raw,) = await world.operator.sign([Transaction(world.contracts.usdc, data)], Wei(10**11), 31337)
    (first,) = await world.client.send_raw([raw])
    (second,) = await world.client.send_raw([raw])
    assert isinstance(first, SendOk)
    assert isinstance(second, SendError)


async def test_accounts_and_fees_are_read(world: World) -> None:
    assert await world.client.chain_id() == 31337
    assert await world.client.nonce(world.operator.address, "latest") == 0
    assert await world.client.balance(world.operator.address) == 1_000 * 10**18
    market = await world.client.market(world.operator.address)
    assert market.balance == 1_000 * 10**18
    assert market.tip > 0
    assert market.base_fee == (await world.client.head()).base_fee
    code, nothing = await world.client.code([world.contracts.vault, world.operator.address])
    assert code
    assert nothing == b""


async def test_a_chain_that_mines_by_the_clock_is_filled_as_well() -> None:
    """Deployment and twenty positions, sent together."""
    with running_anvil(block_time=timedelta(seconds=0.2)) as url:
        async with ChainClient(url) as client:
            world = await new_world(client)
            users = list(await asyncio.gather(*(new_sender(client) for _ in range(5))))
            lines = await open_lines(world.owner, world.contracts, users, 1_000 * USD, lines_each=4)
            another = await deploy(world.owner)
    assert sorted(line.position_id for line in lines) == list(range(2, 22))
    assert {line.user for line in lines} == {user.address for user in users}
    assert another.vault != world.contracts.vault
