"""Moves the changes that triggers have left into the sums of administrators' figures (ADR 0022).

A change leaves its table in the statement that adds it to the sums, so whoever reads both together sees each change once,
at every moment. Nothing here waits for a transaction that moves money, and none waits for this.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Date,
    DateTime,
    Text,
    cast,
    delete,
    func,
    literal,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY, array, insert
from sqlalchemy.ext.asyncio import AsyncSession

from models.statuses import Bucket
from models.tables.analytics import (
    ALL_PARTNERS,
    FLOWS,
    FlowChange,
    FlowSum,
    LatencyChange,
    LatencySum,
    RefusalChange,
    RefusalSum,
)
from models.tables.base import Base
from models.tables.session import Transaction

_ONE_AT_A_TIME = 0x616E616C
"""The key of an advisory lock: two turns at once would wait for each other's sums, and gain nothing."""
MOST = 20_000


@dataclass(frozen=True, slots=True)
class _Pair:
    changes: type[Base]
    sums: type[Base]
    key: Sequence[str]
    added_up: Sequence[str]
    with_total: bool = False
    """Whether a change also joins the sum over all partners."""


_PAIRS = (
    _Pair(FlowChange, FlowSum, ("partner_id",), FLOWS, with_total=True),
    _Pair(RefusalChange, RefusalSum, ("partner_id", "kind", "code"), ("number",)),
    _Pair(LatencyChange, LatencySum, ("kind", "latency", "slot"), ("number",)),
)


class Rollups:
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    async def roll_all_up(self) -> str:
        """Until nothing waits, a transaction for each turn; returns how many it took, in words."""
        turns, more = 0, True
        while more:
            turns += 1
            async with self._transaction() as session:
                more = await roll_up(session)
        return f"rolled up in {turns} turn(s)"


async def roll_up(session: AsyncSession, most: int = MOST) -> bool:
    """Moves about so many changes of each kind, inside the caller's transaction; True where more may be waiting.

    False also where another turn is under way, since that one does it.
    """
    if not await session.scalar(select(func.pg_try_advisory_xact_lock(_ONE_AT_A_TIME))):
        return False
    moved = [await _move(session, pair, most) for pair in _PAIRS]
    return max(moved) == most


async def _move(session: AsyncSession, pair: _Pair, most: int) -> int:
    """How many there were to move. A change that is committed meanwhile under a smaller number goes with them."""
    changes, sums = pair.changes.__table__, pair.sums.__table__
    oldest = select(changes.c.id).order_by(changes.c.id).limit(most).subquery()
    number, newest = (await session.execute(select(func.count(), func.max(oldest.c.id)))).one()
    if newest is None:
        return 0
    moved = delete(pair.changes).where(changes.c.id <= newest).returning(*changes.c).cte("moved")
    buckets = select(func.unnest(cast([str(bucket) for bucket in Bucket], ARRAY(Text))).label("bucket")).subquery()
    start = start_of(buckets.c.bucket, moved.c.day)
    named: dict[str, ColumnElement[Any]] = {name: moved.c[name] for name in pair.key}
    if pair.with_total:
        named["partner_id"] = func.unnest(array([moved.c.partner_id, literal(ALL_PARTNERS)]))
    key = [buckets.c.bucket, start, *named.values()]
    added_up = [cast(func.sum(moved.c[name]), BigInteger) for name in pair.added_up]
    grouped = select(*key, *added_up).select_from(moved.join(buckets, true())).group_by(*key)
    adding = insert(pair.sums).from_select(["bucket", "start", *pair.key, *pair.added_up], grouped)
    merging = adding.on_conflict_do_update(
        index_elements=["bucket", "start", *pair.key],
        set_={name: sums.c[name] + adding.excluded[name] for name in pair.added_up},
    )
    await session.execute(merging)
    return int(number)


def start_of(bucket: ColumnElement[str] | str, day: ColumnElement[object] | Column[object]) -> ColumnElement[object]:
    """The first day of the bucket that a day is in; no zone is asked, since both are days of UTC."""
    return cast(func.date_trunc(bucket, cast(day, DateTime(timezone=False))), Date)
