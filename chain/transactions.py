"""The store of legs, as workflows use it: insert once, read, give up (money.md section 2).

Every function works inside the caller's transaction. Whatever inserts or abandons holds the operation's row lock first,
so for one operation these happen one after the other; the unique indexes hold even where a lock was forgotten.
Locks are taken in one order everywhere: operation, partner, position, loan, signer, transaction, balance.
"""

from collections.abc import Sequence
from typing import Any

from psycopg.errors import UniqueViolation
from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import load_only
from sqlalchemy.orm.interfaces import ORMOption

from chain.broken import GenerationTooEarly, LegExcluded, LegMisplanned, LegUnknown, Overcharged
from chain.charges import Wanted, left_for, of_one_operation
from chain.legs import PlannedLeg
from models.messages.legs import LegOutcome
from models.messages.operators import CancelEffect
from models.statuses import UNMINED_STATES, WITHOUT_EFFECT_STATES, TransactionState
from models.tables.operations import Operation
from models.tables.transactions import ChainTransaction

_ONE_LIVE_OR_OK = ("uq_chain_transactions_one_live_or_ok", "uq_chain_transactions_one_live_approve")


def outcome_columns() -> ORMOption:
    """Loads only what ``outcome`` needs."""
    return load_only(
        ChainTransaction.operation_id,
        ChainTransaction.leg,
        ChainTransaction.generation,
        ChainTransaction.state,
        ChainTransaction.amount,
        ChainTransaction.result_tx_hash,
        ChainTransaction.result_block,
        ChainTransaction.reason,
        ChainTransaction.held_reason,
    )


def outcome(row: ChainTransaction) -> LegOutcome:
    """A row as workflows see it."""
    held = row.state is TransactionState.HELD
    return LegOutcome(
        state=row.state,
        generation=row.generation,
        amount=row.amount,
        tx_hash=row.result_tx_hash,
        block_number=row.result_block,
        reason=row.held_reason if held else row.reason,
    )


async def find(session: AsyncSession, operation_id: str, leg: str, generation: int) -> ChainTransaction | None:
    query = select(ChainTransaction).where(
        ChainTransaction.operation_id == operation_id,
        ChainTransaction.leg == leg,
        ChainTransaction.generation == generation,
    )
    return (await session.scalars(query)).one_or_none()


async def legs_of(session: AsyncSession, operation_id: str) -> Sequence[ChainTransaction]:
    """Every generation of every leg of an operation, in the order in which they were made."""
    query = select(ChainTransaction).where(ChainTransaction.operation_id == operation_id).order_by(ChainTransaction.id)
    return (await session.scalars(query)).all()


async def insert_queued(session: AsyncSession, planned: PlannedLeg, gas: int | None) -> LegOutcome:
    """Hands the leg to the lane. Where the row exists already, that row's outcome is the answer and nothing changes.

    Without ``gas`` the lane simulates the leg itself, once the allowance that it spends is there.
    Raises GenerationTooEarly, LegExcluded, LegMisplanned or Overcharged.
    """
    await lock_operation(session, planned.operation_id)
    stored = await find(session, planned.operation_id, planned.leg, planned.generation)
    if stored is not None:
        return outcome(stored)
    await _check_last_generation(session, planned)
    await _check_charge(session, planned)
    return await _insert(session, _row(planned) | {"state": TransactionState.QUEUED, "gas": gas})


async def insert_refused(session: AsyncSession, planned: PlannedLeg, reason: str) -> LegOutcome:
    """Records that the simulation refused the leg. Where the row exists already, that row's outcome is the answer."""
    await lock_operation(session, planned.operation_id)
    stored = await find(session, planned.operation_id, planned.leg, planned.generation)
    if stored is not None:
        return outcome(stored)
    await _check_last_generation(session, planned)
    return await _insert(session, _row(planned) | {"state": TransactionState.REFUSED, "reason": reason})


async def abandon(session: AsyncSession, operation_id: str, leg: str, reason: str) -> bool:
    """Makes sure that the leg has no effect and never will have, so that what it holds may be released.

    False where a generation has a nonce and no final outcome, is HELD, or succeeded: then nothing may be released. Where
    it answers True, a submit that stalled and wakes up later finds an ABANDONED row in its place, be it of the first
    generation or of the one after the last.
    """
    await lock_operation(session, operation_id)
    rows = await _lock_generations(session, operation_id, leg)
    open_rows = [row for row in rows if row.state not in WITHOUT_EFFECT_STATES]
    if any(row.state is not TransactionState.QUEUED for row in open_rows):
        return False
    if open_rows:
        return await _abandon_queued(session, open_rows[0], reason)
    if not rows or rows[-1].call is not None:
        generation = rows[-1].generation + 1 if rows else 1
        await _insert(session, _tombstone(operation_id, leg, generation, reason))
    return True


async def request_cancel(session: AsyncSession, operation_id: str, leg: str, reason: str) -> CancelEffect:
    """Asks that the newest generation of a leg shall not have its effect. Of several reasons the first one stays."""
    await lock_operation(session, operation_id)
    rows = await _lock_generations(session, operation_id, leg)
    if not rows or rows[-1].state in WITHOUT_EFFECT_STATES:
        return CancelEffect.NOTHING
    row = rows[-1]
    if row.state is TransactionState.QUEUED:
        await _abandon_queued(session, row, reason)
        return CancelEffect.ABANDONED
    if row.state not in UNMINED_STATES:
        return CancelEffect.TOO_LATE
    row.cancel_reason = row.cancel_reason or reason
    await session.flush()
    return CancelEffect.ASKED


async def lock_operation(session: AsyncSession, operation_id: str) -> None:
    """Whatever inserts, abandons or resolves a leg of the operation waits for its turn here."""
    # FOR NO KEY UPDATE conflicts with the lane's FOR SHARE, and not with the foreign keys of other tables' inserts.
    query = select(Operation.id).where(Operation.id == operation_id).with_for_update(key_share=True)
    (await session.execute(query)).one()


async def _lock_generations(session: AsyncSession, operation_id: str, leg: str) -> Sequence[ChainTransaction]:
    query = (
        select(ChainTransaction)
        .where(ChainTransaction.operation_id == operation_id, ChainTransaction.leg == leg)
        .order_by(ChainTransaction.generation)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    return (await session.scalars(query)).all()


async def _check_last_generation(session: AsyncSession, planned: PlannedLeg) -> None:
    """A new generation is inserted only in the transaction that sees the last one terminal and without effect."""
    rows = await _lock_generations(session, planned.operation_id, planned.leg)
    last = rows[-1] if rows else None
    expected = last.generation + 1 if last is not None else 1
    if planned.generation != expected or (last is not None and last.state not in WITHOUT_EFFECT_STATES):
        found = "not there" if last is None else f"{last.state} (the last is {last.generation})"
        raise GenerationTooEarly(planned.operation_id, planned.leg, planned.generation, found)


async def _check_charge(session: AsyncSession, planned: PlannedLeg) -> None:
    account = planned.charges_account
    if (account is not None) != planned.usdc_leaves:
        raise LegMisplanned(f"the leg '{planned.leg}' charges {account or 'no account'}")
    if account is None or not of_one_operation(account):
        return
    leg = Wanted(planned.operation_id, planned.leg, planned.generation, account, planned.amount)
    left = await left_for(session, leg)
    if planned.amount > left:
        raise Overcharged(planned.operation_id, planned.leg, account, planned.amount, left)


async def _insert(session: AsyncSession, values: dict[str, Any]) -> LegOutcome:
    """The new row's outcome, or that of the row that won a race."""
    statement = insert(ChainTransaction).values(values)
    idempotent = statement.on_conflict_do_nothing(index_elements=["operation_id", "leg", "generation"])
    try:
        await session.execute(idempotent)
    except IntegrityError as error:
        if isinstance(error.orig, UniqueViolation) and error.orig.diag.constraint_name in _ONE_LIVE_OR_OK:
            raise LegExcluded(values["operation_id"], values["leg"], values["generation"]) from error
        raise
    stored = await find(session, values["operation_id"], values["leg"], values["generation"])
    if stored is None:
        raise LegUnknown(values["operation_id"], values["leg"], values["generation"])
    return outcome(stored)


async def _abandon_queued(session: AsyncSession, row: ChainTransaction, reason: str) -> bool:
    statement = (
        update(ChainTransaction)
        .where(ChainTransaction.id == row.id, ChainTransaction.state == TransactionState.QUEUED)
        .values(state=TransactionState.ABANDONED, reason=reason)
        .returning(ChainTransaction.id)
    )
    return await session.scalar(statement) is not None


def _row(planned: PlannedLeg) -> dict[str, Any]:
    return {
        "operation_id": planned.operation_id,
        "leg": planned.leg,
        "generation": planned.generation,
        "chain_id": planned.chain_id,
        "signer": planned.wallet,
        "call": planned.call.model_dump(mode="json"),
        "amount": planned.amount,
        "target": planned.target,
        "calldata": planned.calldata,
        "expected_logs": [dict(log) for log in planned.expected_logs],
        "charges_account": planned.charges_account,
        "spends_allowance": planned.spends_allowance,
    }


def _tombstone(operation_id: str, leg: str, generation: int, reason: str) -> dict[str, Any]:
    """A row that says of a generation that it never was: it has no call and no signer."""
    return {
        "operation_id": operation_id,
        "leg": leg,
        "generation": generation,
        "state": TransactionState.ABANDONED,
        "reason": reason,
    }
