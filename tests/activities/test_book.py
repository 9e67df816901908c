"""The ledger's book: what is promised is resolved once, and the float's cached balance is what the rows say."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from models import accounts
from models.statuses import LedgerKind, LedgerPhase
from models.tables import book
from models.tables.book import Entry
from models.tables.ledger import LedgerBalance
from models.tables.session import Transaction
from tests import factories as make
from tests.activities.rules import RACERS, Act, broken_rule, race

Answered = TypeVar("Answered")
AMOUNT = 40 * make.USD


async def commit(transaction: Transaction, act: Callable[[AsyncSession], Awaitable[Answered]]) -> Answered:
    async with transaction() as session:
        return await act(session)


async def an_operation(transaction: Transaction) -> str:
    return (await commit(transaction, make.new_operation)).id


def residue(operation_id: str, amount: int = AMOUNT, generation: int = 1) -> Entry:
    """A promise of the platform float."""
    return Entry(
        kind=LedgerKind.RESIDUE,
        debit=accounts.FLOAT,
        credit=accounts.PLATFORM_WALLET,
        amount=amount,
        operation_id=operation_id,
        leg="residue-1",
        generation=generation,
    )


def funding(amount: int = AMOUNT) -> Entry:
    """The operator's own USDC comes in."""
    return Entry(LedgerKind.TREASURY, debit=accounts.PLATFORM_WALLET, credit=accounts.FLOAT, amount=amount)


async def phases(transaction: Transaction, operation_id: str) -> list[LedgerPhase]:
    rows = await commit(transaction, partial(make.ledger_rows, operation_id=operation_id))
    return [row.phase for row in rows]


async def float_is_true(session: AsyncSession) -> bool:
    cached = await session.get(LedgerBalance, accounts.FLOAT)
    return (cached.posted if cached is not None else 0) == await book.balance(session, accounts.FLOAT)


# One step at a time


async def test_a_promise_is_made_once(transaction: Transaction) -> None:
    """A promise that is repeated, before or after it was kept, is the one that was made."""
    operation_id = await an_operation(transaction)
    promise = partial(book.pend, entries=[residue(operation_id)])
    await commit(transaction, promise)
    await commit(transaction, promise)
    assert await phases(transaction, operation_id) == [LedgerPhase.PENDING]
    await commit(transaction, partial(book.post, operation_id=operation_id, leg="residue-1", generation=1))
    await commit(transaction, promise)
    assert await phases(transaction, operation_id) == [LedgerPhase.PENDING, LedgerPhase.POSTED]


@pytest.mark.parametrize(("first", "second"), [("post", "post"), ("post", "void"), ("void", "void"), ("void", "post")])
async def test_a_promise_is_resolved_once(transaction: Transaction, first: str, second: str) -> None:
    """What was posted or voided stays so, and doing it again changes nothing."""
    operation_id = await an_operation(transaction)
    resolve = {
        name: partial(function, operation_id=operation_id, leg="residue-1", generation=1)
        for name, function in (("post", book.post), ("void", book.void))
    }
    await commit(transaction, partial(book.pend, entries=[residue(operation_id)]))
    await commit(transaction, resolve[first])
    await commit(transaction, resolve[second])
    ended = {"post": LedgerPhase.POSTED, "void": LedgerPhase.VOIDED}[first]
    assert await phases(transaction, operation_id) == [LedgerPhase.PENDING, ended]
    assert await commit(transaction, float_is_true)


async def test_only_the_named_leg_is_resolved(transaction: Transaction) -> None:
    """Another generation of the leg, and the same leg of another operation, stay promised."""
    operations = [await an_operation(transaction) for _ in range(2)]
    for operation_id in operations:
        promises = [residue(operation_id), residue(operation_id, generation=2)]
        await commit(transaction, partial(book.pend, entries=promises))
    await commit(transaction, partial(book.post, operation_id=operations[0], leg="residue-1", generation=1))
    assert await phases(transaction, operations[0]) == [LedgerPhase.PENDING] * 2 + [LedgerPhase.POSTED]
    assert await phases(transaction, operations[1]) == [LedgerPhase.PENDING] * 2


async def test_a_voided_leg_is_voided_whole(transaction: Transaction) -> None:
    """Without a generation, all that the leg still promises is voided."""
    operation_id = await an_operation(transaction)
    promises = [residue(operation_id, generation=generation) for generation in (1, 2, 3)]
    await commit(transaction, partial(book.pend, entries=promises))
    await commit(transaction, partial(book.post, operation_id=operation_id, leg="residue-1", generation=2))
    await commit(transaction, partial(book.void, operation_id=operation_id, leg="residue-1"))
    resolved = (await phases(transaction, operation_id))[3:]
    assert resolved == [LedgerPhase.POSTED, LedgerPhase.VOIDED, LedgerPhase.VOIDED]


async def test_a_balance_counts_what_has_happened(transaction: Transaction) -> None:
    """What is promised or voided is in no balance; what was posted is, on both sides, and for its operation alone."""
    operation_id = await an_operation(transaction)
    balance = partial(book.balance, account=accounts.IN_FLIGHT, operation_id=operation_id)
    entry = Entry(
        LedgerKind.BORROW,
        debit=accounts.PLATFORM_WALLET,
        credit=accounts.IN_FLIGHT,
        amount=AMOUNT,
        operation_id=operation_id,
        leg="borrow",
        generation=1,
    )
    await commit(transaction, partial(book.pend, entries=[entry]))
    assert await commit(transaction, balance) == 0
    await commit(transaction, partial(book.post, operation_id=operation_id, leg="borrow", generation=1))
    assert await commit(transaction, balance) == AMOUNT
    wallet = partial(book.balance, account=accounts.PLATFORM_WALLET, operation_id=operation_id)
    assert await commit(transaction, wallet) == -AMOUNT
    assert await commit(transaction, partial(balance, operation_id=await an_operation(transaction))) == 0


async def test_what_is_left_of_the_float(transaction: Transaction) -> None:
    """A promise takes from what is left at once; kept, it takes nothing more, and voided it gives back."""
    operation_id = await an_operation(transaction)
    start = await commit(transaction, book.float_left)
    await commit(transaction, partial(book.record, entry=funding(3 * AMOUNT)))
    promises = [residue(operation_id), residue(operation_id, generation=2)]
    await commit(transaction, partial(book.pend, entries=promises))
    assert await commit(transaction, book.float_left) == start + AMOUNT
    await commit(transaction, partial(book.post, operation_id=operation_id, leg="residue-1", generation=1))
    assert await commit(transaction, book.float_left) == start + AMOUNT
    await commit(transaction, partial(book.void, operation_id=operation_id, leg="residue-1"))
    assert await commit(transaction, book.float_left) == start + 2 * AMOUNT


# At the same time


async def test_two_that_resolve_one_promise(transaction: Transaction) -> None:
    """Of eight that post or void one leg at once, one does; the others find it done, or are refused whole."""
    operation_id = await an_operation(transaction)
    before = await commit(transaction, book.float_left)
    await commit(transaction, partial(book.pend, entries=[residue(operation_id)]))
    acts = [
        partial(function, operation_id=operation_id, leg="residue-1", generation=1)
        for function in (book.post, book.void)
    ]
    outcomes = await race(transaction, *acts * (RACERS // 2))
    assert outcomes[None] >= 1
    assert set(outcomes) <= {None, "uq_ledger_transfers_pending_id"}
    (_, ended) = await phases(transaction, operation_id)
    spent = AMOUNT if ended is LedgerPhase.POSTED else 0
    assert await commit(transaction, book.float_left) == before - spent
    assert await commit(transaction, float_is_true)


async def test_many_that_use_the_float(transaction: Transaction) -> None:
    """Forty bookings of the float at once lose none of each other: cached and derived balance agree."""
    operations = [await an_operation(transaction) for _ in range(20)]
    start = await commit(transaction, book.float_left)
    acts: list[Act] = [partial(book.pend, entries=[residue(operation_id)]) for operation_id in operations]
    acts += [partial(book.record, entry=funding())] * 20
    assert set(await asyncio.gather(*(broken_rule(transaction, act) for act in acts))) == {None}
    assert await commit(transaction, book.float_left) == start
    assert await commit(transaction, float_is_true)


async def test_who_reads_what_is_left_holds_it(transaction: Transaction) -> None:
    """Of two that spend the last of the float at once, each if enough is left, one does."""
    await commit(transaction, partial(book.record, entry=funding(1_000 * AMOUNT)))
    operations = [await an_operation(transaction) for _ in range(2)]
    left = await commit(transaction, book.float_left)

    async def spend(session: AsyncSession, operation_id: str) -> None:
        if await book.float_left(session) < left:
            raise NothingLeft
        await asyncio.sleep(OVERLAP_SECONDS)
        await book.pend(session, [residue(operation_id, left)])

    spenders = [commit(transaction, partial(spend, operation_id=operation_id)) for operation_id in operations]
    ends = await asyncio.gather(*spenders, return_exceptions=True)
    assert sorted(map(type, ends), key=str) == sorted([type(None), NothingLeft], key=str)
    for operation_id in operations:
        await commit(transaction, partial(book.void, operation_id=operation_id, leg="residue-1"))


OVERLAP_SECONDS = 0.3
"""So long that the other one has read as well, where nothing keeps it from that."""


class NothingLeft(Exception):
    """The other one has spent it."""
