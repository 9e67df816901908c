"""What stops a leg in the transaction that would give it its nonce."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from models.messages.legs import CollectCall
from models.statuses import IN_FLIGHT_STATES, PartnerStatus, Scope, TransactionState
from models.tables.operations import Operation
from models.tables.partners import ApiKey, CreditLineGrant, Partner
from models.tables.transactions import ChainSigner
from tests.chain.lane.desk import SETTLEMENT, Desk, eventually
from tests.chain.lane.interrupted import Interrupted
from tests.chain.world import USD

NOW = datetime.now(UTC)
Stop = Callable[[Desk], Awaitable[None]]


async def _suspend(desk: Desk) -> None:
    async with desk.transaction() as session:
        await session.execute(update(Partner).values(status=PartnerStatus.SUSPENDED))


async def _withdraw_kyc(desk: Desk) -> None:
    async with desk.transaction() as session:
        await session.execute(update(Partner).values(kyc_verified=False))


async def _withdraw_contract(desk: Desk) -> None:
    async with desk.transaction() as session:
        await session.execute(update(Partner).values(contract_signed=False))


async def _revoke_key(desk: Desk) -> None:
    async with desk.transaction() as session:
        await session.execute(update(ApiKey).values(revoked_at=NOW))


async def _expire_key(desk: Desk) -> None:
    async with desk.transaction() as session:
        await session.execute(update(ApiKey).values(expires_at=NOW))


async def _revoke_grant(desk: Desk) -> None:
    async with desk.transaction() as session:
        await session.execute(update(CreditLineGrant).values(revoked_at=NOW))


async def _expire_grant(desk: Desk) -> None:
    async with desk.transaction() as session:
        await session.execute(update(CreditLineGrant).values(expires_at=NOW - timedelta(days=1)))


async def _cancel(desk: Desk) -> None:
    async with desk.transaction() as session:
        await session.execute(update(Operation).values(cancel_requested_at=NOW))


async def _pause(desk: Desk, at: datetime | None) -> None:
    async with desk.transaction() as session:
        await session.execute(update(ChainSigner).values(paused_at=at))


async def _is_paused(desk: Desk) -> bool:
    return (await desk.signer_row()).paused_at is not None


STOPS: list[tuple[Stop, str]] = [
    (_suspend, "the partner is SUSPENDED"),
    (_revoke_key, "the API key was revoked"),
    (_expire_key, "the API key has expired"),
    (_revoke_grant, "the grant for the credit line was revoked"),
    (_cancel, "a cancellation was asked for"),
]


@pytest.mark.parametrize(("stop", "reason"), STOPS, ids=[reason for _, reason in STOPS])
async def test_a_borrow_that_is_no_longer_allowed_is_abandoned(desk: Desk, stop: Stop, reason: str) -> None:
    """Nothing is sent, no nonce is taken, the row says why, and the leg behind it goes out at the first nonce."""
    await desk.lane_known()
    operation_id = await desk.operation()
    await desk.queue(desk.borrow(operation_id))
    await stop(desk)
    other = await desk.settle()
    async with desk.running():
        row = await desk.until(operation_id, "borrow", TransactionState.ABANDONED)
        behind = await desk.until(other, "settle", TransactionState.FINAL_OK)
    assert (row.reason, row.nonce) == (reason, None)
    assert behind.nonce == 0
    assert len(await desk.attempts()) == 1


@pytest.mark.parametrize("withdraw", [_withdraw_kyc, _withdraw_contract])
async def test_a_borrow_whose_clearance_was_withdrawn_is_abandoned(desk: Desk, withdraw: Stop) -> None:
    """Either half of a clearance that is gone stops a borrow before its nonce; a repayment is collected all the same."""
    await desk.lane_known()
    operation_id = await desk.operation()
    await desk.queue(desk.borrow(operation_id))
    collected = await desk.operation()
    await desk.queue(desk.plan(collected, "collect", CollectCall(payer=SETTLEMENT, amount=USD)))
    await withdraw(desk)
    async with desk.running():
        row = await desk.until(operation_id, "borrow", TransactionState.ABANDONED)
        await desk.until(collected, "collect", *IN_FLIGHT_STATES, TransactionState.FINAL_REVERTED)
    assert row.reason == "the partner is no longer cleared to borrow"


async def test_a_sandbox_lets_a_partner_borrow_without_a_clearance(desk: Desk) -> None:
    """Where no clearance is demanded, none is missed."""
    await desk.lane_known()
    operation_id = await desk.operation()
    await desk.queue_simulated(desk.borrow(operation_id))
    await _withdraw_kyc(desk)
    async with desk.running(desk.lane(demands_clearance=False)):
        await desk.until(operation_id, "borrow", TransactionState.FINAL_OK)


async def test_the_last_word_is_spoken_when_the_nonce_is_taken(desk: Desk) -> None:
    """A partner that is suspended while its borrow is being signed borrows nothing."""
    await desk.lane_known()
    operation_id = await desk.operation()
    await desk.queue(desk.borrow(operation_id))
    async with desk.running(desk.lane(signer=Interrupted(desk.signer, lambda: _suspend(desk)))):
        await desk.until(operation_id, "borrow", TransactionState.ABANDONED)
    assert await desk.sent_count() == 0


async def test_a_pause_holds_what_is_being_signed(desk: Desk) -> None:
    """A signer that is paused while a leg is being signed takes no nonce for it."""
    await desk.lane_known()
    operation_id = await desk.settle()
    signer = Interrupted(desk.signer, lambda: _pause(desk, NOW))
    async with desk.running(desk.lane(signer=signer)):
        await eventually(lambda: _is_paused(desk))
        assert (await desk.row(operation_id)).state is TransactionState.QUEUED
        await _pause(desk, None)
        await desk.until(operation_id, "settle", TransactionState.FINAL_OK)
    assert signer.calls > 1


@pytest.mark.parametrize(("stop", "reason"), [each for each in STOPS if each[0] is not _revoke_grant])
async def test_a_collection_that_is_no_longer_allowed_is_abandoned(desk: Desk, stop: Stop, reason: str) -> None:
    """A collection obeys the same rules, but for the grant, which it does not need."""
    await desk.lane_known()
    operation_id = await desk.operation()
    await desk.queue(desk.plan(operation_id, "collect", CollectCall(payer=SETTLEMENT, amount=USD)))
    await stop(desk)
    async with desk.running():
        row = await desk.until(operation_id, "collect", TransactionState.ABANDONED)
    assert row.reason == reason
    assert await desk.sent_count() == 0


async def _leave(desk: Desk, *scopes: Scope) -> None:
    """What the key may still be used for."""
    async with desk.transaction() as session:
        await session.execute(update(ApiKey).values(scopes=[str(scope) for scope in scopes]))


@pytest.mark.parametrize(("taken", "stopped"), [(Scope.BORROW, "borrow"), (Scope.REPAY, "collect")])
async def test_a_scope_that_was_taken_stops_its_own_leg_alone(desk: Desk, taken: Scope, stopped: str) -> None:
    """A key that may no longer borrow borrows nothing, and still collects; one that may no longer repay, the other way round."""
    await desk.lane_known()
    asked = {"borrow": await desk.operation(), "collect": await desk.operation()}
    await desk.queue(desk.borrow(asked["borrow"]))
    await desk.queue(desk.plan(asked["collect"], "collect", CollectCall(payer=SETTLEMENT, amount=USD)))
    await _leave(desk, *(scope for scope in Scope if scope is not taken))
    (going,) = set(asked) - {stopped}
    async with desk.running():
        row = await desk.until(asked[stopped], stopped, TransactionState.ABANDONED)
        await desk.until(
            asked[going], going, *IN_FLIGHT_STATES, TransactionState.FINAL_OK, TransactionState.FINAL_REVERTED
        )
    assert (row.reason, row.nonce) == (f"the API key may not {taken} any more", None)


@pytest.mark.parametrize("stop", [_suspend, _revoke_key, _revoke_grant, _cancel, _leave])
async def test_money_on_its_way_is_finished(desk: Desk, stop: Stop) -> None:
    """What stops a borrow does not stop the settlement of one that was sent."""
    await desk.lane_known()
    operation_id = await desk.settle()
    await stop(desk)
    async with desk.running():
        await desk.until(operation_id, "settle", TransactionState.FINAL_OK)


async def test_a_grant_that_expired_since_still_holds(desk: Desk) -> None:
    """A grant had to be live at the reservation; that it expires later is ignored."""
    await desk.lane_known()
    operation_id = await desk.operation()
    await desk.queue_simulated(desk.borrow(operation_id))
    await _expire_grant(desk)
    async with desk.running():
        await desk.until(operation_id, "borrow", TransactionState.FINAL_OK)
