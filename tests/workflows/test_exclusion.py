"""A payout and the undoing of its borrow never both: what a late attempt finds (money.md section 2)."""

import pytest

from activities.loans import LoanActivities
from activities.transactions import TransactionActivities
from chain.broken import Overcharged
from chain.signers import pause_signer
from chain.waiter import LegWaiter
from models.errors import InvariantBroken
from models.messages.borrow import BorrowTerms
from models.messages.common import OperationInput
from models.messages.legs import RepayCall, SubmitTransaction, TransferCall
from models.statuses import LegName
from tests.engine import BuildEngine
from tests.workflows.test_sweep import lost_after_the_borrow


async def test_a_payout_and_its_undoing_exclude_each_other(build_engine: BuildEngine) -> None:
    """An unwind that does not know of a payout is stopped; one that knows of it takes its place; a late payout finds no USDC left."""
    async with lost_after_the_borrow(build_engine) as (engine, operation_id):
        async with engine.transaction() as session:
            chain_id, wallet = engine.chain.chain_id, engine.chain.wallet
            await pause_signer(session, chain_id, wallet, reason="nothing shall leave QUEUED", by="tests")
        await LoanActivities(engine.transaction).record_borrow(OperationInput(operation_id=operation_id))
        terms = BorrowTerms.model_validate((await engine.operation_row(operation_id)).terms)
        payout = TransferCall(recipient=terms.settlement_address, amount=terms.quote.payout)
        settle = SubmitTransaction(operation_id=operation_id, leg=LegName.SETTLE, call=payout)
        unwind = SubmitTransaction(
            operation_id=operation_id,
            leg=LegName.UNWIND,
            call=RepayCall(position_id=terms.position_id, amount=terms.quote.principal),
            instead_of=LegName.SETTLE,
        )
        async with LegWaiter(engine.transaction, engine.parts.database.url) as waiter:
            submit = TransactionActivities(engine.transaction, engine.chain, waiter).submit_transaction
            await submit(settle)
            with pytest.raises(InvariantBroken, match="may still have its effect"):
                await submit(unwind)
            known = unwind.model_copy(update={"instead_of_generation": 1})
            await submit(known)
            with pytest.raises(Overcharged):
                await submit(settle.model_copy(update={"generation": 2}))
        legs = await engine.legs(operation_id)
        assert legs[1:] == [("settle", 1, "ABANDONED"), ("unwind", 1, "QUEUED")]
