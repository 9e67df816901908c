"""The rows of the repay table in money.md section 6 in which something is late or unknown."""

from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import select

from models.messages.operators import HoldResolution, ResolveHold
from models.statuses import LegName, RepaymentState
from models.tables.loans import Repayment
from tests.chain.world import USD
from tests.engine import Borrower, BuildEngine, Engine, until
from tests.workflows.moments import (
    RepayRow,
    failing,
    is_retried,
    leg_is,
    no_blocks,
    repay_row_of,
    sent_and_held,
    sent_transfer,
    under_review,
)
from tests.workflows.test_repay_table import PRINCIPAL, rejection, seen, transfer_state
from tests.workflows.test_runs_again import hold_after

AMOUNT = 1_000 * USD
PART = {"amount": str(AMOUNT)}


def resume(leg: str) -> ResolveHold:
    return ResolveHold(operator="ada", reason="seen", leg=leg, resolution=HoldResolution.RESUME)


async def active(engine: Engine) -> Borrower:
    async with engine.lane():
        borrower = await engine.new_borrower()
        await engine.active_loan(borrower)
        return borrower


async def another_partner_repays(engine: Engine) -> None:
    """From then on the vault's allowance is there, and no leg has to wait for a block that grants it.

    By a transfer, so that there is no collection but the one that the test is about.
    """
    async with engine.lane():
        await borrow_and_repay_for_another(engine)


async def borrow_and_repay_for_another(engine: Engine) -> None:
    other = await engine.new_partner()
    theirs = await engine.new_borrower(grant=False)
    (await engine.grant(theirs, partner=other)).raise_for_status()
    await engine.finished(await engine.borrow(theirs, partner=other), partner=other)
    tx_hash = await engine.transfer(other.settlement, engine.chain.wallet, AMOUNT)
    by_proof = {**PART, "transfer_tx_hash": tx_hash}
    await engine.finished(await engine.repay(theirs, by_proof, partner=other), partner=other)


async def test_the_allowance_comes_while_a_repayment_is_judged(build_engine: BuildEngine) -> None:
    """A refusal from before the vault's allowance came says nothing of the loan: the leg is judged again, and goes."""
    async with build_engine() as engine, engine.loans(), engine.lane():
        await engine.fund_float()
        borrower = await engine.new_borrower()
        await engine.active_loan(borrower)
        engine.client.after_refusal = partial(borrow_and_repay_for_another, engine)
        answer = await engine.repay(borrower, PART)
        assert (await engine.finished(answer))["outcome"]["status"] == "APPLIED"
        legs = await engine.legs(answer.json()["operation_id"])
        assert legs == [("collect", 1, "FINAL_OK"), ("repay", 1, "FINAL_OK")]
        await engine.assert_sound()


async def test_collect_with_an_unknown_outcome(build_engine: BuildEngine) -> None:
    """While the pull is sent and not mined the loan is locked, the repayment COLLECTING, and nobody is told of anything."""
    async with build_engine() as engine, engine.loans():
        borrower = await active(engine)
        async with engine.lane():
            async with no_blocks(engine):
                answer = await engine.repay(borrower, PART)
                operation_id = answer.json()["operation_id"]
                await until(partial(leg_is, engine, operation_id, ("collect", 1, "BROADCAST")))
                unknown = RepayRow(PRINCIPAL, PRINCIPAL, 0, "COLLECTING", [])
                assert await repay_row_of(engine, borrower, operation_id) == unknown
                second = await engine.repay(borrower, PART)
                assert second.json()["code"] == "repayment_in_progress"
            assert (await engine.finished(answer))["outcome"]["status"] == "APPLIED"
        await engine.assert_sound()


@pytest.mark.parametrize("leg", [LegName.COLLECT, LegName.REPAY])
async def test_any_leg_is_held(build_engine: BuildEngine, leg: LegName) -> None:
    """While a leg is HELD its loan is locked, what was collected is a liability, and the repayment is UNDER_REVIEW."""
    async with build_engine() as engine, engine.loans():
        borrower = await active(engine)
        if leg is LegName.REPAY:
            await another_partner_repays(engine)
            hold_after(engine, LegName.COLLECT)
        answer = await engine.repay(borrower, PART)
        operation_id = answer.json()["operation_id"]
        if leg is LegName.REPAY:
            async with engine.lane():
                await until(partial(leg_is, engine, operation_id, ("collect", 1, "FINAL_OK")))
            engine.release_submissions()
        await until(partial(leg_is, engine, operation_id, (leg, 1, "QUEUED")))
        async with no_blocks(engine):
            await sent_and_held(engine, operation_id, leg)
            await until(partial(under_review, engine, operation_id))
            liability = AMOUNT if leg is LegName.REPAY else 0
            held = RepayRow(PRINCIPAL, PRINCIPAL, liability, "UNDER_REVIEW", ["repayment.delayed"])
            assert await repay_row_of(engine, borrower, operation_id) == held
            assert (await engine.repay(borrower, PART)).json()["code"] == "repayment_in_progress"
        assert await engine.operator(operation_id, "resolve_hold", resume(leg)) == f"{leg} is BROADCAST"
        async with engine.lane():
            assert (await engine.finished(answer))["outcome"]["status"] == "APPLIED"
        assert await engine.events(operation_id) == ["repayment.delayed", "repayment.applied"]
        await engine.assert_sound()


async def test_a_leg_past_its_deadline(build_engine: BuildEngine) -> None:
    """A pull that nothing is heard of for as long as a leg may take is UNDER_REVIEW, and goes on by itself once it is mined."""
    async with build_engine(leg_patience=timedelta(seconds=2)) as engine, engine.loans():
        borrower = await active(engine)
        answer = await engine.repay(borrower, PART)
        operation_id = answer.json()["operation_id"]
        await until(partial(under_review, engine, operation_id))
        late = RepayRow(PRINCIPAL, PRINCIPAL, 0, "UNDER_REVIEW", ["repayment.delayed"])
        assert await repay_row_of(engine, borrower, operation_id) == late
        async with engine.lane():
            assert (await engine.finished(answer))["outcome"]["status"] == "APPLIED"
        assert await engine.events(operation_id) == ["repayment.delayed", "repayment.applied"]
        await engine.assert_sound()


async def test_a_transfer_that_arrives_after_it_was_given_up(build_engine: BuildEngine) -> None:
    """A transfer that is mined after its repayment was rejected is an unclaimed inbound transfer, and can be claimed."""
    async with build_engine(proof_wait=timedelta(seconds=2)) as engine, engine.loans(), engine.lane():
        borrower = await engine.new_borrower()
        await engine.active_loan(borrower)
        async with no_blocks(engine):
            tx_hash = await sent_transfer(engine, engine.partner.settlement, AMOUNT)
            answer = await engine.repay(borrower, {**PART, "transfer_tx_hash": tx_hash})
            assert await rejection(engine, answer) == "transfer_not_found"
            rejected = RepayRow(PRINCIPAL, PRINCIPAL, 0, "REJECTED", ["repayment.rejected"])
            assert await repay_row_of(engine, borrower, answer.json()["operation_id"]) == rejected
        await until(partial(seen, engine, tx_hash))
        assert await transfer_state(engine, tx_hash) == "UNCLAIMED"
        again = await engine.repay(borrower, {**PART, "transfer_tx_hash": tx_hash})
        assert (await engine.finished(again))["outcome"]["status"] == "APPLIED"
        await engine.assert_sound()


async def test_recording_a_collection_is_retried_for_ever(build_engine: BuildEngine) -> None:
    """What was collected and cannot be recorded is recorded once that is possible; until then the loan stays locked."""
    async with build_engine() as engine, engine.loans():
        borrower = await active(engine)
        answer = await engine.repay(borrower, PART)
        operation_id = answer.json()["operation_id"]
        async with failing(engine, "repayments"), engine.lane():
            await until(partial(is_retried, engine, operation_id, "record_collection"))
            assert await repay_row_of(engine, borrower, operation_id) == RepayRow(
                PRINCIPAL, PRINCIPAL, 0, "COLLECTING", []
            )
        async with engine.lane():
            assert (await engine.finished(answer, wait=30))["outcome"]["status"] == "APPLIED"
        await engine.assert_sound()


async def test_a_repayment_that_ended_says_when_and_why(engine: Engine) -> None:
    """A refunded repayment is closed at the moment at which its operation is done, and names what the vault said."""
    borrower = await engine.new_borrower()
    await engine.active_loan(borrower)
    await engine.owner_calls(engine.contracts.pool, "setRepaymentsPaused(bool)", True)
    done = await engine.finished(await engine.repay(borrower, PART))
    assert done["problem"]["figures"]["leg"] == "repay"
    assert "paused" in done["problem"]["figures"]["reason"].lower()
    async with engine.transaction() as session:
        query = select(Repayment).where(Repayment.operation_id == done["operation_id"])
        repayment = (await session.scalars(query)).one()
    operation = await engine.operation_row(done["operation_id"])
    assert repayment.state is RepaymentState.REFUNDED
    assert repayment.closed_at == operation.done_at is not None
    await engine.assert_sound()
