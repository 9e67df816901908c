"""What the database refuses of the ledger: a row is written once, and never changed (money.md section 7)."""

from collections import Counter
from functools import partial
from typing import Any

import pytest
from sqlalchemy import delete, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from models import accounts
from models.statuses import LedgerPhase
from models.tables.ledger import LedgerTransfer
from models.tables.session import Transaction
from tests import factories as make
from tests.activities.rules import RACERS, Act, broken_rule, one_of, race

IMMUTABLE = "rows are never changed or deleted"
RESOLVED_ONCE = "uq_ledger_transfers_pending_id"


async def committed_transfer(transaction: Transaction) -> LedgerTransfer:
    async with transaction() as session:
        return await make.new_transfer(session)


def runs(statement: Any) -> Act:
    async def run(session: AsyncSession) -> None:
        await session.execute(statement)

    return run


@pytest.mark.parametrize(
    "statement",
    [
        update(LedgerTransfer).values(amount=LedgerTransfer.amount + 1),
        update(LedgerTransfer).values(phase=LedgerPhase.SINGLE),
        update(LedgerTransfer).values(amount=LedgerTransfer.amount),
        delete(LedgerTransfer),
        text("TRUNCATE ledger_transfers"),
        text("TRUNCATE operations CASCADE"),
    ],
    ids=str,
)
async def test_what_is_written_stays(transaction: Transaction, statement: Any) -> None:
    """No row is changed, not even to what it is, nor deleted, alone or with the whole table, not even by its owner."""
    written = await committed_transfer(transaction)
    assert (await broken_rule(transaction, runs(statement)) or "").endswith(IMMUTABLE)
    async with transaction() as session:
        found = await session.get_one(LedgerTransfer, written.id)
    assert (found.amount, found.phase) == (make.PRINCIPAL, LedgerPhase.PENDING)


async def test_a_pending_row_is_resolved_once(transaction: Transaction) -> None:
    """Of eight that post or void one pending row at once, one does."""
    pending = await committed_transfer(transaction)
    resolvers = [
        partial(make.resolve, pending=pending, phase=phase) for phase in (LedgerPhase.POSTED, LedgerPhase.VOIDED)
    ]
    assert await race(transaction, *resolvers * (RACERS // 2)) == one_of(RACERS, RESOLVED_ONCE)


@pytest.mark.parametrize("first", [LedgerPhase.POSTED, LedgerPhase.VOIDED])
@pytest.mark.parametrize("second", [LedgerPhase.POSTED, LedgerPhase.VOIDED])
async def test_a_resolution_is_final(transaction: Transaction, first: LedgerPhase, second: LedgerPhase) -> None:
    """What was posted is not voided later, nor posted again, and the other way round."""
    pending = await committed_transfer(transaction)
    assert await broken_rule(transaction, partial(make.resolve, pending=pending, phase=first)) is None
    assert await broken_rule(transaction, partial(make.resolve, pending=pending, phase=second)) == RESOLVED_ONCE


async def test_a_movement_is_promised_once(transaction: Transaction) -> None:
    """Of eight that promise one movement of a leg at once, one does; a resolved promise is not made again."""
    async with transaction() as session:
        operation = await make.new_operation(session)
    promise = partial(make.new_transfer, operation_id=operation.id, leg="settle", generation=1)
    rule = "uq_ledger_transfers_one_pending"
    assert await race(transaction, *[promise] * RACERS) == one_of(RACERS, rule)
    async with transaction() as session:
        (pending,) = await make.ledger_rows(session, operation.id)
        await make.resolve(session, pending, LedgerPhase.VOIDED)
    assert await broken_rule(transaction, promise) == rule
    assert await broken_rule(transaction, partial(promise, generation=2)) is None


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"amount": 0}, "ck_ledger_transfers_amount_positive"),
        ({"amount": -1}, "ck_ledger_transfers_amount_positive"),
        ({"credit_account": accounts.PLATFORM_WALLET}, "ck_ledger_transfers_two_accounts"),
        ({"phase": LedgerPhase.POSTED}, "ck_ledger_transfers_resolves_a_pending_row"),
        ({"phase": LedgerPhase.VOIDED}, "ck_ledger_transfers_resolves_a_pending_row"),
        ({"phase": LedgerPhase.POSTED, "pending_id": 0}, "fk_ledger_transfers_pending_id"),
        ({"operation_id": "nobody's"}, "fk_ledger_transfers_operation_id"),
        ({"inbound_id": 0}, "fk_ledger_transfers_inbound_id"),
    ],
)
async def test_a_movement_makes_sense(transaction: Transaction, changes: dict[str, Any], rule: str) -> None:
    """More than nothing moves, between two accounts, and a resolution names what it resolves."""
    assert await broken_rule(transaction, partial(make.new_transfer, **changes)) == rule


@pytest.mark.parametrize("phase", [LedgerPhase.PENDING, LedgerPhase.SINGLE])
async def test_what_resolves_nothing_names_nothing(transaction: Transaction, phase: LedgerPhase) -> None:
    """Only a posting or a voiding row names a pending one."""
    pending = await committed_transfer(transaction)
    rule = "ck_ledger_transfers_resolves_a_pending_row"
    assert await broken_rule(transaction, partial(make.resolve, pending=pending, phase=phase)) == rule


async def test_rows_of_others_go_on(transaction: Transaction) -> None:
    """The rules bind one movement: eight others are written at once."""
    assert await race(transaction, *[make.new_transfer] * RACERS) == Counter({None: RACERS})
