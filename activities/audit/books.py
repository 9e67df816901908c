"""Invariant 1: a finished operation leaves nothing behind, and every stored balance is what its rows add up to."""

from sqlalchemy import ColumnElement, Select, Subquery, and_, exists, func, or_, select, union_all
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from activities.audit.findings import Finding
from models import accounts
from models.statuses import InboundState, LedgerPhase, OperationState, RepaymentState
from models.tables.ledger import LedgerBalance, LedgerTransfer
from models.tables.loans import Repayment
from models.tables.operations import Operation
from models.tables.transactions import InboundTransfer

FINISHED = (OperationState.DONE, OperationState.NOT_STARTED)
COUNTED = (LedgerPhase.POSTED, LedgerPhase.SINGLE)


async def check_books(session: AsyncSession) -> Finding:
    finding = Finding(1, "finished operations leave nothing behind; cached balances equal derived ones")
    await _check_pending(session, finding)
    await _check_left_over(session, finding)
    await _check_claims(session, finding)
    await _check_accounts(session, finding)
    await _check_cached(session, finding)
    return finding


def unresolved() -> ColumnElement[bool]:
    """A promise that was neither kept nor given up."""
    resolution = aliased(LedgerTransfer)
    named = exists().where(resolution.pending_id == LedgerTransfer.id)
    return and_(LedgerTransfer.phase == LedgerPhase.PENDING, ~named)


def sides() -> Subquery:
    """Each counted movement twice, once for each account: what it brought there, and what it took."""
    counted = LedgerTransfer.phase.in_(COUNTED)
    came = select(
        LedgerTransfer.operation_id,
        LedgerTransfer.credit_account.label("account"),
        LedgerTransfer.amount.label("amount"),
    )
    went = select(LedgerTransfer.operation_id, LedgerTransfer.debit_account, -LedgerTransfer.amount)
    return union_all(came.where(counted), went.where(counted)).subquery()


async def _check_pending(session: AsyncSession, finding: Finding) -> None:
    of_finished = (
        select(LedgerTransfer.id, LedgerTransfer.operation_id, LedgerTransfer.leg)
        .join(Operation, Operation.id == LedgerTransfer.operation_id)
        .where(unresolved(), Operation.state.in_(FINISHED))
        .order_by(LedgerTransfer.id)
    )
    rows = (await session.execute(of_finished)).all()
    for row_id, operation_id, leg in rows:
        detail = f"{operation_id} is finished, but {leg} is pending in the ledger"
        finding.broken(f"{operation_id}/{leg}/pending", detail, f"ledger_transfers {row_id}")
    finding.compare("pending movements of finished operations", 0, len(rows))


async def _check_left_over(session: AsyncSession, finding: Finding) -> None:
    """Suspense may keep what a finished operation could give to nobody; it never gave more than it had."""
    moved = sides()
    left = func.sum(moved.c.amount)
    of_operation = or_(moved.c.account == accounts.IN_FLIGHT, moved.c.account.startswith(accounts.liability("")))
    by_account = (
        select(moved.c.operation_id, moved.c.account, left)
        .join(Operation, Operation.id == moved.c.operation_id)
        .where(Operation.state.in_(FINISHED), or_(of_operation, moved.c.account == accounts.SUSPENSE))
        .group_by(moved.c.operation_id, moved.c.account)
    )
    wrong = by_account.having(or_(left < 0, and_(left > 0, moved.c.account != accounts.SUSPENSE)))
    for operation_id, account, amount in await session.execute(wrong):
        detail = f"{operation_id} is finished and has {amount} base units left on {account}"
        finding.broken(f"{operation_id}/{account}", detail, f"operations {operation_id}")
    kept = by_account.where(of_operation).subquery()
    total = await session.scalar(select(func.coalesce(func.sum(func.abs(kept.c[2])), 0)))
    finding.compare("base units that finished operations have in flight or owe", 0, int(total or 0))


async def _check_claims(session: AsyncSession, finding: Finding) -> None:
    """A finished repayment holds no loan, and a transfer is claimed by one that used it, gave it back or is still at it."""
    holding = (
        select(Repayment.id)
        .join(Operation, Operation.id == Repayment.operation_id)
        .where(Operation.state.in_(FINISHED), Repayment.holds_loan)
    )
    for repayment_id in await session.scalars(holding):
        detail = f"{repayment_id} is finished and holds its loan"
        finding.broken(f"{repayment_id}/holds", detail, f"repayments {repayment_id}")
    wasted = (
        select(InboundTransfer.id, InboundTransfer.tx_hash, InboundTransfer.log_index)
        .join(Repayment, Repayment.operation_id == InboundTransfer.claimed_by)
        .where(Repayment.state.in_([RepaymentState.REJECTED, RepaymentState.FAILED]))
    )
    for row_id, tx_hash, log_index in await session.execute(wasted):
        detail = f"{tx_hash}/{log_index} was claimed by a repayment that came to nothing"
        finding.broken(f"{tx_hash}/{log_index}/claim", detail, f"inbound_transfers {row_id}")


async def _check_accounts(session: AsyncSession, finding: Finding) -> None:
    """No account gave more than it had, and what came in and is unclaimed is what its account holds."""
    moved = sides()
    of_account = select(moved.c.account, func.sum(moved.c.amount)).group_by(moved.c.account)
    balances = {account: int(amount) for account, amount in await session.execute(of_account)}
    for account, amount in balances.items():
        if amount < 0 and account != accounts.PLATFORM_WALLET:
            finding.broken(account, f"the account {account} gave {-amount} base units more than it had")
    waiting = select(func.coalesce(func.sum(InboundTransfer.amount), 0)).where(
        InboundTransfer.state == InboundState.UNCLAIMED
    )
    unclaimed = int(await session.scalar(waiting) or 0)
    held = balances.get(accounts.UNCLAIMED_INBOUND, 0)
    finding.compare("unclaimed transfers and their account", unclaimed, held)
    if unclaimed != held:
        detail = f"{unclaimed} base units of inbound transfers are unclaimed, and their account holds {held}"
        finding.broken(f"{accounts.UNCLAIMED_INBOUND}/transfers", detail, f"ledger {accounts.UNCLAIMED_INBOUND}")


async def _check_cached(session: AsyncSession, finding: Finding) -> None:
    moved = sides()
    posted = select(func.coalesce(func.sum(moved.c.amount), 0)).where(moved.c.account == LedgerBalance.account)
    pending = select(func.coalesce(func.sum(LedgerTransfer.amount), 0)).where(
        LedgerTransfer.debit_account == LedgerBalance.account, unresolved()
    )
    cached: Select[str, int, int, int, int] = select(
        LedgerBalance.account,
        LedgerBalance.posted,
        LedgerBalance.pending_out,
        posted.scalar_subquery(),
        pending.scalar_subquery(),
    )
    for account, has, promised, derived, derived_promised in await session.execute(cached):
        finding.compare(f"the cached balance of {account}", int(derived), has)
        finding.compare(f"what is promised from {account}", int(derived_promised), promised)
        if (has, promised) != (derived, derived_promised):
            detail = (
                f"the cached balance of {account} is {has} with {promised} promised, "
                f"and the ledger says {derived} with {derived_promised}"
            )
            finding.broken(f"{account}/cached", detail, f"ledger_balances {account}")
