"""A transition is refused, with its whole transaction, where a row is not in a state from which it may start."""

from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from chain.broken import IllegalTransition
from chain.transitions import (
    NewAttempt,
    Result,
    abandon_queued,
    forget_receipts,
    hold,
    prepare,
    record_results,
    replace_attempts,
    resume_held,
    settle_held,
)
from chain.types import TxHash, Wei
from models.statuses import UNMINED_STATES, AttemptKind, TransactionState
from models.tables.transactions import ChainTransaction
from tests.chain.lane.desk import Desk

S = TransactionState
Move = Callable[[AsyncSession, int], Awaitable[None]]
EVIDENCE = {"result_tx_hash": "0x1", "result_block": 1, "result_block_hash": "0xb", "logs": [], "held_reason": "a test"}


async def _prepare(session: AsyncSession, row_id: int) -> None:
    await prepare(session, [NewAttempt(row_id, 7, AttemptKind.PAYLOAD, TxHash("0x1"), b"", 21_000, Wei(1), Wei(1))])


async def _abandon(session: AsyncSession, row_id: int) -> None:
    await abandon_queued(session, {row_id: "a test"})


async def _forget(session: AsyncSession, row_id: int) -> None:
    await forget_receipts(session, [row_id])


async def _hold(session: AsyncSession, row_id: int) -> None:
    await hold(session, {row_id: "a test"})


async def _resume(session: AsyncSession, row_id: int) -> None:
    await resume_held(session, [row_id])


async def _accept(session: AsyncSession, row_id: int) -> None:
    await settle_held(session, [Result(row_id, "settle", S.FINAL_OK, TxHash("0x1"), 1, "0xb", 1, Wei(1), [])])


async def _finish(session: AsyncSession, row_id: int) -> None:
    await record_results(session, [Result(row_id, "settle", S.FINAL_OK, TxHash("0x1"), 1, "0xb", 1, Wei(1), [])])


MOVES: list[tuple[Move, set[TransactionState]]] = [
    (_prepare, {S.QUEUED}),
    (_abandon, {S.QUEUED}),
    (_forget, {S.MINED}),
    (_finish, {S.PREPARED, S.BROADCAST, S.MINED}),
    (_hold, {S.PREPARED, S.BROADCAST}),
    (_resume, {S.HELD}),
    (_accept, {S.HELD}),
]


@pytest.mark.parametrize(("move", "sources"), MOVES)
async def test_a_transition_starts_only_where_it_may(desk: Desk, move: Move, sources: set[TransactionState]) -> None:
    """From every other state it raises, and the row stays as it was."""
    await desk.lane_known()
    operation_id = await desk.settle()
    row_id = (await desk.row(operation_id)).id
    for state in TransactionState:
        await _put(desk, state)
        if state in sources:
            async with desk.transaction() as session:
                await move(session, row_id)
        else:
            with pytest.raises(IllegalTransition):
                async with desk.transaction() as session:
                    await move(session, row_id)
            assert (await desk.row(operation_id)).state is state


@pytest.mark.parametrize("kind", AttemptKind)
@pytest.mark.parametrize("cancelled", [False, True])
async def test_a_new_attempt_is_stored_only_for_a_leg_that_waits(
    desk: Desk, kind: AttemptKind, *, cancelled: bool
) -> None:
    """And only of the kind that it may still have: no payload once a cancellation was asked for, no cancellation before."""
    await desk.lane_known()
    operation_id = await desk.settle()
    row_id = (await desk.row(operation_id)).id
    for number, state in enumerate(TransactionState):
        await _put(desk, state)
        async with desk.transaction() as session:
            reason = "a test" if cancelled else None
            await session.execute(update(ChainTransaction).values(cancel_reason=reason))
            attempt = NewAttempt(row_id, 3, kind, TxHash(f"0x{number}"), b"", 21_000, Wei(1), Wei(1))
            kept = await replace_attempts(session, [attempt])
        fits = (kind is AttemptKind.CANCEL) is cancelled
        assert kept == ([attempt] if state in UNMINED_STATES and fits else []), state
    assert len(await desk.attempts()) == (len(UNMINED_STATES) if (kind is AttemptKind.CANCEL) is cancelled else 0)


async def _put(desk: Desk, state: TransactionState) -> None:
    without_nonce = state in {S.QUEUED, S.REFUSED, S.ABANDONED}
    async with desk.transaction() as session:
        values = EVIDENCE | {"state": state, "nonce": None if without_nonce else 3}
        await session.execute(update(ChainTransaction).values(values))
