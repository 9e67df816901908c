"""Writing and reading the ledger. Every function works inside the caller's transaction and commits nothing.

A leg's movements are PENDING from the moment they are promised. When the leg is final they are POSTED, and VOIDED when it is
certain that the leg had no effect: each PENDING row is resolved exactly once, which ``pending_id``'s uniqueness enforces.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import case, func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from models import accounts
from models.statuses import LedgerKind, LedgerPhase
from models.tables.ledger import LedgerBalance, LedgerTransfer

_CACHED = frozenset({accounts.FLOAT})
_COUNTED = (LedgerPhase.POSTED, LedgerPhase.SINGLE)


@dataclass(frozen=True)
class Entry:
    """A movement of ``amount`` base units from ``debit`` to ``credit``: the wallet is debited when USDC comes in."""

    kind: LedgerKind
    debit: str
    credit: str
    amount: int
    counterparty: str | None = None
    operation_id: str | None = None
    leg: str | None = None
    generation: int | None = None
    inbound_id: int | None = None


async def pend(session: AsyncSession, entries: Sequence[Entry]) -> None:
    """Promises movements. An entry that is pending or resolved already is left alone, so this may be repeated."""
    if not entries:
        return
    rows = [_row(entry, LedgerPhase.PENDING) for entry in entries]
    added = await session.scalars(
        insert(LedgerTransfer).values(rows).on_conflict_do_nothing().returning(LedgerTransfer)
    )
    for row in added.all():
        await _cache(session, row.debit_account, pending_out=row.amount)


async def post(session: AsyncSession, operation_id: str, leg: str, generation: int) -> None:
    """The leg is final and succeeded: its pending movements become real."""
    await _resolve(session, await _unresolved(session, operation_id, leg, generation), LedgerPhase.POSTED)


async def void(session: AsyncSession, operation_id: str, leg: str, generation: int | None = None) -> None:
    """The leg had no effect and never will: its pending movements are cancelled; of every generation if none is named."""
    await _resolve(session, await _unresolved(session, operation_id, leg, generation), LedgerPhase.VOIDED)


async def record(session: AsyncSession, entry: Entry) -> None:
    """A movement that happened in one step, such as a claim of USDC that is in the wallet already."""
    session.add(LedgerTransfer(**_row(entry, LedgerPhase.SINGLE)))
    await session.flush()
    await _cache(session, entry.debit, posted=-entry.amount)
    await _cache(session, entry.credit, posted=entry.amount)


async def balance(session: AsyncSession, account: str, operation_id: str | None = None) -> int:
    """Credits less debits of an account, in base units; of one operation only, where it is named."""
    signed = case((LedgerTransfer.credit_account == account, LedgerTransfer.amount), else_=-LedgerTransfer.amount)
    query = select(func.coalesce(func.sum(signed), 0)).where(
        LedgerTransfer.phase.in_(_COUNTED),
        or_(LedgerTransfer.credit_account == account, LedgerTransfer.debit_account == account),
    )
    if operation_id is not None:
        query = query.where(LedgerTransfer.operation_id == operation_id)
    return int(await session.scalar(query) or 0)


async def float_left(session: AsyncSession) -> int:
    """The platform float less all that is promised from it, in base units. Locks the balance until the transaction ends."""
    query = select(LedgerBalance).where(LedgerBalance.account == accounts.FLOAT).with_for_update()
    row = await session.scalar(query)
    return 0 if row is None else row.posted - row.pending_out


async def _unresolved(
    session: AsyncSession, operation_id: str, leg: str, generation: int | None
) -> Sequence[LedgerTransfer]:
    resolution = aliased(LedgerTransfer)
    query = (
        select(LedgerTransfer)
        .outerjoin(resolution, resolution.pending_id == LedgerTransfer.id)
        .where(
            LedgerTransfer.operation_id == operation_id,
            LedgerTransfer.leg == leg,
            LedgerTransfer.phase == LedgerPhase.PENDING,
            resolution.id.is_(None),
        )
        .order_by(LedgerTransfer.id)
    )
    if generation is not None:
        query = query.where(LedgerTransfer.generation == generation)
    return (await session.scalars(query)).all()


async def _resolve(session: AsyncSession, pending: Iterable[LedgerTransfer], phase: LedgerPhase) -> None:
    pending = list(pending)
    if not pending:
        return
    await session.execute(insert(LedgerTransfer).values([_resolution(row, phase) for row in pending]))
    for row in pending:
        moved = row.amount if phase is LedgerPhase.POSTED else 0
        await _cache(session, row.debit_account, posted=-moved, pending_out=-row.amount)
        await _cache(session, row.credit_account, posted=moved)


def _row(entry: Entry, phase: LedgerPhase) -> dict[str, object]:
    return {
        "operation_id": entry.operation_id,
        "inbound_id": entry.inbound_id,
        "leg": entry.leg,
        "generation": entry.generation,
        "phase": phase,
        "kind": entry.kind,
        "debit_account": entry.debit,
        "credit_account": entry.credit,
        "counterparty": entry.counterparty,
        "amount": entry.amount,
    }


def _resolution(pending: LedgerTransfer, phase: LedgerPhase) -> dict[str, object]:
    entry = Entry(
        kind=pending.kind,
        debit=pending.debit_account,
        credit=pending.credit_account,
        amount=pending.amount,
        counterparty=pending.counterparty,
        operation_id=pending.operation_id,
        leg=pending.leg,
        generation=pending.generation,
        inbound_id=pending.inbound_id,
    )
    return _row(entry, phase) | {"pending_id": pending.id}


async def _cache(session: AsyncSession, account: str, *, posted: int = 0, pending_out: int = 0) -> None:
    if account not in _CACHED or (posted == 0 and pending_out == 0):
        return
    added = insert(LedgerBalance).values(account=account, posted=posted, pending_out=pending_out)
    await session.execute(
        added.on_conflict_do_update(
            index_elements=[LedgerBalance.account],
            set_={
                "posted": LedgerBalance.posted + posted,
                "pending_out": LedgerBalance.pending_out + pending_out,
            },
        )
    )
