"""The request log's months: they are there before anything needs them, and are dropped when they are older than is kept.

Inserts must never wait for this. So locks are asked for with little patience and again later, months are made and attached while
rows come in (migrations: ``request_log_month``), and a month is detached in one quick transaction and dropped in another.
"""

import asyncio
import re
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

from sqlalchemy import TextClause, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncSession

from models.tables.session import Transaction

AHEAD = 3
"""Months that are kept ready beside the running one."""
TRIES = 8
PAUSE = timedelta(seconds=1)
_LIMITS = text("SET LOCAL lock_timeout = '300ms'; SET LOCAL statement_timeout = '10min'")
_LOCK_NOT_AVAILABLE = "55P03"
_DECEMBER = 12
_MONTH = re.compile(r"request_log_(\d{4})_(\d{2})")

_TODAY = text("SELECT (now() AT TIME ZONE 'UTC')::date")
_ELSE = text("SELECT DISTINCT date_trunc('month', at AT TIME ZONE 'UTC')::date FROM request_log_else ORDER BY 1")
_TABLES = text(
    "SELECT relname, inhrelid IS NOT NULL AS attached FROM pg_class LEFT JOIN pg_inherits ON inhrelid = pg_class.oid "
    r"WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace AND relname ~ '^request_log_\d{4}_\d{2}$' ORDER BY 1"
)
_MAKE = text("SELECT request_log_month(:month)")
_FORGET = text("DELETE FROM request_log_else WHERE at < CAST(:oldest AS timestamp) AT TIME ZONE 'UTC'")


class RequestMonths:
    """``kept`` whole months are kept beside the running one."""

    def __init__(self, transaction: Transaction, kept: int) -> None:
        self._transaction = transaction
        self._kept = kept

    async def make(self) -> str:
        """Makes the running month, those ahead, and those whose rows found none; returns what it made, in words."""
        async with self._transaction() as session:
            running = _first(await session.scalar(_TODAY))
            oldest = _add(running, -self._kept)
            await session.execute(_FORGET, {"oldest": oldest})
            lost = list(await session.scalars(_ELSE))
            there = {_month(name) for name, attached in await _tables(session) if attached}
        wanted = {*lost, *(_add(running, ahead) for ahead in range(AHEAD + 1))}
        missing = sorted(wanted - there)
        for month in missing:
            await self._patiently(_MAKE, {"month": month})
        return _words("made", missing)

    async def drop(self) -> str:
        """Drops what is older than is kept; returns what it dropped, in words."""
        async with self._transaction() as session:
            oldest = _add(_first(await session.scalar(_TODAY)), -self._kept)
            old = [(name, attached) for name, attached in await _tables(session) if _month(name) < oldest]
        for name, attached in old:
            if attached:
                await self._patiently(text(f"ALTER TABLE request_log DETACH PARTITION {name}"))
            await self._patiently(text(f"DROP TABLE {name}"))
        return _words("dropped", [_month(name) for name, _ in old])

    async def _patiently(self, statement: TextClause, parameters: dict[str, Any] | None = None) -> None:
        """One transaction, again and again while it does not get its locks. Raises OperationalError in the end."""
        for left in reversed(range(TRIES)):
            try:
                async with self._transaction() as session:
                    await session.execute(_LIMITS)
                    await session.execute(statement, parameters)
                return
            except OperationalError as error:
                if left == 0 or getattr(error.orig, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
                    raise
            await asyncio.sleep(PAUSE.total_seconds())


async def _tables(session: AsyncSession) -> Sequence[tuple[str, bool]]:
    """Every month there is, and whether it is part of the log: one that was detached and not yet dropped is not."""
    return [(name, attached) for name, attached in await session.execute(_TABLES)]


def _month(table: str) -> date:
    found = _MONTH.fullmatch(table)
    if found is None:
        raise ValueError(f"{table} is no month of the request log")
    return date(int(found[1]), int(found[2]), 1)


def _first(day: date | None) -> date:
    if day is None:
        raise ValueError("the database tells no date")
    return day.replace(day=1)


def _add(month: date, months: int) -> date:
    years, index = divmod(month.month - 1 + months, _DECEMBER)
    return date(month.year + years, index + 1, 1)


def _words(verb: str, months: Sequence[date]) -> str:
    return "nothing to do" if not months else f"{verb} {', '.join(f'{month:%Y-%m}' for month in months)}"
