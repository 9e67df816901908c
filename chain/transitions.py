"""Every change of state that the lane makes, each one compare-and-set under the row lock (money.md section 2).

Nothing that was decided in memory counts: a row that is not where it should be raises IllegalTransition, which undoes the
whole transaction, and the next look starts from the rows. All functions take many rows at once, since one commit for many
legs is what makes a lane fast.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Case, Table, bindparam, case, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from chain.broken import IllegalTransition
from chain.types import TxHash, Wei
from models.statuses import IN_FLIGHT_STATES, UNMINED_STATES, AttemptKind, TransactionState
from models.tables.transactions import ChainAttempt, ChainTransaction

_LEGS: Table = ChainTransaction.__table__  # type: ignore[assignment]  # a declarative class maps to a Table
_ATTEMPTS: Table = ChainAttempt.__table__  # type: ignore[assignment]  # as above


@dataclass(frozen=True, slots=True)
class NewAttempt:
    """A signed transaction for a leg, not sent yet. Fees are wei per gas."""

    transaction_id: int
    nonce: int
    kind: AttemptKind
    hash: TxHash
    raw: bytes
    gas: int
    max_fee_per_gas: Wei
    max_priority_fee_per_gas: Wei


@dataclass(frozen=True, slots=True)
class Answered:
    """What a node said to an attempt. ``maybe_sent``: it may be in a pool now, or be mined."""

    transaction_id: int
    hash: TxHash
    answer: str
    maybe_sent: bool


@dataclass(frozen=True, slots=True)
class Result:
    """What a canonical receipt says of a leg, and the state that follows from it."""

    transaction_id: int
    leg: str
    state: TransactionState
    tx_hash: TxHash
    block_number: int
    block_hash: str
    gas_used: int
    effective_gas_price: Wei
    logs: list[dict[str, Any]]
    held_reason: str | None = None
    reason: str | None = None


async def prepare(session: AsyncSession, attempts: Sequence[NewAttempt]) -> None:
    """QUEUED → PREPARED, with the nonce and the bytes, in one transaction: what is sent later is stored now."""
    if not attempts:
        return
    values = {"state": TransactionState.PREPARED, "nonce": bindparam("to_nonce"), "prepared_at": func.now()}
    rows = [{"row_id": each.transaction_id, "to_nonce": each.nonce} for each in attempts]
    await _move(session, {TransactionState.QUEUED}, TransactionState.PREPARED, values, rows)
    await _insert_attempts(session, attempts)


async def replace_attempts(session: AsyncSession, attempts: Sequence[NewAttempt]) -> list[NewAttempt]:
    """Stores further attempts at nonces that are taken, and says which: those whose leg still waits for a block.

    A payload is not raised any more once its cancellation was asked for.
    """
    waiting = (
        select(_LEGS.c.id, _LEGS.c.cancel_reason)
        .where(_LEGS.c.id.in_([each.transaction_id for each in attempts]), _LEGS.c.state.in_(UNMINED_STATES))
        .order_by(_LEGS.c.id)
        .with_for_update()
    )
    cancelled = {row.id: row.cancel_reason is not None for row in (await session.execute(waiting)).all()}
    kept = [each for each in attempts if cancelled.get(each.transaction_id) is (each.kind is AttemptKind.CANCEL)]
    await _insert_attempts(session, kept)
    return kept


async def ask_cancel(session: AsyncSession, reasons: Mapping[int, str]) -> None:
    """Marks what can never be mined as it is, so that it is replaced at its nonce. The first reason stays."""
    if not reasons:
        return
    # IN cannot be part of a statement that is executed for many rows.
    unmined = or_(*(_LEGS.c.state == state for state in sorted(UNMINED_STATES)))
    waiting = (_LEGS.c.cancel_reason.is_(None), unmined)
    statement = update(_LEGS).where(_LEGS.c.id == bindparam("row_id"), *waiting)
    rows = [{"row_id": row_id, "why": reason} for row_id, reason in sorted(reasons.items())]
    connection = await session.connection()
    await connection.execute(statement.values(cancel_reason=bindparam("why")), rows)


async def hold(session: AsyncSession, reasons: Mapping[int, str]) -> None:
    """PREPARED or BROADCAST → HELD: its nonce went to somebody else, and no attempt of it is ever sent again."""
    values = {"state": TransactionState.HELD, "held_reason": bindparam("to_reason")}
    rows = [{"row_id": row_id, "to_reason": reason} for row_id, reason in reasons.items()]
    await _move(session, UNMINED_STATES, TransactionState.HELD, values, rows)


async def _insert_attempts(session: AsyncSession, attempts: Sequence[NewAttempt]) -> None:
    stored = [
        {
            "hash": each.hash,
            "transaction_id": each.transaction_id,
            "kind": each.kind,
            "raw": each.raw,
            "gas": each.gas,
            "max_fee_per_gas": each.max_fee_per_gas,
            "max_priority_fee_per_gas": each.max_priority_fee_per_gas,
        }
        for each in attempts
    ]
    if stored:
        await session.execute(insert(_ATTEMPTS), stored)


async def abandon_queued(session: AsyncSession, reasons: Mapping[int, str]) -> None:
    """QUEUED → ABANDONED: no nonce was taken and none ever will be."""
    values = {"state": TransactionState.ABANDONED, "reason": bindparam("to_reason")}
    rows = [{"row_id": row_id, "to_reason": reason} for row_id, reason in reasons.items()]
    await _move(session, {TransactionState.QUEUED}, TransactionState.ABANDONED, values, rows)


async def refuse_queued(session: AsyncSession, reasons: Mapping[int, str]) -> None:
    """QUEUED → REFUSED: a simulation that had to wait for the allowance was refused by the contract."""
    values = {"state": TransactionState.REFUSED, "reason": bindparam("to_reason")}
    rows = [{"row_id": row_id, "to_reason": reason} for row_id, reason in reasons.items()]
    await _move(session, {TransactionState.QUEUED}, TransactionState.REFUSED, values, rows)


async def record_answers(session: AsyncSession, answers: Sequence[Answered]) -> None:
    """PREPARED → BROADCAST for what may be out. A row that the watch has moved on meanwhile is left where it is."""
    if not answers:
        return
    sent = update(_ATTEMPTS).where(_ATTEMPTS.c.hash == bindparam("attempt"))
    rows = [{"attempt": each.hash, "said": each.answer} for each in answers]
    connection = await session.connection()
    await connection.execute(sent.values(sent_at=func.now(), last_answer=bindparam("said")), rows)
    out = [each.transaction_id for each in answers if each.maybe_sent]
    prepared = update(_LEGS).where(_LEGS.c.id.in_(out), _LEGS.c.state == TransactionState.PREPARED)
    await session.execute(prepared.values(state=TransactionState.BROADCAST, broadcast_at=func.now()))


async def forget_receipts(session: AsyncSession, ids: Collection[int]) -> None:
    """MINED → BROADCAST: the block left the chain, and its receipt with it."""
    await _back_to_broadcast(session, {TransactionState.MINED}, ids)


async def resume_held(session: AsyncSession, ids: Collection[int]) -> None:
    """HELD → BROADCAST: a person wants the leg sent and watched again."""
    await _back_to_broadcast(session, {TransactionState.HELD}, ids)


async def _back_to_broadcast(
    session: AsyncSession, sources: Collection[TransactionState], ids: Collection[int]
) -> None:
    values = {
        "state": TransactionState.BROADCAST,
        "held_reason": None,
        "mined_at": None,
        **dict.fromkeys(("result_tx_hash", "result_block", "result_block_hash", "logs"), None),
        **dict.fromkeys(("gas_used", "effective_gas_price"), None),
    }
    rows = [{"row_id": row_id} for row_id in ids]
    await _move(session, sources, TransactionState.BROADCAST, values, rows)


async def record_results(session: AsyncSession, results: Sequence[Result]) -> None:
    """To MINED, to FINAL, or to HELD: what receipts have shown. PREPARED is included, for a send whose answer was lost."""
    await _record(session, IN_FLIGHT_STATES, "MINED, FINAL or HELD", results)


async def settle_held(session: AsyncSession, results: Sequence[Result]) -> None:
    """HELD → FINAL: a person accepts what the chain shows."""
    await _record(session, {TransactionState.HELD}, "FINAL", results)


async def _record(
    session: AsyncSession, sources: Collection[TransactionState], target: str, results: Sequence[Result]
) -> None:
    values = {
        "state": bindparam("to_state"),
        "held_reason": bindparam("to_held_reason"),
        "reason": func.coalesce(bindparam("to_reason", type_=_LEGS.c.reason.type), _cancelled_for()),
        "result_tx_hash": bindparam("to_hash"),
        "result_block": bindparam("to_block"),
        "result_block_hash": bindparam("to_block_hash"),
        "gas_used": bindparam("to_gas_used"),
        "effective_gas_price": bindparam("to_price"),
        "logs": bindparam("to_logs", type_=_LEGS.c.logs.type),
        "broadcast_at": func.coalesce(_LEGS.c.broadcast_at, func.now()),
        "mined_at": func.coalesce(_LEGS.c.mined_at, func.now()),
        "final_at": case((bindparam("is_final"), func.now()), else_=None),
    }
    await _move(session, sources, target, values, [_result_row(each) for each in results])


def _cancelled_for() -> Case[str | None]:
    """Of a leg whose cancellation won: why that was asked for."""
    return case((bindparam("is_cancelled"), _LEGS.c.cancel_reason))


def _result_row(result: Result) -> dict[str, Any]:
    reverted = "the contract call reverted" if result.state is TransactionState.FINAL_REVERTED else None
    return {
        "row_id": result.transaction_id,
        "to_state": result.state,
        "to_held_reason": result.held_reason,
        "to_reason": result.reason or reverted,
        "to_hash": result.tx_hash,
        "to_block": result.block_number,
        "to_block_hash": result.block_hash,
        "to_gas_used": result.gas_used,
        "to_price": result.effective_gas_price,
        "to_logs": result.logs,
        "is_final": result.state.startswith("FINAL"),
        "is_cancelled": result.state is TransactionState.FINAL_CANCELLED,
    }


async def _move(
    session: AsyncSession,
    sources: Collection[TransactionState],
    target: str,
    values: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
) -> None:
    """The one compare-and-set. Rows are locked in the order of their ids, as everywhere."""
    if not rows:
        return
    from_there = or_(*(_LEGS.c.state == source for source in sorted(sources)))
    statement = update(_LEGS).where(_LEGS.c.id == bindparam("row_id"), from_there).values(dict(values))
    connection = await session.connection()
    moved = await connection.execute(statement, sorted(rows, key=lambda row: row["row_id"]))
    if moved.rowcount != len(rows):
        raise IllegalTransition(target, len(rows), moved.rowcount)
