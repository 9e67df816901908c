"""Through the borrow table (money.md section 5)."""

from collections.abc import Awaitable, Callable
from functools import partial

from api.administration import set_status
from models.statuses import LegName, PartnerStatus
from models.tables.partners import Partner
from tests.chain.world import USD
from tests.engine import Engine, until
from tests.replay.paths import ended, leg_is, operation_of, refused, under_review
from tests.webhooks.walks.steps import resume
from tests.workflows.moments import failing, held_borrow, is_retried, loan_is, no_blocks
from tests.workflows.test_borrow_delays import has_sent_a_cancellation, is_done, revoke_the_grant, revoke_the_key
from tests.workflows.test_runs_again import hold_after


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


async def _forbidden(engine: Engine, forbid: Callable[[], Awaitable[None]]) -> str:
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
    await resume(engine, operation_of(answer), LegName.BORROW)
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
