"""Each row of the borrow table in money.md section 5 that can occur, with every column, and then the invariants."""

import asyncio
from datetime import timedelta
from functools import partial

from api.administration import set_status
from models import accounts
from models.statuses import PartnerStatus
from models.tables import book
from tests.chain.world import USD
from tests.engine import BuildEngine, Engine, until
from tests.workflows.moments import Row, cancel_requested, leg_is, loan_is, revoke_operator, row_of

PRINCIPAL, FEE, PAYOUT = 5_000 * USD, 25 * USD, 4_975 * USD
FREE = (0, 0, 0, 0)
HELD = (0, PRINCIPAL, 0, PRINCIPAL)
"""Reserved and not drawn."""
DRAWN = (PRINCIPAL, 0, PRINCIPAL, 0)
FAILED = Row(FREE, 0, 0, "FAILED", ["loan.failed"])


async def test_all_good(engine: Engine) -> None:
    """A borrow ends ACTIVE: one borrow and one payout on chain, the fee kept, limits drawn, one event."""
    borrower = await engine.new_borrower()
    before = await engine.balance(engine.partner.settlement.address)
    answer = await engine.borrow(borrower)
    assert answer.json()["quote"] == {"principal": str(PRINCIPAL), "fee": str(FEE), "payout": str(PAYOUT)}
    done = await engine.finished(answer)
    assert done["outcome"]["status"] == "ACTIVE"
    assert await engine.balance(engine.partner.settlement.address) == before + PAYOUT
    assert await engine.legs(done["operation_id"]) == [("borrow", 1, "FINAL_OK"), ("settle", 1, "FINAL_OK")]
    assert await row_of(engine, borrower, done["operation_id"]) == Row(DRAWN, PRINCIPAL, 0, "ACTIVE", ["loan.borrowed"])
    await engine.assert_sound()


async def test_refused_in_the_head(engine: Engine) -> None:
    """A borrow that the head refuses touches no limit, has no loan row and no leg, and tells of the rejection."""
    borrower = await engine.new_borrower(value_usd=1_000 * USD)
    answer = await engine.borrow(borrower)
    assert (answer.status_code, answer.json()["code"]) == (422, "insufficient_credit")
    operation_id = answer.json()["operation_id"]
    assert await engine.legs(operation_id) == []
    assert await row_of(engine, borrower, operation_id) == Row(FREE, 0, 0, None, ["loan.rejected"])
    assert (await engine.operation_row(operation_id)).decision == "REFUSED"
    await engine.assert_sound()


async def test_a_line_granted_to_another_partner(engine: Engine) -> None:
    """A second partner cannot borrow on a line that its user has granted to the first, who still can."""
    borrower, other = await engine.new_borrower(), await engine.new_partner()
    answer = await engine.borrow(borrower, partner=other)
    assert (answer.status_code, answer.json()["code"]) == (422, "grant_required")
    assert await engine.legs(answer.json()["operation_id"]) == []
    assert (await engine.active_loan(borrower))["outcome"]["status"] == "ACTIVE"
    await engine.assert_sound()


async def test_partner_suspended_before_prepared(build_engine: BuildEngine) -> None:
    """A partner suspended before the borrow leg is prepared: nothing is sent, limits are released, the loan is FAILED."""
    async with build_engine() as engine, engine.loans():
        borrower = await engine.new_borrower()
        answer = await engine.borrow(borrower)
        async with engine.transaction() as session:
            await set_status(session, engine.partner.id, PartnerStatus.SUSPENDED)
        async with engine.lane():
            await until(lambda: leg_is(engine, answer.json()["operation_id"], ("borrow", 1, "ABANDONED")))
            async with engine.transaction() as session:
                await set_status(session, engine.partner.id, PartnerStatus.ACTIVE)
            done = await engine.finished(answer)
        assert (done["outcome"]["status"], done["problem"]["code"]) == ("FAILED", "stopped_before_sending")
        assert await row_of(engine, borrower, done["operation_id"]) == FAILED
        await engine.assert_sound()


async def test_cancelled_before_prepared(build_engine: BuildEngine) -> None:
    """A workflow cancelled before the borrow leg is prepared ends FAILED with nothing sent; it is never cut in half."""
    async with build_engine() as engine, engine.loans():
        borrower = await engine.new_borrower()
        answer = await engine.borrow(borrower)
        operation_id = answer.json()["operation_id"]
        await engine.temporal.get_workflow_handle(operation_id).cancel()
        await until(lambda: cancel_requested(engine, operation_id))
        async with engine.lane():
            done = await engine.finished(answer)
        assert (done["outcome"]["status"], done["problem"]["code"]) == ("FAILED", "stopped_before_sending")
        assert {state for _, _, state in await engine.legs(operation_id)} == {"ABANDONED"}
        assert await row_of(engine, borrower, done["operation_id"]) == FAILED
        await engine.assert_sound()


async def test_simulation_of_borrow_reverts(build_engine: BuildEngine) -> None:
    """A borrow that the vault refuses when it is submitted is never sent: leg REFUSED, loan FAILED, limits free."""
    async with build_engine() as engine, engine.loans():
        borrower = await engine.new_borrower()
        engine.once_before(engine.contracts.vault, partial(revoke_operator, engine, borrower))
        done = await engine.finished(await engine.borrow(borrower))
        assert (done["outcome"]["status"], done["problem"]["code"]) == ("FAILED", "chain_refused")
        assert await engine.legs(done["operation_id"]) == [("borrow", 1, "REFUSED"), ("borrow", 2, "ABANDONED")]
        assert await row_of(engine, borrower, done["operation_id"]) == FAILED
        await engine.assert_sound()


async def test_borrow_reverts_on_chain(build_engine: BuildEngine) -> None:
    """A borrow that is mined and reverts moves nothing: leg FINAL_REVERTED, loan FAILED, limits free."""
    async with build_engine() as engine, engine.loans():
        borrower = await engine.new_borrower()
        answer = await engine.borrow(borrower)
        operation_id = answer.json()["operation_id"]
        assert await engine.legs(operation_id) == [("borrow", 1, "QUEUED")]
        await revoke_operator(engine, borrower)
        async with engine.lane():
            done = await engine.finished(answer)
        assert (done["outcome"]["status"], done["problem"]["code"]) == ("FAILED", "chain_refused")
        assert (await engine.legs(operation_id))[0] == ("borrow", 1, "FINAL_REVERTED")
        assert await row_of(engine, borrower, done["operation_id"]) == FAILED
        await engine.assert_sound()


async def test_settlement_address_blacklisted(engine: Engine) -> None:
    """A settlement address that USDC refuses: REVERSED, debt zero on chain, limits and day released, ledger balanced."""
    borrower = await engine.new_borrower()
    await engine.owner_calls(engine.contracts.usdc, "blacklist(address)", engine.partner.settlement.address)
    done = await engine.finished(await engine.borrow(borrower), wait=30)
    assert (done["outcome"]["status"], done["problem"]["code"]) == ("REVERSED", "settlement_blocked")
    assert await engine.debt(borrower) == 0
    assert await row_of(engine, borrower, done["operation_id"]) == Row(FREE, 0, 0, "REVERSED", ["loan.reversed"])
    succeeded = [leg for leg, _, state in await engine.legs(done["operation_id"]) if state == "FINAL_OK"]
    assert succeeded[:2] == ["borrow", "unwind"]
    await engine.assert_sound()


async def test_usdc_paused_for_a_while(engine: Engine) -> None:
    """While USDC is paused for all, nothing is undone, however long; the loan is ACTIVE once transfers pass again."""
    borrower = await engine.new_borrower()
    engine.once_before(engine.contracts.usdc, partial(engine.owner_calls, engine.contracts.usdc, "pause()"))
    answer = await engine.borrow(borrower)
    await asyncio.sleep(2 * engine.settings.settle_blocked.total_seconds())
    assert await row_of(engine, borrower, answer.json()["operation_id"]) == Row(
        DRAWN, PRINCIPAL, PRINCIPAL, "SETTLING", []
    )
    await engine.owner_calls(engine.contracts.usdc, "unpause()")
    done = await engine.finished(answer)
    assert done["outcome"]["status"] == "ACTIVE"
    await engine.assert_sound()


async def test_settle_deadline(build_engine: BuildEngine) -> None:
    """Past the deadline an operator chooses; until then nothing is undone, and the partner knows of the delay."""
    async with build_engine(settle_deadline=timedelta(seconds=2)) as engine, engine.loans(), engine.lane():
        borrower = await engine.new_borrower()
        engine.once_before(engine.contracts.usdc, partial(engine.owner_calls, engine.contracts.usdc, "pause()"))
        answer = await engine.borrow(borrower)
        operation_id = answer.json()["operation_id"]
        await until(lambda: loan_is(engine, borrower, "UNDER_REVIEW"))
        delayed = Row(DRAWN, PRINCIPAL, PRINCIPAL, "UNDER_REVIEW", ["loan.delayed"])
        assert await row_of(engine, borrower, operation_id) == delayed
        await engine.owner_calls(engine.contracts.usdc, "unpause()")
        await engine.operator(operation_id, "retry_step")
        done = await engine.finished(answer)
        assert done["outcome"]["status"] == "ACTIVE"
        assert await engine.events(operation_id) == ["loan.delayed", "loan.borrowed"]
        await engine.assert_sound()


async def test_unwind_fails_too(engine: Engine) -> None:
    """When the borrow can be neither paid out nor undone its USDC is shown in suspense, and an operator's retry ends it."""
    borrower = await engine.new_borrower()
    await engine.owner_calls(engine.contracts.usdc, "blacklist(address)", engine.partner.settlement.address)
    await engine.owner_calls(engine.contracts.pool, "setRepaymentsPaused(bool)", True)
    answer = await engine.borrow(borrower)
    await until(lambda: loan_is(engine, borrower, "UNDER_REVIEW"))
    delayed = Row(DRAWN, PRINCIPAL, 0, "UNDER_REVIEW", ["loan.delayed"])
    assert await row_of(engine, borrower, answer.json()["operation_id"]) == delayed
    async with engine.transaction() as session:
        assert await book.balance(session, accounts.SUSPENSE, answer.json()["operation_id"]) == PRINCIPAL
    await engine.owner_calls(engine.contracts.pool, "setRepaymentsPaused(bool)", False)
    await engine.operator(answer.json()["operation_id"], "retry_step")
    done = await engine.finished(answer)
    reversed_loan = Row(FREE, 0, 0, "REVERSED", ["loan.delayed", "loan.reversed"])
    assert await row_of(engine, borrower, done["operation_id"]) == reversed_loan
    assert await engine.debt(borrower) == 0
    await engine.assert_sound()
