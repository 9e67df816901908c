"""Ways through the rows of money.md's tables that no history is kept of, for the tests that see what a partner is told of each.

Each walks the real engine, whose lane is away at first, and returns the operation whose events the row is about.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from api.administration import set_status
from models.messages.operators import HoldResolution, ResolveHold
from models.messages.webhooks import Serviced
from models.statuses import LegName, PartnerStatus
from models.tables.partners import Partner
from tests.chain.world import DAY, USD
from tests.engine import Borrower, Engine, until
from tests.replay.paths import (
    PART,
    PAYOFF,
    active,
    ended,
    leg_is,
    operation_of,
    refused,
    repay_with_transfer,
    time_passes,
    under_review,
)
from tests.workflows import outside
from tests.workflows.moments import failing, held_borrow, is_retried, loan_is, no_blocks, sent_and_held
from tests.workflows.test_audit import before_the_residue, user_repays_all
from tests.workflows.test_borrow_delays import has_sent_a_cancellation, is_done, revoke_the_grant, revoke_the_key
from tests.workflows.test_installments import serviced
from tests.workflows.test_repay_table import user_repays
from tests.workflows.test_runs_again import hold_after

Act = Callable[[], Awaitable[None]]

# Borrows


async def borrow_without_a_grant(engine: Engine) -> str:
    return refused(await engine.borrow(await engine.new_borrower(grant=False)), "grant_required")


async def borrow_above_the_limit(engine: Engine) -> str:
    async with engine.transaction() as session:
        (await session.get_one(Partner, engine.partner.id)).total_borrow_limit = 1_000 * USD
    return refused(await engine.borrow(await engine.new_borrower()), "total_limit_exceeded")


async def borrow_of_a_suspended_partner(engine: Engine) -> str:
    async def suspend() -> None:
        async with engine.transaction() as session:
            await set_status(session, engine.partner.id, PartnerStatus.SUSPENDED)

    return await _forbidden(engine, suspend)


async def borrow_with_a_revoked_key(engine: Engine) -> str:
    return await _forbidden(engine, partial(revoke_the_key, engine))


async def borrow_on_a_revoked_grant(engine: Engine) -> str:
    return await _forbidden(engine, partial(revoke_the_grant, engine))


async def _forbidden(engine: Engine, forbid: Act) -> str:
    """The borrow is forbidden while it waits for its nonce. What became of it, the rows say: the key may be gone."""
    operation_id = operation_of(await engine.borrow(await engine.new_borrower()))
    await until(partial(leg_is, engine, operation_id, ("borrow", 1, "QUEUED")))
    await forbid()
    async with engine.lane():
        await until(partial(is_done, engine, operation_id))
    assert (await engine.legs(operation_id))[0] == ("borrow", 1, "ABANDONED")
    return operation_id


async def borrow_unknown(engine: Engine) -> str:
    borrower = await engine.new_borrower()
    async with engine.lane():
        async with no_blocks(engine):
            answer = await engine.borrow(borrower)
            await until(partial(leg_is, engine, operation_of(answer), ("borrow", 1, "BROADCAST")))
            assert await engine.events(operation_of(answer)) == []
        return await ended(engine, answer, "ACTIVE")


async def borrow_cancelled_on_chain(engine: Engine) -> str:
    borrower = await engine.new_borrower()
    async with engine.lane():
        async with no_blocks(engine):
            answer = await engine.borrow(borrower)
            operation_id = operation_of(answer)
            await until(partial(leg_is, engine, operation_id, ("borrow", 1, "BROADCAST")))
            await engine.operator(operation_id, "cancel_if_safe")
            await until(partial(has_sent_a_cancellation, engine))
        await ended(engine, answer, "FAILED")
    assert (await engine.legs(operation_id))[0] == ("borrow", 1, "FINAL_CANCELLED")
    return operation_id


async def borrow_held(engine: Engine) -> str:
    async with held_borrow(engine) as (_, answer):
        await until(partial(under_review, engine, operation_of(answer)))
    await _resume(engine, operation_of(answer), LegName.BORROW)
    async with engine.lane():
        return await ended(engine, answer, "ACTIVE")


async def borrow_recorded_late(engine: Engine) -> str:
    answer = await engine.borrow(await engine.new_borrower())
    async with failing(engine, "reservations"), engine.lane():
        await until(partial(is_retried, engine, operation_of(answer), "record_borrow"))
        assert await engine.events(operation_of(answer)) == []
    async with engine.lane():
        return await ended(engine, answer, "ACTIVE")


async def borrow_settled_late(engine: Engine) -> str:
    """USDC is paused for all when the payout is tried first."""
    usdc = engine.contracts.usdc
    engine.once_before(usdc, partial(engine.owner_calls, usdc, "pause()"))
    async with engine.lane():
        answer = await engine.borrow(await engine.new_borrower())
        await until(partial(leg_is, engine, operation_of(answer), ("settle", 1, "REFUSED")))
        assert await engine.events(operation_of(answer)) == []
        await engine.owner_calls(usdc, "unpause()")
        return await ended(engine, answer, "ACTIVE")


async def payout_recorded_late(engine: Engine) -> str:
    borrower = await engine.new_borrower()
    hold_after(engine, LegName.BORROW)
    answer = await engine.borrow(borrower)
    async with engine.lane():
        await until(partial(loan_is, engine, borrower, "SETTLING"))
        async with failing(engine, "loans"):
            engine.release_submissions()
            await until(partial(is_retried, engine, operation_of(answer), "activate_loan"))
            assert await engine.events(operation_of(answer)) == []
        return await ended(engine, answer, "ACTIVE")


# Repayments


async def repay_without_funding(engine: Engine) -> str:
    borrower = await _active(engine)
    await engine.approve_pull(engine.partner, 10)
    return refused(await engine.repay(borrower, PART), "insufficient_funding")


async def repay_late(engine: Engine) -> str:
    """Nothing is heard of the pull for as long as a leg may take."""
    borrower = await _active(engine)
    answer = await engine.repay(borrower, PART)
    await until(partial(under_review, engine, operation_of(answer)))
    async with engine.lane():
        return await ended(engine, answer, "APPLIED")


async def repay_collect_unknown(engine: Engine) -> str:
    borrower = await _active(engine)
    async with engine.lane():
        async with no_blocks(engine):
            answer = await engine.repay(borrower, PART)
            await until(partial(leg_is, engine, operation_of(answer), ("collect", 1, "BROADCAST")))
            assert await engine.events(operation_of(answer)) == []
        return await ended(engine, answer, "APPLIED")


async def repay_collect_reverted(engine: Engine) -> str:
    """USDC refuses the pull in a block, after it passed its simulation."""
    borrower = await _active(engine)
    answer = await engine.repay(borrower, PART)
    await until(partial(leg_is, engine, operation_of(answer), ("collect", 1, "QUEUED")))
    await engine.approve_pull(engine.partner, 0)
    async with engine.lane():
        operation_id = await ended(engine, answer, "FAILED")
    assert (await engine.legs(operation_id))[0] == ("collect", 1, "FINAL_REVERTED")
    return operation_id


async def repay_given_up(engine: Engine) -> str:
    """An operator cancels the pull before it has a nonce."""
    borrower = await _active(engine)
    answer = await engine.repay(borrower, PART)
    await until(partial(leg_is, engine, operation_of(answer), ("collect", 1, "QUEUED")))
    await engine.operator(operation_of(answer), "cancel_if_safe")
    return await ended(engine, answer, "FAILED")


async def collect_held(engine: Engine) -> str:
    borrower = await _repaid_once(engine)
    return await _held(engine, borrower, LegName.COLLECT)


async def repay_held(engine: Engine) -> str:
    borrower = await _repaid_once(engine)
    return await _held(engine, borrower, LegName.REPAY)


async def residue_held(engine: Engine) -> str:
    borrower = await _repaid_once(engine)
    return await _held(engine, borrower, "residue-1", PAYOFF)


async def refund_held(engine: Engine) -> str:
    borrower = await _repaid_once(engine)
    await engine.owner_calls(engine.contracts.pool, "setRepaymentsPaused(bool)", True)
    return await _held(engine, borrower, LegName.REFUND, status="REFUNDED")


async def _held(
    engine: Engine, borrower: Borrower, leg: str, body: dict[str, Any] = PART, status: str = "APPLIED"
) -> str:
    """The leg is on its way when its lane holds it; a person who has seen it says that it goes on."""
    async with _no_blocks_from(engine, leg):
        answer = await engine.repay(borrower, body)
        await sent_and_held(engine, operation_of(answer), leg)
        await until(partial(under_review, engine, operation_of(answer)))
    await _resume(engine, operation_of(answer), leg)
    async with engine.lane():
        return await ended(engine, answer, status)


async def repay_while_the_user_repays_a_part(engine: Engine) -> str:
    return await _overtaken(engine, lambda borrower: user_repays(engine, borrower, 4_500 * USD), "APPLIED")


async def repay_while_the_user_repays_all(engine: Engine) -> str:
    return await _overtaken(engine, partial(user_repays_all, engine), "REFUNDED")


async def repay_while_the_loan_is_liquidated(engine: Engine) -> str:
    return await _overtaken(engine, partial(outside.liquidate, engine), "REFUNDED")


async def _overtaken(engine: Engine, act: Callable[[Borrower], Awaitable[None]], status: str) -> str:
    """It happens between the collection and the repayment."""
    borrower = await _active(engine)
    engine.once_before_leg(LegName.REPAY, partial(act, borrower))
    async with engine.lane():
        operation_id = await ended(engine, await engine.repay(borrower, PART), status)
    assert ("refund", 1, "FINAL_OK") in await engine.legs(operation_id)
    return operation_id


# What happens to a loan outside the engine, and by the clock


async def loan_repaid_by_its_user(engine: Engine) -> str:
    return await _outside(engine, partial(user_repays_all, engine))


async def loan_defaulted(engine: Engine) -> str:
    return await _outside(engine, partial(outside.default, engine))


async def loan_liquidated(engine: Engine) -> str:
    return await _outside(engine, partial(outside.liquidate, engine))


async def _outside(engine: Engine, act: Callable[[Borrower], Awaitable[None]]) -> str:
    borrower = await _active(engine)
    await act(borrower)
    await outside.followed(engine)
    return (await outside.loan_row(engine, borrower)).operation_id


async def installment_due_and_missed(engine: Engine) -> str:
    borrower = await _active(engine)
    for days, told in ((28, Serviced(loans=1, due=1)), (3, Serviced(loans=1, missed=1))):
        await time_passes(engine, days * DAY)
        assert await serviced(engine) == told
    return (await outside.loan_row(engine, borrower)).operation_id


# Steps of the walks


async def _active(engine: Engine) -> Borrower:
    async with engine.lane():
        return await active(engine)


async def _repaid_once(engine: Engine) -> Borrower:
    """The vault's allowance is there from then on, and so is the float: no leg has to wait for a block that grants it."""
    async with engine.lane():
        await engine.fund_float()
        await until(engine.float_is_booked)
        borrower = await active(engine)
        await ended(engine, await repay_with_transfer(engine, borrower, 1_000 * USD, PART), "APPLIED")
        return borrower


@asynccontextmanager
async def _no_blocks_from(engine: Engine, leg: str) -> AsyncIterator[None]:
    """Blocks come until this leg of a repayment is about to be asked for, and again from the end of the block on."""
    stop = partial(engine.client.rpc.call, "evm_setAutomine", False)

    async def stop_before_the_next_transfer() -> None:
        engine.once_before(engine.contracts.usdc, stop)

    if leg == LegName.COLLECT:
        await stop_before_the_next_transfer()
    elif leg == LegName.REFUND:
        engine.once_before_leg(LegName.REPAY, stop_before_the_next_transfer)
    elif leg == LegName.REPAY:
        engine.once_before_leg(LegName.REPAY, stop)
    else:
        before_the_residue(engine, stop)
    try:
        yield
    finally:
        await engine.client.rpc.call("evm_setAutomine", True)
        await engine.client.rpc.call("evm_mine")


async def _resume(engine: Engine, operation_id: str, leg: str) -> None:
    resume = ResolveHold(operator="ada", reason="seen", leg=leg, resolution=HoldResolution.RESUME)
    await engine.operator(operation_id, "resolve_hold", resume)
