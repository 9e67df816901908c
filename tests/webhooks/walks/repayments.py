"""Through the repay table (money.md section 6)."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from models.statuses import LegName
from tests.chain.world import USD
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
    under_review,
)
from tests.webhooks.walks.steps import lent, resume
from tests.workflows import outside
from tests.workflows.moments import no_blocks, sent_and_held
from tests.workflows.test_audit import before_the_residue, user_repays_all
from tests.workflows.test_repay_table import user_repays


async def repay_without_funding(engine: Engine) -> str:
    borrower = await lent(engine)
    await engine.approve_pull(engine.partner, 10)
    return refused(await engine.repay(borrower, PART), "insufficient_funding")


async def repay_late(engine: Engine) -> str:
    """Nothing is heard of the pull for as long as a leg may take."""
    borrower = await lent(engine)
    answer = await engine.repay(borrower, PART)
    await until(partial(under_review, engine, operation_of(answer)))
    async with engine.lane():
        return await ended(engine, answer, "APPLIED")


async def repay_collect_unknown(engine: Engine) -> str:
    borrower = await lent(engine)
    async with engine.lane():
        async with no_blocks(engine):
            answer = await engine.repay(borrower, PART)
            await until(partial(leg_is, engine, operation_of(answer), ("collect", 1, "BROADCAST")))
            assert await engine.events(operation_of(answer)) == []
        return await ended(engine, answer, "APPLIED")


async def repay_collect_reverted(engine: Engine) -> str:
    """USDC refuses the pull in a block, after it passed its simulation."""
    borrower = await lent(engine)
    answer = await engine.repay(borrower, PART)
    await until(partial(leg_is, engine, operation_of(answer), ("collect", 1, "QUEUED")))
    await engine.approve_pull(engine.partner, 0)
    async with engine.lane():
        operation_id = await ended(engine, answer, "FAILED")
    assert (await engine.legs(operation_id))[0] == ("collect", 1, "FINAL_REVERTED")
    return operation_id


async def repay_given_up(engine: Engine) -> str:
    """An operator cancels the pull before it has a nonce."""
    borrower = await lent(engine)
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
    await resume(engine, operation_of(answer), leg)
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
    borrower = await lent(engine)
    engine.once_before_leg(LegName.REPAY, partial(act, borrower))
    async with engine.lane():
        operation_id = await ended(engine, await engine.repay(borrower, PART), status)
    assert ("refund", 1, "FINAL_OK") in await engine.legs(operation_id)
    return operation_id


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
