"""Which rule of the database a transaction breaks; every one of them commits, or would."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import cast

from psycopg import Error
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from models.tables.session import Transaction

Act = Callable[[AsyncSession], Awaitable[object]]

RACERS = 8


async def broken_rule(transaction: Transaction, act: Act) -> str | None:
    """The constraint that refuses the act, or None where it was committed."""
    try:
        async with transaction() as session:
            await act(session)
    except IntegrityError as refused:
        diagnosis = cast(Error, refused.orig).diag
        return diagnosis.constraint_name or diagnosis.message_primary
    return None


async def race(transaction: Transaction, *acts: Act) -> Counter[str | None]:
    """All acts at once, each on a connection of its own; how often each rule refused one, None being those committed."""
    start = asyncio.Barrier(len(acts))

    def together(act: Act) -> Act:
        async def acts_together(session: AsyncSession) -> None:
            await session.execute(select(1))
            await start.wait()
            await act(session)

        return acts_together

    return Counter(await asyncio.gather(*(broken_rule(transaction, together(act)) for act in acts)))


def one_of(count: int, rule: str) -> Counter[str | None]:
    """What a race must come to: one is committed, and all others are refused by the rule."""
    return Counter({None: 1, rule: count - 1})
