"""How a repayment begins and ends: what it claims is its own, all that it collected went somewhere, and a loan that owes one base unit is not repaid."""

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from activities.claims import claim, claimable_transfer
from activities.leg_rows import loan_repaid
from activities.repayment_rows import lock_repayment, take_loan
from chain.contracts.vault_events import LOAN_REPAID_EVENT
from models.errors import InvariantBroken, RepaymentInProgress, TransferAlreadyClaimed
from models.messages.repay import RepayTerms
from models.statuses import LegName, LoanStatus, OperationKind, RepaymentMode, TransactionState
from models.tables.loans import Loan, Repayment
from models.tables.session import Transaction
from models.tables.transactions import InboundTransfer
from tests import factories as make
from tests.activities.desk import PACE, Desk, Usage, open_desk

PRINCIPAL = make.PRINCIPAL


async def test_nothing_collected_is_left_over(transaction: Transaction) -> None:
    """A repayment that has collected one base unit more than it repaid and gave back does not end, and frees nothing."""
    desk = await open_desk(transaction)
    loan = await desk.active()
    with pytest.raises(InvariantBroken):
        await desk.repays(loan, PRINCIPAL, kept=1)
    assert await desk.usage() == Usage(outstanding=PRINCIPAL, borrowed=PRINCIPAL)


@pytest.mark.parametrize(("left", "status"), [(0, LoanStatus.REPAID), (1, LoanStatus.ACTIVE)])
async def test_a_loan_is_repaid_at_zero(transaction: Transaction, left: int, status: LoanStatus) -> None:
    """One base unit that is owed still keeps the loan open, and its part of the limit taken."""
    desk = await open_desk(transaction)
    loan = await desk.active()
    await desk.repays(loan, PRINCIPAL - left)
    assert await desk.usage() == Usage(outstanding=left, borrowed=PRINCIPAL)
    async with transaction() as session:
        assert (await session.get_one(Loan, loan.id)).status is status


async def test_only_the_legs_own_event_is_read(transaction: Transaction) -> None:
    """What the same receipt says of another position, or another contract of this one, is no repayment of the leg's."""
    desk = await open_desk(transaction)
    async with transaction() as session:
        await make.known_signer(session)
        operation = await make.new_operation(session, desk.partner, kind=OperationKind.REPAY)
        own, *others = [
            make.log(contract, [LOAN_REPAID_EVENT.topic0, f"0x{position:064x}"], [100, principal, 100 - principal, 7])
            for contract, position, principal in ((make.VAULT, 1, 90), (make.VAULT, 2, 80), (make.OAID, 1, 70))
        ]
        shown = {"logs": [*others, own], "expected_logs": [make.expected(own)]}
        leg = await make.new_leg(session, operation, LegName.REPAY, TransactionState.FINAL_OK, amount=100, **shown)
        assert loan_repaid(leg).principal == 90


async def test_a_busy_loan_is_not_taken(transaction: Transaction) -> None:
    """While a repayment holds its loan another one is told so, and when it has let go another may take it."""
    desk = await open_desk(transaction)
    loan = await desk.active()
    async with transaction() as session:
        operation = await make.new_operation(session, desk.partner, kind=OperationKind.REPAY)
        holder = await make.new_repayment(session, operation, loan)
    with pytest.raises(RepaymentInProgress):
        async with transaction() as session:
            await take_loan(session, loan.id)
    async with transaction() as session:
        (await session.get_one(Repayment, holder.id)).holds_loan = False
        await session.flush()
        await take_loan(session, loan.id)


async def test_a_transfer_is_claimed_once(transaction: Transaction) -> None:
    """What one repayment has claimed is refused to the next, be it of the same partner and amount."""
    desk = await open_desk(transaction)
    loan = await desk.active()
    async with transaction() as session:
        transfer = await make.new_inbound(session)
        first, second = [await _proof(session, desk, loan) for _ in range(2)]
    terms = _terms(loan, transfer)
    async with transaction() as session:
        rows = await lock_repayment(session, first)
        await claim(session, rows, await claimable_transfer(session, rows, terms))
    with pytest.raises(TransferAlreadyClaimed):
        async with transaction() as session:
            await claimable_transfer(session, await lock_repayment(session, second), terms)


async def _proof(session: AsyncSession, desk: Desk, loan: Loan) -> str:
    """A repayment that waits for a transfer; returns its operation."""
    operation = await make.new_operation(session, desk.partner, kind=OperationKind.REPAY, loan_id=loan.id)
    await make.new_repayment(session, operation, loan, mode=RepaymentMode.PROOF, holds_loan=False)
    return operation.id


def _terms(loan: Loan, transfer: InboundTransfer) -> RepayTerms:
    return RepayTerms(
        repayment_id="any",
        loan_id=loan.id,
        position_id=loan.position_id,
        payoff=False,
        mode=RepaymentMode.PROOF,
        amount=transfer.amount,
        payer=None,
        transfer_tx_hash=transfer.tx_hash,
        transfer_log_index=None,
        vault_address=make.VAULT,
        residue_cap=0,
        pace=PACE,
    )
