"""What a repayment's legs did on chain, and what that means for the loan and the limits. Amounts are base units."""

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncSession

from activities.leg_rows import loan_repaid, post_final_legs
from activities.movements import leg_name
from activities.outside_book import debt_ended
from activities.repayment_rows import RepaymentRows
from chain import transactions
from models.messages.common import Debt
from models.statuses import LegName, LoanStatus
from models.tables.loans import Loan


@dataclass(frozen=True)
class AppliedOnChain:
    """``taken`` of what was collected went to the vault; ``residue`` the platform added; ``refused`` is why the vault would not."""

    taken: int
    residue: int
    refunded: int
    principal: int
    interest: int
    tx_hash: str | None
    left: int | None
    """The least that one of them left owing, interest included; None where none repaid."""
    refused: str | None


async def applied_on_chain(session: AsyncSession, operation_id: str) -> AppliedOnChain:
    """Posts the operation's legs and adds up what the vault's own events say that they did."""
    refused = [row.reason for row in await transactions.legs_of(session, operation_id) if row.leg == LegName.REPAY]
    legs = await post_final_legs(session, operation_id)
    amounts = {name: sum(leg.amount for leg in legs if leg_name(leg.leg) is name) for name in LegName}
    to_vault = sorted(
        (leg for leg in legs if leg_name(leg.leg) in (LegName.REPAY, LegName.RESIDUE)), key=lambda leg: leg.nonce or 0
    )
    events = [loan_repaid(leg) for leg in to_vault]
    return AppliedOnChain(
        taken=amounts[LegName.REPAY],
        residue=amounts[LegName.RESIDUE],
        refunded=amounts[LegName.REFUND],
        principal=sum(event.principal for event in events),
        interest=sum(event.interest for event in events),
        left=min((event.remaining_debt for event in events), default=None),
        tx_hash=to_vault[0].result_tx_hash if to_vault else None,
        refused=refused[-1] if refused else None,
    )


def release_principal(rows: RepaymentRows, applied: AppliedOnChain, *, ended: bool, debt: Debt) -> None:
    """The loan owes less, and the partner's total limit is free by the principal paid; REPAID where its debt has ended.

    Where a liquidation was followed before this, it wrote off what this repayment had paid: that is not lost after all.
    """
    loan, repayment = rows.loan, rows.repayment
    outstanding = 0 if ended else max(0, loan.outstanding - applied.principal)
    loan.written_off = max(0, loan.written_off - max(0, applied.principal - loan.outstanding))
    released = loan.outstanding - outstanding
    loan.outstanding = outstanding
    rows.partner.outstanding -= released
    rows.position.total_partner_debt -= released
    repayment.principal, repayment.interest = applied.principal, applied.interest
    repayment.residue, repayment.refunded = applied.residue, applied.refunded
    repayment.remaining_debt, repayment.tx_hash = 0 if ended else debt.outstanding, applied.tx_hash
    if ended and loan.status is not LoanStatus.LIQUIDATED:
        loan.status, loan.closed_at = LoanStatus.REPAID, datetime.now(UTC)


async def has_ended(session: AsyncSession, loan: Loan, applied: AppliedOnChain, debt: Debt) -> bool:
    """Whether the loan's debt is zero for ever, whoever paid the last unit: without this a stranger could lock a loan.

    The chain's zero says so, and so does an event that left zero, ours or one that was followed, although the user may have
    borrowed anew since. The zero of a liquidation does not: what it did not bring back is for its own event to say.
    """
    chains_zero = debt.outstanding == 0 and not debt.liquidated
    return chains_zero or applied.left == 0 or await debt_ended(session, loan.id)
