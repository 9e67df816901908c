"""The rows of the borrow table in money.md section 5 in which something is late, unknown, or forbidden at the last moment."""

from collections.abc import Awaitable, Callable
from functools import partial

import pytest
from sqlalchemy import func, select, update

from api.administration import revoke_key
from models.messages.operators import HoldResolution, ResolveHold
from models.statuses import AttemptKind, LegName
from models.tables.partners import CreditLineGrant
from models.tables.transactions import ChainAttempt
from tests.engine import BuildEngine, Engine, until
from tests.workflows.moments import (
    Row,
    failing,
    held_borrow,
    is_retried,
    leg_is,
    loan_is,
    no_blocks,
    row_of,
    sent_and_held,
    under_review,
)
from tests.workflows.test_borrow_table import DRAWN, FAILED, HELD, PAYOUT, PRINCIPAL
from tests.workflows.test_runs_again import hold_after


async def revoke_the_key(engine: Engine) -> None:
    async with engine.transaction() as session:
        await revoke_key(session, engine.partner.issued.key_id)


async def revoke_the_grant(engine: Engine) -> None:
    async with engine.transaction() as session:
        await session.execute(update(CreditLineGrant).values(revoked_at=func.now()))


@pytest.mark.parametrize("revoke", [revoke_the_key, revoke_the_grant])
async def test_key_or_grant_revoked_before_prepared(
    build_engine: BuildEngine, revoke: Callable[[Engine], Awaitable[None]]
) -> None:
    """A key or grant that is revoked before the borrow leg has a nonce: nothing is sent, limits are free, the loan FAILED."""
    async with build_engine() as engine, engine.loans():
        borrower = await engine.new_borrower()
        operation_id = (await engine.borrow(borrower)).json()["operation_id"]
        await until(partial(leg_is, engine, operation_id, ("borrow", 1, "QUEUED")))
        await revoke(engine)
        async with engine.lane():
            await until(partial(is_done, engine, operation_id))
        assert (await engine.legs(operation_id))[0] == ("borrow", 1, "ABANDONED")
        assert await row_of(engine, borrower, operation_id) == FAILED
        await engine.assert_sound()


async def test_borrow_sent_with_an_unknown_outcome(build_engine: BuildEngine) -> None:
    """While the borrow is sent and not mined its limits are held, its loan is PENDING, and nobody is told of anything."""
    async with build_engine() as engine, engine.loans(), engine.lane():
        borrower = await engine.new_borrower()
        async with no_blocks(engine):
            answer = await engine.borrow(borrower)
            operation_id = answer.json()["operation_id"]
            await until(partial(leg_is, engine, operation_id, ("borrow", 1, "BROADCAST")))
            assert await row_of(engine, borrower, operation_id) == Row(HELD, 0, 0, "PENDING", [])
        assert (await engine.finished(answer))["outcome"]["status"] == "ACTIVE"
        await engine.assert_sound()


async def test_borrow_is_cancelled_on_chain(build_engine: BuildEngine) -> None:
    """A borrow that an operator has replaced at its nonce: FINAL_CANCELLED, nothing borrowed, limits free, the loan FAILED."""
    async with build_engine() as engine, engine.loans(), engine.lane():
        borrower = await engine.new_borrower()
        async with no_blocks(engine):
            answer = await engine.borrow(borrower)
            operation_id = answer.json()["operation_id"]
            await until(partial(leg_is, engine, operation_id, ("borrow", 1, "BROADCAST")))
            assert "is being cancelled on chain" in await engine.operator(operation_id, "cancel_if_safe")
            await until(partial(has_sent_a_cancellation, engine))
        done = await engine.finished(answer)
        assert (await engine.legs(operation_id))[0] == ("borrow", 1, "FINAL_CANCELLED")
        assert done["problem"]["code"] == "chain_refused"
        assert await row_of(engine, borrower, operation_id) == FAILED
        await engine.assert_sound()


async def test_borrow_is_held(build_engine: BuildEngine) -> None:
    """While the borrow is HELD its limits are held, its loan is UNDER_REVIEW and the partner knows; resumed, it goes on."""
    async with build_engine() as engine, engine.loans():
        async with held_borrow(engine) as (borrower, answer):
            operation_id = answer.json()["operation_id"]
            await until(partial(loan_is, engine, borrower, "UNDER_REVIEW"))
            assert await row_of(engine, borrower, operation_id) == Row(HELD, 0, 0, "UNDER_REVIEW", ["loan.delayed"])
        resume = ResolveHold(operator="ada", reason="seen", leg="borrow", resolution=HoldResolution.RESUME)
        assert await engine.operator(operation_id, "resolve_hold", resume) == "borrow is BROADCAST"
        async with engine.lane():
            assert (await engine.finished(answer))["outcome"]["status"] == "ACTIVE"
        active = Row(DRAWN, PRINCIPAL, 0, "ACTIVE", ["loan.delayed", "loan.borrowed"])
        assert await row_of(engine, borrower, operation_id) == active
        await engine.assert_sound()


async def test_settle_is_held(build_engine: BuildEngine) -> None:
    """While the payout is HELD its USDC is earmarked and nothing is undone; accepted on its receipt, the loan is ACTIVE."""
    async with build_engine() as engine, engine.loans():
        borrower = await engine.new_borrower()
        hold_after(engine, LegName.BORROW)
        answer = await engine.borrow(borrower)
        operation_id = answer.json()["operation_id"]
        async with engine.lane():
            await until(partial(leg_is, engine, operation_id, ("borrow", 1, "FINAL_OK")))
        engine.release_submissions()
        await until(partial(leg_is, engine, operation_id, ("settle", 1, "QUEUED")))
        async with no_blocks(engine):
            await sent_and_held(engine, operation_id, "settle")
            await until(partial(under_review, engine, operation_id))
            held = Row(DRAWN, PRINCIPAL, PRINCIPAL, "UNDER_REVIEW", ["loan.delayed"])
            assert await row_of(engine, borrower, operation_id) == held
        accept = ResolveHold(operator="ada", reason="seen", leg="settle", resolution=HoldResolution.ACCEPT)
        assert await engine.operator(operation_id, "resolve_hold", accept) == "settle is FINAL_OK"
        assert (await engine.finished(answer))["outcome"]["status"] == "ACTIVE"
        await engine.assert_sound()


async def test_recording_a_final_borrow_is_retried_for_ever(build_engine: BuildEngine) -> None:
    """A borrow that is on chain and cannot be recorded holds its limits and is recorded once that is possible."""
    async with build_engine() as engine, engine.loans():
        borrower = await engine.new_borrower()
        answer = await engine.borrow(borrower)
        operation_id = answer.json()["operation_id"]
        async with failing(engine, "reservations"), engine.lane():
            await until(partial(is_retried, engine, operation_id, "record_borrow"))
            assert await row_of(engine, borrower, operation_id) == Row(HELD, PRINCIPAL, 0, "PENDING", [])
            assert await engine.balance(engine.chain.wallet) == PRINCIPAL
        async with engine.lane():
            assert (await engine.finished(answer, wait=30))["outcome"]["status"] == "ACTIVE"
        await engine.assert_sound()


async def test_recording_after_a_final_settle_is_retried_for_ever(build_engine: BuildEngine) -> None:
    """A payout that is on chain and cannot be recorded stays drawn, and the partner is told only after the commit."""
    async with build_engine() as engine, engine.loans():
        borrower = await engine.new_borrower()
        before = await engine.balance(engine.partner.settlement.address)
        hold_after(engine, LegName.BORROW)
        answer = await engine.borrow(borrower)
        operation_id = answer.json()["operation_id"]
        async with engine.lane():
            await until(partial(loan_is, engine, borrower, "SETTLING"))
            async with failing(engine, "loans"):
                engine.release_submissions()
                await until(partial(is_retried, engine, operation_id, "activate_loan"))
                settling = Row(DRAWN, PRINCIPAL, PRINCIPAL, "SETTLING", [])
                assert await row_of(engine, borrower, operation_id) == settling
                assert await engine.balance(engine.partner.settlement.address) == before + PAYOUT
            done = await engine.finished(answer, wait=30)
        assert done["outcome"]["status"] == "ACTIVE"
        assert await row_of(engine, borrower, operation_id) == Row(DRAWN, PRINCIPAL, 0, "ACTIVE", ["loan.borrowed"])
        await engine.assert_sound()


async def is_done(engine: Engine, operation_id: str) -> bool:
    return (await engine.operation_row(operation_id)).state == "DONE"


async def has_sent_a_cancellation(engine: Engine) -> bool:
    query = select(ChainAttempt.hash).where(ChainAttempt.kind == AttemptKind.CANCEL, ChainAttempt.sent_at.is_not(None))
    async with engine.transaction() as session:
        return (await session.scalars(query)).first() is not None
