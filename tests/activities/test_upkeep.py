"""The upkeep of the tables: the log's months come and go, nothing is lost or waits meanwhile, and a failing part is told of."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from psycopg import AsyncConnection
from sqlalchemy import func, insert, select, text
from sqlalchemy.ext.asyncio import async_sessionmaker
from temporalio.testing import ActivityEnvironment

import activities.request_months
from activities.request_months import AHEAD, RequestMonths
from activities.upkeep import UpkeepActivities, UpkeepPart
from api.request_log import write_row
from api.request_rows import Row
from models.ids import new_id
from models.messages.upkeep import UpkeepReport
from models.statuses import IncidentKind
from models.tables.operators import Incident
from models.tables.requests import RequestLog
from models.tables.session import Transaction, open_database, transactions

KEPT = 13
DAY = timedelta(days=1)


@pytest.fixture
async def transaction(database_url: str) -> AsyncIterator[Transaction]:
    """A database of the test's own, since months belong to all of it."""
    engine = open_database(database_url)
    yield transactions(engine)
    await engine.dispose()


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activities.request_months, "PAUSE", timedelta(milliseconds=10))


def month(distance: int) -> datetime:
    """The first moment of a month, so many months from the running one."""
    now = datetime.now(UTC)
    years, index = divmod(now.month - 1 + distance, 12)
    return datetime(now.year + years, index + 1, 1, tzinfo=UTC)


def table(distance: int) -> str:
    return f"request_log_{month(distance):%Y_%m}"


def call(at: datetime) -> Row:
    same = {"method": "GET", "route": "/", "path": "/", "status": 200, "duration_us": 1, "trace_id": "0"}
    return {"id": new_id("req"), "at": at, **same}


async def add_call(transaction: Transaction, at: datetime) -> None:
    async with transaction() as session:
        await session.execute(insert(RequestLog), [call(at)])


async def tables_of(transaction: Transaction) -> dict[str, int]:
    """Each partition, with how many rows it has."""
    asked = select(text("tableoid::regclass::text"), func.count()).select_from(RequestLog).group_by(text("1"))
    names = text("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'request_log'::regclass")
    async with transaction() as session:
        found = dict.fromkeys(await session.scalars(names), 0)
        return found | dict(iter(await session.execute(asked)))


async def test_months_are_made_ahead_and_made_once(transaction: Transaction) -> None:
    """The running month and three more are there; a second run finds nothing to do."""
    months = RequestMonths(transaction, KEPT)
    assert await months.make() == f"made {month(2):%Y-%m}, {month(3):%Y-%m}"
    assert set(await tables_of(transaction)) == {"request_log_else", *(table(ahead) for ahead in range(AHEAD + 1))}
    assert await months.make() == "nothing to do"


async def test_rows_that_found_no_month_move_into_theirs(transaction: Transaction) -> None:
    """Whatever was put into the default partition is found in its month afterwards; what is older than is kept is dropped."""
    await add_call(transaction, month(2) + DAY)
    await add_call(transaction, month(4) + DAY)
    await add_call(transaction, month(5) - timedelta(microseconds=1))
    await add_call(transaction, month(-KEPT))
    await add_call(transaction, month(-KEPT) - timedelta(microseconds=1))
    assert (await tables_of(transaction))["request_log_else"] == 5
    await RequestMonths(transaction, KEPT).make()
    found = {name: rows for name, rows in (await tables_of(transaction)).items() if rows}
    assert found == {table(2): 1, table(4): 2, table(-KEPT): 1}


async def test_only_months_older_than_is_kept_are_dropped(transaction: Transaction) -> None:
    """Also one that an earlier run has detached and not come to drop."""
    for distance in (-KEPT - 3, -KEPT - 1, -KEPT, -1):
        async with transaction() as session:
            await session.execute(text("SELECT request_log_month(:day)"), {"day": month(distance).date()})
        await add_call(transaction, month(distance))
    async with transaction() as session:
        await session.execute(text(f"ALTER TABLE request_log DETACH PARTITION {table(-KEPT - 3)}"))
    months = RequestMonths(transaction, KEPT)
    assert await months.drop() == f"dropped {month(-KEPT - 3):%Y-%m}, {month(-KEPT - 1):%Y-%m}"
    found = {name: rows for name, rows in (await tables_of(transaction)).items() if rows}
    assert found == {table(-KEPT): 1, table(-1): 1}
    async with transaction() as session:
        assert await session.scalar(text(f"SELECT to_regclass('{table(-KEPT - 3)}')")) is None
    assert await months.drop() == "nothing to do"


async def test_rows_come_in_while_months_are_made_and_dropped(transaction: Transaction, database_url: str) -> None:
    """No row of the API waits for long, fails, is lost or doubled, while rows move and months are attached and detached."""
    engine = open_database(database_url)
    statements = async_sessionmaker(engine.execution_options(isolation_level="AUTOCOMMIT"))
    ids, longest, over = [], timedelta(0), asyncio.Event()

    async def write() -> None:
        nonlocal longest
        while not over.is_set():
            for moment in (datetime.now(UTC), month(2) + DAY, month(4) + DAY, month(-KEPT)):
                began = datetime.now(UTC)
                row = call(moment)
                await write_row(statements, row)
                ids.append(row["id"])
                longest = max(longest, datetime.now(UTC) - began)

    writers = [asyncio.create_task(write()) for _ in range(3)]
    for distance in range(-KEPT - 6, -KEPT):
        async with transaction() as session:
            await session.execute(text("SELECT request_log_month(:day)"), {"day": month(distance).date()})
    months = RequestMonths(transaction, KEPT)
    await months.make()
    await months.drop()
    over.set()
    await asyncio.gather(*writers)
    await engine.dispose()
    assert longest < timedelta(seconds=3)
    await months.make()
    async with transaction() as session:
        kept = (await session.scalars(select(RequestLog.id))).all()
    assert sorted(kept) == sorted(ids)
    assert (await tables_of(transaction))["request_log_else"] == 0


async def test_a_lock_that_is_not_had_is_asked_for_again_and_holds_nobody_up(
    transaction: Transaction, database_url: str
) -> None:
    """While a long transaction reads the log, a month cannot be detached; calls are logged all the same, and it ends in time."""
    async with transaction() as session:
        await session.execute(text("SELECT request_log_month(:day)"), {"day": month(-KEPT - 1).date()})
    months = RequestMonths(transaction, KEPT)
    async with await AsyncConnection.connect(database_url.replace("+psycopg", "")) as reader:
        await reader.execute("SELECT count(*) FROM request_log")
        dropping = asyncio.create_task(months.drop())
        for _ in range(20):
            async with asyncio.timeout(2):
                await add_call(transaction, datetime.now(UTC))
        assert not dropping.done()
        await reader.rollback()
        assert await dropping == f"dropped {month(-KEPT - 1):%Y-%m}"


async def test_a_part_that_fails_is_told_to_a_person_until_it_works(transaction: Transaction) -> None:
    """The others run all the same; its incident names it, and closes by itself."""
    works = False

    async def sometimes() -> str:
        if not works:
            raise RuntimeError("it quotes pk_acme_live_" + "a1B2" * 9 + "zz\nand parameters")
        return "done"

    async def always() -> str:
        return "nothing to do"

    parts = (UpkeepPart("first", sometimes), UpkeepPart("second", always))
    report = await run(transaction, parts)
    assert [(part.part, part.failed) for part in report.parts] == [("first", True), ("second", False)]
    assert await open_incidents(transaction) == [("first", "RuntimeError: it quotes pk_acme_live_a1B2…")]
    await run(transaction, parts)
    assert len(await open_incidents(transaction)) == 1
    works = True
    assert [part.said for part in (await run(transaction, parts)).parts] == ["done", "nothing to do"]
    assert await open_incidents(transaction) == []


async def run(transaction: Transaction, parts: Sequence[UpkeepPart]) -> UpkeepReport:
    report = await ActivityEnvironment().run(UpkeepActivities(transaction, parts).upkeep)
    assert isinstance(report, UpkeepReport)
    return report


async def open_incidents(transaction: Transaction) -> list[tuple[str, str]]:
    asked = select(Incident.subject, Incident.detail).where(
        Incident.kind == IncidentKind.UPKEEP_FAILED, Incident.closed_at.is_(None)
    )
    async with transaction() as session:
        return [(subject, detail) for subject, detail in await session.execute(asked)]
