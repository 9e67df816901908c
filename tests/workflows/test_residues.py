"""What a payoff leaves is paid by the platform up to a cap, and no debt is taken from a node that is behind (ADR 0010)."""

from functools import partial

import pytest

from activities.positions import PositionActivities
from activities.transactions import TransactionActivities
from chain.errors import NodeLags
from chain.waiter import LegWaiter
from models.messages.common import ReadDebt, ReadResidue
from models.messages.legs import RepayCall, SubmitTransaction
from models.statuses import LegName
from tests.chain.world import USD
from tests.engine import BuildEngine, Engine, until
from tests.workflows.test_repay_table import PRINCIPAL, days_pass

AHEAD = 5


async def test_a_residue_above_the_cap_is_not_paid(build_engine: BuildEngine) -> None:
    """A payoff that leaves more than the platform pays for is a partial repayment, and says so."""
    async with build_engine(residue_cap=0) as engine, engine.lane(), engine.loans():
        await engine.fund_float()
        await until(engine.float_is_booked)
        borrower = await engine.new_borrower()
        await engine.active_loan(borrower)
        await days_pass(engine, 10)
        engine.once_before_leg(LegName.REPAY, partial(days_pass, engine, 1))
        done = await engine.finished(await engine.repay(borrower, {"payoff": True}))
        left = await engine.debt(borrower)
        loan = await engine.loan(borrower)
        assert done["outcome"]["status"] == "APPLIED"
        assert (loan["status"], loan["repayments"][0]["residue"]) == ("ACTIVE", "0")
        assert 0 < int(loan["repayments"][0]["remaining_debt"]) <= left < USD
        assert await engine.legs(done["operation_id"]) == [("collect", 1, "FINAL_OK"), ("repay", 1, "FINAL_OK")]
        assert await engine.events(done["operation_id"]) == ["repayment.applied"]
        await engine.assert_sound()


async def test_a_node_that_is_behind_knows_no_debt(engine: Engine) -> None:
    """A node that has not seen the operation's last leg is asked again: its debt would be an older one."""
    borrower = await engine.new_borrower()
    done = await engine.active_loan(borrower)
    operation_id, position_id = done["operation_id"], borrower.line.position_id
    ahead = (await engine.client.head()).number + AHEAD
    positions = PositionActivities(engine.transaction, engine.chain)
    with pytest.raises(NodeLags):
        await positions.read_debt(ReadDebt(position_id=position_id, at_least_block=ahead))
    with pytest.raises(NodeLags):
        await positions.read_residue(
            ReadResidue(operation_id=operation_id, position_id=position_id, at_least_block=ahead)
        )
    submit = SubmitTransaction(
        operation_id=operation_id,
        leg=f"{LegName.RESIDUE}-1",
        generation=1,
        call=RepayCall(position_id=position_id, amount=PRINCIPAL),
        at_least_block=ahead,
    )
    async with LegWaiter(engine.transaction, engine.parts.database.url) as waiter:
        with pytest.raises(NodeLags):
            await TransactionActivities(engine.transaction, engine.chain, waiter).submit_transaction(submit)
    assert [leg for leg, _, _ in await engine.legs(operation_id)] == ["borrow", "settle"]
