"""USDC that nobody claims, given back by the lane itself, and every reason not to."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from eth_typing import ChecksumAddress
from sqlalchemy import func, select, update

from chain.codec import Function, checksum
from chain.contracts.usdc import encode_transfer
from chain.lane import SignerLane
from chain.signers import pause_signer, resume_signer
from contracts.deploy import Transaction
from contracts.funding import mint_usdc
from models import accounts
from models.statuses import InboundState, OperationKind, OperationState, TransactionState
from models.tables import book
from models.tables.operations import Event, Operation
from models.tables.operators import Incident
from models.tables.partners import CreditLineGrant, SettlementAddress
from models.tables.transactions import ChainCursor, ChainTransaction, InboundTransfer
from tests.chain.lane.desk import Desk, eventually
from tests.chain.lane.interrupted import Interrupted
from tests.chain.world import USD

AMOUNT = 3 * USD
BLACKLIST, UNBLACKLIST = "blacklist(address)", "unBlacklist(address)"


def refunding(desk: Desk, **changes: Any) -> SignerLane:
    """A lane that gives back at once what nobody has claimed yet."""
    at_once: dict[str, Any] = {
        "refund_after": timedelta(),
        "refund_minimum": USD,
        "refund_poll": timedelta(milliseconds=50),
    }
    return desk.lane(**at_once | changes)


async def test_a_registered_sender_gets_its_transfer_back(desk: Desk) -> None:
    """Once, by a system operation without partner or event; the ledger shows it pass through suspense and leave."""
    await _register(desk)
    async with desk.running(refunding(desk)):
        await _send(desk)
        await eventually(lambda: _is(desk, InboundState.REFUNDED))
    operation = await _operation(desk)
    assert (operation.kind, operation.state) == (OperationKind.SYSTEM, OperationState.DONE)
    assert operation.id == f"system:refund:{(await _transfer(desk)).id}:1"
    assert await _balances(desk) == (0, 0, 0)
    assert await desk.world.balance(desk.world.user.address) == AMOUNT
    async with desk.transaction() as session:
        assert (await session.scalars(select(Event))).all() == []


async def test_a_granted_wallet_gets_its_transfer_back(desk: Desk) -> None:
    """A user whose wallet has granted a credit line is known as well."""
    await desk.operation()
    async with desk.transaction() as session:
        await session.execute(update(CreditLineGrant).values(user_wallet=desk.world.user.address))
    async with desk.running(refunding(desk)):
        await _send(desk)
        await eventually(lambda: _is(desk, InboundState.REFUNDED))


@pytest.mark.parametrize(
    "changes", [{"refund_minimum": AMOUNT + 1}, {"refund_after": timedelta(days=14)}], ids=["too little", "too young"]
)
async def test_what_is_not_due_waits(desk: Desk, changes: dict[str, Any]) -> None:
    """Less than the minimum, or a transfer whose time to be claimed has not passed, stays claimable."""
    await _register(desk)
    async with desk.running(refunding(desk, **changes)):
        await _send(desk)
        await _another_is_refunded(desk)
    assert (await _transfers(desk))[0].state is InboundState.UNCLAIMED


async def test_a_stranger_gets_nothing_back_by_itself(desk: Desk) -> None:
    """USDC of an address that nobody has registered waits for a person."""
    async with desk.running(refunding(desk)):
        await _send(desk)
        await eventually(lambda: _is(desk, InboundState.UNCLAIMED))
        await _another_is_refunded(desk)
    assert (await _transfers(desk))[0].state is InboundState.UNCLAIMED


async def test_a_transfer_that_the_token_refuses_stays_claimable(desk: Desk) -> None:
    """No operation begins, a person is told, and it is tried again later; what then passes closes the incident."""
    await _register(desk)
    async with desk.running(refunding(desk)):
        await _send(desk)
        await _owner_calls(desk, BLACKLIST)
        await eventually(lambda: _incidents(desk, opened=1))
        assert (await _transfer(desk)).state is InboundState.UNCLAIMED
        await _owner_calls(desk, UNBLACKLIST)
        await _try_again(desk)
        await eventually(lambda: _is(desk, InboundState.REFUNDED))
    assert await _incidents(desk, opened=0)
    assert await _balances(desk) == (0, 0, 0)


async def test_a_refund_without_effect_moves_back(desk: Desk) -> None:
    """A refund that reverts on chain moves nothing: the transfer is claimable again, and the next try is another operation."""
    await _register(desk)

    async def blacklist() -> None:
        await _owner_calls(desk, BLACKLIST)

    async with desk.running(refunding(desk, signer=Interrupted(desk.signer, blacklist))):
        await _send(desk)
        await eventually(lambda: _incidents(desk, opened=1))
        transfer = await _transfer(desk)
        assert (transfer.state, transfer.refund_operation_id) == (InboundState.UNCLAIMED, None)
        assert transfer.refund_not_before is not None
        assert (await _operation(desk)).state is OperationState.DONE
        assert await _balances(desk) == (AMOUNT, 0, -AMOUNT)
        await _owner_calls(desk, UNBLACKLIST)
        await _try_again(desk)
        await eventually(lambda: _is(desk, InboundState.REFUNDED))
    assert (await _transfer(desk)).refund_operation_id == f"system:refund:{transfer.id}:2"
    assert await _balances(desk) == (0, 0, 0)
    assert await desk.world.balance(desk.world.user.address) == AMOUNT


async def test_another_term_goes_on(desk: Desk) -> None:
    """A lane that ends after it has begun a refund leaves rows, and the next lane ends the refund from them."""
    await _register(desk)
    await desk.lane_known()
    async with desk.transaction() as session:
        await pause_signer(session, desk.config.chain_id, desk.wallet, reason="the test says so", by="tests")
    async with desk.running(refunding(desk)):
        await _send(desk)
        await eventually(lambda: _is(desk, InboundState.REFUNDING))
    assert await _balances(desk) == (0, AMOUNT, -AMOUNT)
    async with desk.transaction() as session:
        await resume_signer(session, desk.config.chain_id, desk.wallet)
    async with desk.running(refunding(desk)):
        await eventually(lambda: _is(desk, InboundState.REFUNDED))
    async with desk.transaction() as session:
        legs = (await session.scalars(select(ChainTransaction))).all()
    assert [leg.state for leg in legs] == [TransactionState.FINAL_OK]
    assert await desk.world.balance(desk.world.user.address) == AMOUNT


async def _register(desk: Desk, address: ChecksumAddress | None = None) -> None:
    """The address becomes a settlement address of a partner."""
    operation_id = await desk.operation()
    async with desk.transaction() as session:
        operation = await session.get_one(Operation, operation_id)
        sender = address or desk.world.user.address
        session.add(SettlementAddress(address=sender, partner_id=operation.partner_id))


async def _send(desk: Desk) -> None:
    await eventually(lambda: _scanning(desk))
    await mint_usdc(desk.world.owner, desk.world.contracts, desk.world.user.address, AMOUNT)
    await desk.world.user.send(Transaction(desk.config.usdc, encode_transfer(desk.wallet, AMOUNT)))


async def _another_is_refunded(desk: Desk) -> None:
    """The lane has looked since: a larger, older transfer of another registered sender was given back."""
    address, amount = desk.world.owner.address, 2 * AMOUNT
    await _register(desk, address)
    await mint_usdc(desk.world.owner, desk.world.contracts, address, amount)
    await desk.world.owner.send(Transaction(desk.config.usdc, encode_transfer(desk.wallet, amount)))
    await eventually(lambda: _last_is(desk, InboundState.UNCLAIMED, InboundState.REFUNDED))
    async with desk.transaction() as session:
        long_ago = func.now() - timedelta(days=30)
        await session.execute(update(InboundTransfer).where(InboundTransfer.sender == address).values(seen_at=long_ago))
    await eventually(lambda: _last_is(desk, InboundState.REFUNDED))


async def _owner_calls(desk: Desk, signature: str) -> None:
    data = Function(signature).encode(checksum(desk.world.user.address))
    await desk.world.owner.send(Transaction(desk.config.usdc, data))


async def _try_again(desk: Desk) -> None:
    async with desk.transaction() as session:
        await session.execute(update(InboundTransfer).values(refund_not_before=None))


async def _scanning(desk: Desk) -> bool:
    async with desk.transaction() as session:
        return (await session.scalars(select(ChainCursor))).one_or_none() is not None


async def _transfers(desk: Desk) -> Sequence[InboundTransfer]:
    async with desk.transaction() as session:
        return (await session.scalars(select(InboundTransfer).order_by(InboundTransfer.id))).all()


async def _transfer(desk: Desk) -> InboundTransfer:
    (transfer,) = await _transfers(desk)
    return transfer


async def _is(desk: Desk, state: InboundState) -> bool:
    return [transfer.state for transfer in await _transfers(desk)] == [state]


async def _last_is(desk: Desk, *states: InboundState) -> bool:
    transfers = await _transfers(desk)
    return len(transfers) > 1 and transfers[-1].state in states


async def _operation(desk: Desk) -> Operation:
    async with desk.transaction() as session:
        return (await session.scalars(select(Operation).where(Operation.kind == OperationKind.SYSTEM))).one()


async def _incidents(desk: Desk, *, opened: int) -> bool:
    async with desk.transaction() as session:
        rows = (await session.scalars(select(Incident).where(Incident.closed_at.is_(None)))).all()
        return len(rows) == opened


async def _balances(desk: Desk) -> tuple[int, int, int]:
    """Unclaimed inbound, suspense and the wallet."""
    async with desk.transaction() as session:
        named = (accounts.UNCLAIMED_INBOUND, accounts.SUSPENSE, accounts.PLATFORM_WALLET)
        unclaimed, suspense, wallet = [await book.balance(session, account) for account in named]
        return unclaimed, suspense, wallet
