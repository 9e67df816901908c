"""What the database refuses of legs: one effect, one row, one nonce (money.md section 2)."""

from functools import partial
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from models.statuses import (
    LIVE_STATES,
    WITHOUT_EFFECT_STATES,
    AttemptKind,
    TransactionState,
)
from models.tables.operations import Operation
from models.tables.session import Transaction
from models.tables.transactions import ChainAttempt, ChainSigner
from tests import factories as make
from tests.activities.rules import RACERS, broken_rule, one_of, race

QUEUED, FINAL_OK, FINAL_REVERTED = TransactionState.QUEUED, TransactionState.FINAL_OK, TransactionState.FINAL_REVERTED
WITHOUT_NONCE = {QUEUED, TransactionState.REFUSED, TransactionState.ABANDONED}
ONE_LIVE_OR_OK = "uq_chain_transactions_one_live_or_ok"


async def committed_operation(transaction: Transaction) -> Operation:
    """An operation, with the signer that its legs name."""
    async with transaction() as session:
        await make.known_signer(session)
        return await make.new_operation(session)


async def commit_leg(
    transaction: Transaction, operation: Operation, leg: str, state: TransactionState, **changes: Any
) -> None:
    async with transaction() as session:
        await make.new_leg(session, operation, leg, state, **changes)


# Generations


async def test_one_generation_is_alive(transaction: Transaction) -> None:
    """Of eight generations of a leg that are queued at once, one is."""
    operation = await committed_operation(transaction)
    leg = partial(make.new_leg, operation=operation, leg="borrow", state=QUEUED)
    generations = [partial(leg, generation=1 + number) for number in range(RACERS)]
    assert await race(transaction, *generations) == one_of(RACERS, ONE_LIVE_OR_OK)


@pytest.mark.parametrize("state", TransactionState)
async def test_when_another_generation_may_be(transaction: Transaction, state: TransactionState) -> None:
    """A second generation may be queued only when it is certain that the first moved nothing."""
    operation = await committed_operation(transaction)
    await commit_leg(transaction, operation, "collect", state)
    second = partial(make.new_leg, operation=operation, leg="collect", state=QUEUED, generation=2)
    rule = None if state in WITHOUT_EFFECT_STATES else ONE_LIVE_OR_OK
    assert await broken_rule(transaction, second) == rule


async def test_a_generation_is_one_row(transaction: Transaction) -> None:
    """Of eight submits of one generation at once, one is stored, be they without effect."""
    operation = await committed_operation(transaction)
    refused = partial(make.new_leg, operation=operation, leg="repay", state=TransactionState.REFUSED)
    rule = "uq_chain_transactions_operation_id_leg_generation"
    assert await race(transaction, *[refused] * RACERS) == one_of(RACERS, rule)


@pytest.mark.parametrize("legs", [("settle", "unwind"), ("unwind", "settle")])
@pytest.mark.parametrize("state", TransactionState)
async def test_paid_out_or_undone(transaction: Transaction, legs: tuple[str, str], state: TransactionState) -> None:
    """Of payout and unwind never both may have their effect, whichever was first."""
    operation = await committed_operation(transaction)
    await commit_leg(transaction, operation, legs[0], state)
    other = partial(make.new_leg, operation=operation, leg=legs[1], state=QUEUED)
    rule = None if state in WITHOUT_EFFECT_STATES else ONE_LIVE_OR_OK
    assert await broken_rule(transaction, other) == rule


async def test_paid_out_and_undone_at_once(transaction: Transaction) -> None:
    """Of a payout and an unwind that are queued at the same time, one is."""
    operation = await committed_operation(transaction)
    legs = [partial(make.new_leg, operation=operation, leg=leg, state=QUEUED) for leg in ("settle", "unwind")]
    assert await race(transaction, *legs) == one_of(2, ONE_LIVE_OR_OK)


async def test_other_legs_may_be_alive_together(transaction: Transaction) -> None:
    """Legs that do not exclude each other do not, and neither do those of two operations."""
    operations = [await committed_operation(transaction) for _ in range(2)]
    legs = [
        partial(make.new_leg, operation=operation, leg=leg, state=QUEUED)
        for operation in operations
        for leg in ("borrow", "settle", "residue-1", "residue-2")
    ]
    assert await race(transaction, *legs) == {None: len(legs)}


# Nonces


async def test_a_nonce_is_used_once(transaction: Transaction) -> None:
    """Of eight legs that take one nonce at once, one has it."""
    operations = [await committed_operation(transaction) for _ in range(RACERS)]
    nonce = make.unique_number()
    prepared = partial(make.new_leg, leg="borrow", state=TransactionState.PREPARED, nonce=nonce)
    legs = [partial(prepared, operation=operation) for operation in operations]
    assert await race(transaction, *legs) == one_of(RACERS, "uq_chain_transactions_chain_id_signer_nonce")


@pytest.mark.parametrize("state", TransactionState)
async def test_a_nonce_is_never_given_back(transaction: Transaction, state: TransactionState) -> None:
    """From PREPARED on a leg has a nonce, however it ends; before that, and without having been sent, it has none."""
    operation = await committed_operation(transaction)
    wrong = make.unique_number() if state in WITHOUT_NONCE else None
    leg = partial(make.new_leg, operation=operation, leg="borrow", state=state)
    assert await broken_rule(transaction, partial(leg, nonce=wrong)) == "ck_chain_transactions_nonce_from_prepared_on"
    assert await broken_rule(transaction, leg) is None


async def test_a_signer_s_nonces_only_grow(transaction: Transaction) -> None:
    """The next nonce is never below the first."""

    async def shrink(session: AsyncSession) -> None:
        signer = ChainSigner(chain_id=make.CHAIN_ID, address=make.unique_address(), first_nonce=2, next_nonce=1)
        session.add(signer)

    assert await broken_rule(transaction, shrink) == "ck_chain_signers_nonces_only_grow"


# Allowances


async def test_one_allowance_is_alive(transaction: Transaction) -> None:
    """Of eight allowances that are queued at once for one signer, by operations of their own, one is."""
    signer, operations = await signer_with_operations(transaction, RACERS)
    approve = partial(make.new_leg, leg="approve", state=QUEUED, signer=signer)
    legs = [partial(approve, operation=operation) for operation in operations]
    assert await race(transaction, *legs) == one_of(RACERS, "uq_chain_transactions_one_live_approve")


@pytest.mark.parametrize("state", TransactionState)
async def test_when_another_allowance_may_be(transaction: Transaction, state: TransactionState) -> None:
    """The next allowance may be queued once the last one has ended, well or not."""
    signer, (first, second) = await signer_with_operations(transaction, 2)
    await commit_leg(transaction, first, "approve", state, signer=signer)
    approve = partial(make.new_leg, operation=second, leg="approve", state=QUEUED, signer=signer)
    rule = "uq_chain_transactions_one_live_approve" if state in LIVE_STATES else None
    assert await broken_rule(transaction, approve) == rule


async def signer_with_operations(transaction: Transaction, count: int) -> tuple[str, list[Operation]]:
    async with transaction() as session:
        signer = await make.known_signer(session, make.unique_address())
        return signer.address, [await make.new_system_operation(session) for _ in range(count)]


# Evidence


@pytest.mark.parametrize(
    ("state", "changes", "rule"),
    [
        (TransactionState.MINED, {"result_block": None}, "mined_in_a_block"),
        (FINAL_OK, {"result_block": None}, "final_has_evidence"),
        (FINAL_OK, {"result_tx_hash": None}, "final_has_evidence"),
        (FINAL_OK, {"logs": None}, "final_has_evidence"),
        (FINAL_REVERTED, {"logs": None}, "final_has_evidence"),
        (TransactionState.FINAL_CANCELLED, {"result_tx_hash": None}, "final_has_evidence"),
        (TransactionState.HELD, {"held_reason": None}, "held_says_why"),
        (QUEUED, {"call": None}, "only_a_tombstone_has_no_call"),
        (QUEUED, {"signer": None}, "only_a_tombstone_has_no_call"),
        (QUEUED, {"chain_id": None}, "only_a_tombstone_has_no_call"),
        (QUEUED, {"amount": -1}, "amount_not_negative"),
        (QUEUED, {"generation": 0}, "generation_counts_from_one"),
    ],
)
async def test_a_leg_makes_sense(
    transaction: Transaction, state: TransactionState, changes: dict[str, Any], rule: str
) -> None:
    """A block, a final result and a hold have their evidence, and only a tombstone has no call."""
    leg = partial(make.new_leg, operation=await committed_operation(transaction), leg="borrow", state=state, **changes)
    assert await broken_rule(transaction, leg) == f"ck_chain_transactions_{rule}"


async def test_a_tombstone_needs_no_call(transaction: Transaction) -> None:
    """A generation that never was is stored without call and signer, and nothing stands in the way of the next."""
    operation = await committed_operation(transaction)
    nothing = {"call": None, "signer": None, "chain_id": None, "amount": 0}
    await commit_leg(transaction, operation, "borrow", TransactionState.ABANDONED, **nothing)
    second = partial(make.new_leg, operation=operation, leg="borrow", state=QUEUED, generation=2)
    assert await broken_rule(transaction, second) is None


async def test_a_leg_has_a_known_signer(transaction: Transaction) -> None:
    """A leg of an account whose nonces nobody counts is refused."""
    operation = await committed_operation(transaction)
    leg = partial(make.new_leg, operation=operation, leg="borrow", state=QUEUED, signer=make.unique_address())
    assert await broken_rule(transaction, leg) == "fk_chain_transactions_chain_id_signer"


async def test_an_attempt_is_stored_once(transaction: Transaction) -> None:
    """The bytes behind a hash are stored once, and offer no more to the miner than they pay in all."""
    operation = await committed_operation(transaction)
    async with transaction() as session:
        leg = await make.new_leg(session, operation, "borrow", TransactionState.PREPARED)
    tx_hash = make.unique_hash()

    async def attempt(session: AsyncSession, priority: int = 1) -> None:
        row = ChainAttempt(
            hash=tx_hash,
            transaction_id=leg.id,
            kind=AttemptKind.PAYLOAD,
            raw=b"",
            gas=21_000,
            max_fee_per_gas=1,
            max_priority_fee_per_gas=priority,
        )
        session.add(row)

    assert await broken_rule(transaction, partial(attempt, priority=2)) == "ck_chain_attempts_fees_in_order"
    assert await race(transaction, attempt, attempt) == one_of(2, "pk_chain_attempts")
